"""What a recipe may say about the model that comes of it, for whoever takes in a release."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgekd.profile.strict import Strict

Words = Annotated[str, Field(min_length=1)]


class About(Strict):
    """What a release says of the model beside its figures. It decides nothing of the student, and is no part of a run's identity.

    Licences are SPDX expressions where there are such.
    """

    title: Words | None = None
    description: Words | None = None
    license: Words | None = Field(default=None, description="Of the student that is released")
    data_license: Words | None = None
    teacher_license: Words | None = None
    intended_use: Words | None = None
    limitations: Words | None = None
    authors: Annotated[list[Words], Field(min_length=1)] | None = None

    @property
    def texts(self) -> dict[str, str]:
        """What is said, by its key; the authors with commas between them."""
        said = {key: value for key, value in self.model_dump().items() if value is not None}
        return {key: ", ".join(value) if isinstance(value, list) else value for key, value in said.items()}
