"""Progress for tests of trainings: nobody looks, or somebody interrupts."""

from __future__ import annotations

from collections.abc import Callable


class Stopped(Exception):
    pass


def quiet(_: str, __: int, ___: int) -> None:
    pass


def stop_at(step: int) -> Callable[[str, int, int], None]:
    def progress(_: str, done: int, __: int) -> None:
        if done >= step:
            raise Stopped

    return progress
