"""What a recipe may say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from edgekd.profile.strict import Bytes, Positive, Strict, Version
from edgekd.recipe.schema_about import About
from edgekd.recipe.schema_compress import Compress

Count = Annotated[int, Field(ge=0)]
Pixels = Annotated[int, Field(ge=0, le=4096)]
Side = Annotated[int, Field(ge=1, le=4096)]
Share = Annotated[float, Field(ge=0, le=1)]
#: A name from one of edgekd's tables, or ``package.module:function``.
Source = Annotated[str, Field(pattern=r"^([a-z][a-z0-9_]*|[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*)$")]
#: A module path as ``named_modules()`` has it.
Path = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$")]
#: A module path in the teacher, or behind ``student:`` in the student itself; ``student:`` alone is its logits.
TeacherPath = Annotated[str, Field(pattern=r"^(student:)?[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$|^student:$")]
Word = Annotated[str, Field(min_length=1)]


class Later(Strict):
    """Abstract: a table that got keys after recipes were trained. Those that say nothing are not dumped, so that what was trained before
    keeps its identity, and is found in the cache."""

    later: ClassVar[Mapping[str, Any]] = {}

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        out = write(self)
        return {key: value for key, value in out.items() if key not in self.later or value != self.later[key]}


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
    shift: Pixels = 0
    cutout: Pixels = 0
    seed: int = 0


class Teacher(Later):
    """``source`` is a key of TEACHERS or ``package.module:function``; ``options`` are that function's arguments.

    The teacher is fed scale · (p/255 − mean)/std of 8-bit pixels p: mean and std are shares of the full range, whatever ``scale`` is.
    """

    later = {"scale": 1.0, "output": None, "size": None, "labels": None, "task": None, "reads": None, "top_k": None}

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
    task: Word | None = Field(default=None, description="The task of the data that it answers; none stands for the first")
    reads: Word | None = Field(default=None, description="What it is fed of a sample, if not the images: a name that the data source gives")
    top_k: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="How many of its logits are stored for each training sample, and what the others come to; none: all"
    )


class Student(Later):
    """``family`` is a key of STUDENTS or ``package.module:function``; ``options`` are fixed, ``space`` lists the plan's choices.

    With ``softmax`` the exported file answers probabilities instead of logits; in int8 they saturate at both ends.
    """

    later = {"initial": None, "bits": None, "activations": None, "frontend": None}

    family: Source
    options: dict[str, Any] = {}
    space: dict[str, list[Any]] = {}
    softmax: bool = False
    bits: Literal["mixed"] | None = Field(
        default=None, description="mixed: as many layers as the file's budget demands have weights of 4 bits, where the runtime has kernels"
    )
    activations: Literal["mixed"] | None = Field(
        default=None, description="mixed: those that 8 bits cost most have 16, as far as the budgets allow; for runtimes with kernels"
    )
    initial: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors$")] | None = Field(
        default=None, description="safetensors file beside this file, whose weights the training begins from"
    )
    frontend: Annotated[dict[str, int | float], Field(min_length=1)] | None = Field(
        default=None, description="Features that the student is fed in place of data.options.features, which the teachers go on seeing"
    )


class Loss(Later):
    """One term of the training loss: a key of LOSSES or ``package.module:function`` (or ``:Class``).

    It compares the student's logits with the teacher's stored ones, or what ``student`` and ``teacher`` tap instead: outputs of modules, by
    their paths. A teacher that is tapped runs along in training; ``"student:PATH"`` taps the student itself, detached.
    """

    later = {"student": None, "teacher": None, "task": None, "phase": "both"}

    name: Source
    weight: Annotated[float, Field(ge=0)]
    options: dict[str, Any] = {}
    student: Path | Annotated[list[Path], Field(min_length=1)] | None = Field(
        default=None, description="Module path, or a list of them, in the student; none stands for its logits"
    )
    teacher: TeacherPath | Annotated[list[TeacherPath], Field(min_length=1)] | None = Field(
        default=None, description="Module path, or a list of them, in the teacher; none stands for its stored logits"
    )
    task: Word | None = Field(default=None, description="Whose logits and labels; none stands for the first task")
    phase: Literal["both", "float", "qat"] = "both"

    @property
    def teacher_paths(self) -> tuple[str, ...]:
        """What is tapped in the teacher, which must then run."""
        return tuple(path for path in listed(self.teacher) if not path.startswith("student:"))


class Views(Later):
    """The fixed views of each training image, stored with the teacher's outputs; the first is the image itself."""

    later: ClassVar[Mapping[str, Any]] = {"shift_time": 0}

    count: Annotated[int, Field(ge=1, le=4)] = 1
    mirror: bool = False
    shift: Pixels = 0
    cutout: Pixels = 0
    seed: int = 0
    shift_time: Pixels = Field(default=0, description="How far rows move beyond shift: where they are time, columns frequencies")


class Preset(Later):
    """One schedule: float warm-up, then quantization-aware training, both distilled."""

    later = {"ema": 0.0, "patience": 0, "peers": 1}

    float_epochs: Annotated[float, Field(gt=0)]
    qat_epochs: Annotated[float, Field(gt=0)]
    batch: Annotated[int, Field(ge=2)] = 128
    learning_rate: Positive = 0.005
    qat_learning_rate: Positive = 0.001
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    max_macs: Annotated[int, Field(gt=0)] | None = Field(default=None, description="Cap on the student, so that the preset keeps its time")
    bf16: Literal["auto", "on", "off"] = "auto"
    views: Views | None = Field(default=None, description="Views for this schedule; none stands for the recipe's own")
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.0, description="Decay of the moving average of the weights that is kept; 0: none"
    )
    patience: Count = Field(default=0, description="A phase ends after so many passes without a better validation accuracy; 0: never")
    peers: Annotated[int, Field(ge=1, le=8)] = Field(
        default=1, description="Students trained together, each also from the others; the best is kept"
    )


class Ensemble(Strict):
    """How several teachers of one task answer together."""

    how: Literal["mean", "confidence", "per_class"] = "mean"


class Critic(Strict):
    """One judge of training samples: a key of CRITICS or ``package.module:function``.

    With ``keep`` the best share of the samples stays (1: all but those of score 0), with ``weight = true`` each counts as much as it is
    good.
    """

    name: Source
    keep: Annotated[float, Field(gt=0, le=1)] | None = None
    weight: bool = False
    options: dict[str, Any] = {}
    task: Word | None = Field(default=None, description="Whose labels and teacher are judged; none stands for the first task")


class Curate(Strict):
    """Which training samples count, and how much."""

    critics: Annotated[list[Critic], Field(min_length=1)]


class Intermediates(Strict):
    """Students between the teacher and the student: each is trained from the one before, then teaches the next.

    ``assistants`` are their options, the largest first (``"auto"``: edgekd chooses them where the gap is wide); ``generations`` counts
    repetitions of the student itself.
    """

    assistants: Literal["auto"] | list[dict[str, Any]] = []
    generations: Annotated[int, Field(ge=0, le=100)] = 0


class DataFree(Strict):
    """Training images are made from the teacher alone: a key of SYNTHESIS or ``package.module:function``.

    The data's own training split is not looked at; it gives the shape and the classes, and validation and test stay real.
    """

    method: Source
    samples: Annotated[int, Field(ge=1)] = Field(default=5000, description="Images to make")
    steps: Annotated[int, Field(ge=1)] = Field(default=500, description="inversion: of each batch of images; generator: of the generator")
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    options: dict[str, Any] = {}


class SearchSpace(Strict):
    """What `edgekd plan --search` chooses from in one family: ``options`` are fixed, ``space`` lists the values of the others.

    An entry ``"blocks[]"`` is chosen for each stage by itself. Without ``space`` it is what the family offers.
    """

    options: dict[str, Any] = {}
    space: dict[str, list[Any]] = {}


#: In [search] no family: what is chosen of the student's front-end, whatever its family.
FRONTEND = "frontend"


class BudgetOverride(Strict):
    """Budgets of this recipe for one target, where the device's own are not interesting."""

    model_bytes: Bytes | None = None
    peak_ram_bytes: Bytes | None = None
    latency_ms: Positive | None = None
    accuracy_drop_pp: Annotated[float, Field(ge=0, le=100)] | None = None
    max_macs: Annotated[int, Field(gt=0)] | None = None


class Recipe(Later):
    """What to distil, from what, on what. One of ``teacher`` and ``teachers``; ``all_teachers`` is what code reads."""

    later = {
        "teacher": None, "teachers": [], "ensemble": None, "curate": None, "intermediates": None, "data_free": None, "search": {},
        "compress": None, "about": None,
    }  # fmt: skip

    schema_version: Version
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    description: str = ""
    about: About | None = None
    data: Data
    teacher: Teacher | None = None
    teachers: list[Teacher] = []
    ensemble: Ensemble | None = None
    student: Student
    losses: Annotated[list[Loss], Field(min_length=1)]
    curate: Curate | None = None
    intermediates: Intermediates | None = None
    data_free: DataFree | None = None
    compress: Compress | None = None
    search: dict[Source, SearchSpace] = {}
    views: Views = Views()
    presets: Annotated[dict[str, Preset], Field(min_length=1)]
    targets: dict[str, BudgetOverride] = {}

    @property
    def all_teachers(self) -> tuple[Teacher, ...]:
        """At least one."""
        return tuple(self.teachers) if self.teacher is None else (self.teacher,)

    @property
    def channels(self) -> int:
        """Channels that the teachers normalize each by its own mean; 1 where none does, or none reads the images."""
        return max((len(t.mean) for t in self.all_teachers if t.reads is None), default=1)


class StudentFile(Strict):
    """A student by itself, as `edgekd plan --search` writes it and `edgekd build --student` takes it."""

    student: Student


def listed(paths: str | Sequence[str] | None) -> tuple[str, ...]:
    """One path, several, or none."""
    return () if paths is None else (paths,) if isinstance(paths, str) else tuple(paths)
