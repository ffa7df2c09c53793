"""What is asked for, with everything that it names loaded: a request becomes one job a target."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from edgekd import lazy, runs
from edgekd.data.dataset import Dataset
from edgekd.data.front_end import FrontEnds
from edgekd.data.logmel import work_of
from edgekd.errors import InputError, MissingDependency
from edgekd.export import EXPORTERS
from edgekd.plan.bits import activations_note, check_activations, weights_note
from edgekd.plan.budget import Budget, budgets
from edgekd.plan.choose import choose, uses_of
from edgekd.plan.compressed import counted, fits_at_all, fitting, least_share, student_checkpoint, student_family
from edgekd.plan.estimate import as_captured, cost
from edgekd.profile.load import load as load_profile
from edgekd.profile.rules import FOUR_BITS
from edgekd.profile.schema import Profile
from edgekd.quant.arena import MEMORY_PLAN
from edgekd.quant.four_bits import half
from edgekd.quant.graph import QuantGraph
from edgekd.quant.grid import PIXELS
from edgekd.quant.passes.heads import split_heads
from edgekd.quant.passes.probabilities import append_softmax
from edgekd.quant.scheme import Scheme
from edgekd.recipe.load import LoadedRecipe, own_code, preset, with_student
from edgekd.recipe.load import load as load_recipe
from edgekd.recipe.schema import Preset, Recipe
from edgekd.records import Artifact, BudgetUse, Plan, Record
from edgekd.students.family import Family, open_family


@dataclass(frozen=True)
class Request:
    """What is asked for: one recipe for some targets. ``overrides`` are budgets from the command line; ``threads`` 0 is host.threads.

    ``mlflow`` is the tracking URI of an MLflow server or store where trainings are logged as well. ``student`` is a file whose table
    stands for the recipe's own student, or a folder with one a target, as `edgekd plan --search` writes them.
    """

    recipe: str
    targets: tuple[str, ...]
    preset: str = "demo"
    seed: int = 0
    overrides: Mapping[str, float] = field(default_factory=dict)
    threads: int = 0
    mlflow: str = ""
    student: str = ""


@dataclass(frozen=True)
class Job:
    """A request for one target with everything that it names loaded."""

    request: Request
    loaded: LoadedRecipe
    profile: Profile
    data: Dataset
    family: Family
    budgets: tuple[Budget, ...]

    @property
    def scheme(self) -> Scheme:
        s = self.profile.scheme
        return Scheme(s.numeric, s.symmetric_activations, s.per_channel_weights, 4 if s.weight_bits == 4 else 8)

    @property
    def mixed(self) -> bool:
        """Whether some layers may have weights of 4 bits, and others not."""
        asked, profile = self.loaded.recipe.student.bits == "mixed", self.profile
        return asked and self.scheme.is_integer and self.scheme.weight_bits == 8 and profile.deploy.runtime in FOUR_BITS

    @property
    def sixteen(self) -> bool:
        """Whether some activations may have 16 bits."""
        return self.loaded.recipe.student.activations == "mixed"

    @property
    def preset(self) -> Preset:
        return preset(self.loaded.recipe, self.request.preset)

    @property
    def has_intermediates(self) -> bool:
        """Whether students may stand between the teacher and the student; how many is seen when both are known."""
        return self.loaded.recipe.intermediates is not None

    @property
    def own_files(self) -> dict[str, str]:
        """Hashes of the user's own code, and of weights that the student has already: their names do not say that they have changed."""
        recipe = self.loaded.recipe
        files = {"compress.checkpoint": student_checkpoint(recipe.compress, self.loaded.folder), "student.initial": self.loaded.initial}
        return {**own_code(recipe), **{name: runs.sha256_file(file) for name, file in files.items() if file is not None}}

    @property
    def config(self) -> dict[str, Any]:
        """The effective configuration, as recorded."""
        limits = {b.name: {"limit": b.limit, "unit": b.unit, "source": b.source} for b in self.budgets}
        return {"preset": self.request.preset, "schedule": self.preset.model_dump(), "seed": self.request.seed, "budgets": limits}

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the student: the same identity is the same run folder."""
        # Neither decides anything of a student that is chosen.
        recipe = self.loaded.recipe.model_copy(update={"search": {}, "about": None}).model_dump()
        unused = {"presets": {self.request.preset: recipe["presets"][self.request.preset]}, "targets": {}}
        return {"recipe": {**recipe, **unused}, "profile": self.profile.model_dump(), "data": self.data.sha256, **self.config}


def load_jobs(request: Request) -> list[Job]:
    loaded = load_recipe(request.recipe)
    preset(loaded.recipe, request.preset)
    profiles = [load_profile(target) for target in request.targets]
    each = [with_student(loaded, Path(request.student), profile.name) if request.student else loaded for profile in profiles]
    for one in each:
        _ = one.initial  # raises where it is not there
    check_activations([one.recipe for one in each], profiles)
    families = [student_family(one.recipe, one.folder) for one in each]
    limits = [budgets(profile, loaded.recipe, request.preset, request.overrides) for profile in profiles]
    fronts = FrontEnds(loaded.recipe, loaded.folder)
    data = [fronts.data(one.recipe.student.frontend) for one in each]
    return [Job(request, own, p, d, family, b) for own, p, d, family, b in zip(each, profiles, data, families, limits, strict=True)]


def check_ends(jobs: Sequence[Job]) -> None:
    """What builds need at their ends is looked for at their beginning. Raises MissingDependency, InputError for an MLflow store."""
    for job in jobs:
        lazy.load(EXPORTERS[job.profile.deploy.exporter])
    if jobs[0].request.mlflow:
        lazy.load("edgekd.train.board:check_store")(jobs[0].request.mlflow)


def load_data(loaded: LoadedRecipe) -> Dataset:
    """What the recipe's student is fed; what its teachers see is ``for_teachers`` of it."""
    return FrontEnds(loaded.recipe, loaded.folder).data(loaded.recipe.student.frontend)


def plan_job(job: Job) -> Plan:
    """The largest student of the recipe that fits the job's target. Raises as ``choose`` does."""
    student, table = job.loaded.recipe.student, job.loaded.recipe.compress
    specs = list(job.family.candidates(student.options, student.space, job.data.shape, sum(job.data.sizes.values())))

    def chosen(some: Iterable[Any]) -> Plan:
        return choose(job.profile, job.family, some, job.budgets, lambda spec: sketch(job, job.family, spec), file_measurer(job))

    if table is None:
        return replace(plan := chosen(specs), notes=(*plan.notes, *_front_end(job), *_bits(job, plan)))
    fit = partial(fitting, fits=lambda spec: fits_at_all(lambda: chosen([spec])), least=lambda spec: least_share(job.family, spec))
    plan = chosen(counted(fit(specs) if table.macs == "fit" else specs, len(specs)))
    notes = lazy.load("edgekd.compress.apply:notes")(table, job.profile)
    return replace(plan, notes=(*plan.notes, *_front_end(job), *_bits(job, plan), *notes))


def _front_end(job: Job) -> tuple[str, ...]:
    """What a plan has to say of the features that are computed before the student is run: no figure of its own counts them."""
    frames, mels, _ = job.data.shape
    if (work := work_of(job.data.front_end, frames)) is None:
        return ()
    costs = f"{work.multiplications:,} multiplications a clip, {work.ram_bytes:,} B of RAM for a frame, {work.table_bytes:,} B of tables"
    return (f"front-end: {frames} frames of {mels} mel bands; {costs}; not in the figures above",)


def _bits(job: Job, plan: Plan) -> tuple[str, ...]:
    """What a plan has to say of mixed bits."""
    said = (weights_note(job.profile, chosen=job.mixed),) if job.loaded.recipe.student.bits == "mixed" else ()
    if not job.sixteen:
        return said
    graph = sketch(job, job.family, job.family.restore(plan.spec))
    return (*said, activations_note(graph, job.scheme, lambda made: uses(job, made)))


def training_folder(job: Job, spec: Any, stage: str, lesson: Any, more: Mapping[str, Any]) -> Path:
    """The folder in the cache where a training lies for all targets that ask for the same one; ``more`` decides it as well."""
    same = {k: v for k, v in job.identity.items() if k not in ("profile", "budgets")}
    if stage == "float":  # knows nothing of the quantized training that follows: another one finds it done
        schedule = {k: v for k, v in same["schedule"].items() if not k.startswith("qat_")}
        losses = [loss for loss in same["recipe"]["losses"] if loss.get("phase") != "qat"]
        same |= {"schedule": schedule, "recipe": {**same["recipe"], "presets": {}, "losses": losses}}
    version = lazy.load("edgekd.train.student:TRAINING_VERSION")
    same |= {"version": version, "spec": job.family.describe(spec), "teacher": lesson.teacher_sha256, **job.own_files, **more}
    return runs.cache_folder() / stage / runs.digest({**same, "data": lesson.data.sha256})[:32]


def uncompressed(job: Job, spec: Any, lesson: Any) -> tuple[Path, Path | None]:
    """Where the float training of the student of ``spec`` lies that knows nothing of [compress]; and the user's own, if there is one."""
    recipe = job.loaded.recipe.model_copy(update={"compress": None})
    whole = replace(job, loaded=replace(job.loaded, recipe=recipe), family=open_family(recipe.student.family))
    return training_folder(whole, spec.base, "float", lesson, {}), student_checkpoint(job.loaded.recipe.compress, job.loaded.folder)


def sketch(job: Job, family: Family, spec: Any) -> QuantGraph:
    """The graph that a student will have when it is frozen, with arbitrary weights. Raises InputError if it does not answer all classes."""
    classes, scheme = sum(job.data.sizes.values()), job.scheme
    if family.sketch is not None:
        draw = partial(family.sketch, spec)
    else:
        draw = partial(lazy.load("edgekd.quant.outline:outline"), family.build(spec), (job.data.shape[2], *family.resolution(spec)))
    drawn = draw(scheme)
    if job.mixed:
        drawn = draw(replace(scheme, four_bits=half(drawn)))
    answer = drawn.tensor(drawn.outputs[0]).shape
    if answer != (1, classes):
        raise InputError(
            f"the student answers {list(answer)} for one image", where="recipe, student", expected=f"[1, {classes}], one output a class"
        )
    heads = split_heads(drawn, job.data.sizes, alike=False)
    return finished(job, heads).with_metadata(**metadata(job, "0" * 64))


def file_measurer(job: Job) -> Callable[[QuantGraph], int] | None:
    """What gives the bytes of a graph's exported file; None where the exporter's library is not installed."""
    try:
        export = lazy.load(EXPORTERS[job.profile.deploy.exporter])
    except MissingDependency:
        return None

    def measure_file(graph: QuantGraph) -> int:
        with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
            artifact: Artifact = export(as_captured(graph), Path(folder))
            return sum((Path(folder) / name).stat().st_size for name in artifact.files or (artifact.path,))

    return measure_file


def exported_bytes(job: Job, graph: QuantGraph) -> int:
    """Of the file of a frozen student. Raises MissingDependency without the exporter's library."""
    lazy.load(EXPORTERS[job.profile.deploy.exporter])
    measure_file = file_measurer(job)
    assert measure_file is not None
    return measure_file(finished(job, graph).with_metadata(**metadata(job, "0" * 64)))


def uses(job: Job, graph: QuantGraph) -> tuple[BudgetUse, ...]:
    """What a finished student, or the sketch of one, uses of every budget that can be counted."""
    measure_file = file_measurer(job)
    file_bytes = measure_file and measure_file(graph.with_metadata(**metadata(job, "0" * 64)))
    return uses_of(cost(None, graph, job.profile), file_bytes, job.budgets, job.profile)


def finished(job: Job, graph: QuantGraph) -> QuantGraph:
    """A frozen student, of one head a task, with what the recipe wants behind its logits."""
    if not job.loaded.recipe.student.softmax:
        return graph
    return append_softmax(graph, symmetric=job.scheme.symmetric_activations)


def metadata(job: Job, student: str) -> dict[str, Any]:
    """What every exported file says of itself, so that a device's code needs no other source."""
    tasks = {task.name: list(task.labels) for task in job.data.heads}
    return {
        **({"tasks": tasks} if len(tasks) > 1 else {"labels": list(job.data.labels)}),
        "recipe": job.loaded.recipe.name,
        "target": job.profile.name,
        "scheme": job.profile.scheme.model_dump(),
        # Tables, to which exporters add what their border has: name, shape, scale.
        "input": {"value": PIXELS, **({"front_end": dict(job.data.front_end)} if job.data.front_end else {})},
        "output": {"value": "probabilities" if job.loaded.recipe.student.softmax else "logits"},
        "hashes": {"data": job.data.sha256, "student": student},
        # Vela writes a plan of its own, unless it finds one, which its output would no longer fit.
        **({MEMORY_PLAN: "none"} if job.profile.deploy.runtime == "ethos-u" else {}),
    }


def named(figure: str, data: Dataset) -> dict[str, int]:
    """What a figure of each task is called, and which task that is: of the first plainly, of several each after it as well."""
    heads = data.heads
    return {figure: 0, **({f"{figure}_{task.name}": i for i, task in enumerate(heads)} if len(heads) > 1 else {})}


def asked_of(run: Path) -> tuple[Recipe, Profile, Record]:
    """Recipe and profile of a build that is in ``run``, and the record of its plan. Raises InputError if it is none of this version."""
    asked, record = runs.request(run), runs.read(run, "plan")
    try:
        recipe, profile = Recipe.model_validate(asked["recipe"]), Profile.model_validate(asked["profile"])
        _ = record.config["recipe_folder"], asked["data"]  # what built_from reads
    except (KeyError, TypeError, ValueError) as error:  # pydantic's errors are ValueErrors
        raise InputError(
            "is no build, or its request is of another version of edgekd, or damaged",
            where=str(run),
            expected="a run folder that this version's `edgekd build` made",
            mend="build it again",
        ) from error
    return recipe, profile, record


def built_from(run: Path) -> tuple[Recipe, Profile, Dataset, Record]:
    """As ``asked_of``, with the data. Raises InputError also if that changed."""
    recipe, profile, record = asked_of(run)
    data = FrontEnds(recipe, Path(record.config["recipe_folder"])).data(recipe.student.frontend)
    if data.sha256 != runs.request(run)["data"]:
        raise InputError("the data is not what this run was trained on", where=str(run), mend="edgekd build again")
    return recipe, profile, data, record
