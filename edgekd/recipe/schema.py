"""What a recipe may say."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from edgekd.profile.strict import Bytes, Positive, Strict, Version

Count = Annotated[int, Field(ge=0)]
Side = Annotated[int, Field(ge=1, le=4096)]
Share = Annotated[float, Field(ge=0, le=1)]
#: A name from one of edgekd's tables, or ``package.module:function``.
Source = Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]*|[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*)$")]


class Data(Strict):
    """``source`` is a key of SOURCES or ``package.module:function``; ``options`` are that function's arguments."""

    source: Source
    options: dict[str, Any] = {}


class TeachTable(Strict):
    """Schedule of ``edgekd teach``; see train/teach.py."""

    epochs: Annotated[int, Field(ge=1)] = 36
    batch: Annotated[int, Field(ge=1)] = 128
    learning_rate: Positive = 0.03
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    mirror: bool = False
    shift: Count = 0
    cutout: Count = 0
    seed: int = 0


class Teacher(Strict):
    """``source`` is a key of TEACHERS or ``package.module:function``; ``options`` are that function's arguments.

    The teacher is fed scale · (p/255 − mean)/std of 8-bit pixels p: mean and std are shares of the full range, whatever ``scale`` is.
    """

    source: Source
    options: dict[str, Any] = {}
    checkpoint: str | None = Field(default=None, description="safetensors file beside the recipe")
    mean: Annotated[list[Share], Field(min_length=1)] = [0.0]
    std: Annotated[list[Positive], Field(min_length=1)] = [1.0]
    scale: Annotated[float, Field(gt=0)] = Field(default=1.0, description="1: pixels are fed as 0 to 1; 255: as 0 to 255")
    output: Literal["logits", "probabilities"] | None = Field(default=None, description="What the teacher answers; none stands for logits")
    size: Annotated[list[Side], Field(min_length=2, max_length=2)] | None = Field(
        default=None, description="Height and width that it is fed; none stands for what its file says, or else the data's"
    )
    labels: Annotated[list[str], Field(min_length=2)] | None = Field(
        default=None, description="Names of its outputs, in their order; none stands for what its file says, or else the data's"
    )
    schedule: TeachTable = TeachTable()

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the keys that came later, where they say nothing: a recipe that has none keeps its identity, and so its trainings."""
        out = write(self)
        later = {"scale": 1.0, "output": None, "size": None, "labels": None}
        return {key: value for key, value in out.items() if key not in later or value != later[key]}


class Student(Strict):
    """``family`` is a key of STUDENTS or ``package.module:function``; ``options`` are fixed, ``space`` lists the plan's choices.

    With ``softmax`` the exported file answers probabilities instead of logits; in int8 they saturate at both ends.
    """

    family: Source
    options: dict[str, Any] = {}
    space: dict[str, list[Any]] = {}
    softmax: bool = False


class Loss(Strict):
    """One term of the training loss: a key of LOSSES or ``package.module:function``."""

    name: Source
    weight: Annotated[float, Field(ge=0)]
    options: dict[str, Any] = {}


class Views(Strict):
    """The fixed views of each training image, stored with the teacher's outputs; the first is the image itself."""

    count: Annotated[int, Field(ge=1, le=4)] = 1
    mirror: bool = False
    shift: Count = 0
    cutout: Count = 0
    seed: int = 0


class Preset(Strict):
    """One schedule: float warm-up, then quantization-aware training, both distilled."""

    float_epochs: Annotated[float, Field(gt=0)]
    qat_epochs: Annotated[float, Field(gt=0)]
    batch: Annotated[int, Field(ge=2)] = 128
    learning_rate: Positive = 0.005
    qat_learning_rate: Positive = 0.001
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    max_macs: Annotated[int, Field(gt=0)] | None = Field(default=None, description="Cap on the student, so that the preset keeps its time")
    bf16: Literal["auto", "on", "off"] = "auto"
    views: Views | None = Field(default=None, description="Views for this schedule; none stands for the recipe's own")


class BudgetOverride(Strict):
    """Budgets of this recipe for one target, where the device's own are not interesting."""

    model_bytes: Bytes | None = None
    peak_ram_bytes: Bytes | None = None
    latency_ms: Positive | None = None
    accuracy_drop_pp: Annotated[float, Field(ge=0, le=100)] | None = None
    max_macs: Annotated[int, Field(gt=0)] | None = None


class Recipe(Strict):
    """What to distil, from what, on what."""

    schema_version: Version
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    description: str = ""
    data: Data
    teacher: Teacher
    student: Student
    losses: Annotated[list[Loss], Field(min_length=1)]
    views: Views = Views()
    presets: Annotated[dict[str, Preset], Field(min_length=1)]
    targets: dict[str, BudgetOverride] = {}
