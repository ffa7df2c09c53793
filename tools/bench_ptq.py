"""Is quantization-aware training worth it? edgekd's int8 student against its own float student, and against what NNCF and
ai-edge-quantizer make of that float student after training; on the whole test set, paired by seed.

    python tools/bench_ptq.py RECIPE --target T [--seeds 3] [--preset demo] [--max-macs N] [--float-epochs X] [--qat-epochs Y]
                              [--float-student kept|folded|single] [--nncf-preset auto|mixed|performance] [--cache DIR] [--json]

Every variant of a seed starts from the same weights and, phase by phase, sees the same batches in the same order;
tools/bench_ptq_variants.py says what each is. Accuracies are in percent, differences in percentage points: mean, sample standard
deviation over the seeds, and the 95 % interval of Student's t for paired samples. The demands, by the mean:

    qat − float             at least −0.3 pp
    qat − max(nncf, aeq)    at least 0 pp, the better of the two taken seed by seed, which favours them
    seeds                   at least 3

and, so that no baseline starts behind, float_tflite and float_openvino name the float student's class for at least 99.9 % of the images.
Exit code 0 if all hold, 1 if not, 2 for what cannot be done as asked. Every answer is kept under --cache by the hash of what it depends on,
and trainings resume after their last whole pass: the same command goes on after an interruption. edgekd's own code is not part of
that hash: answers that other code made are used, and counted on stderr (and as stale_answers); another --cache makes all of them again.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
# First, because it keeps openvino and nncf from reporting what is done here.
import edgekd  # noqa: F401  # pyright: ignore[reportUnusedImport]

# isort: split
from bench_ptq_variants import FORMS, VARIANTS, Answer, Contest
from bench_statistics import spread

from edgekd import console, host, runs
from edgekd.errors import EdgekdError, InputError
from edgekd.jobs import Job, Request, load_jobs, plan_job
from edgekd.quant.compare import Share
from edgekd.records import Figure, Plan
from edgekd.train.lesson import Lesson, open_lesson

ROOT = Path(__file__).resolve().parents[1]
LEAST_SEEDS = 3
AGREEMENT = 0.999
#: What the variants after training depend on beside their weights.
TOOLS = ("nncf", "openvino", "ai-edge-quantizer", "ai-edge-litert")
#: Difference → the smallest mean, in percentage points, that is demanded; None where it only informs.
DIFFERENCES: dict[str, tuple[Callable[[dict[str, float]], float], float | None]] = {
    "qat − float": (lambda a: a["qat"] - a["float"], -0.3),
    "qat − max(nncf, aeq)": (lambda a: a["qat"] - max(a["nncf"], a["aeq"]), 0.0),
    "qat − nncf": (lambda a: a["qat"] - a["nncf"], None),
    "qat − aeq": (lambda a: a["qat"] - a["aeq"], None),
    "nncf − float": (lambda a: a["nncf"] - a["float"], None),
    "aeq − float": (lambda a: a["aeq"] - a["float"], None),
    "float − warm_up": (lambda a: a["float"] - a["warm_up"], None),
}


def judge(answers: Sequence[dict[str, np.ndarray]], y: np.ndarray) -> dict[str, Any]:
    """Accuracies, differences and demands from each seed's top-1 answers int64 [N] by variant, and the labels ``y`` [N]."""
    right = [{name: int((top1 == y).sum()) for name, top1 in found.items()} for found in answers]
    percent = [{name: 100 * count / len(y) for name, count in counts.items()} for counts in right]
    accuracy = {name: spread([seed[name] for seed in percent]) for name in VARIANTS}
    differences, demands = {}, []
    for name, (difference, least) in DIFFERENCES.items():
        differences[name] = spread([difference(seed) for seed in percent])
        if least is not None:
            # Counts of images are whole, so what is equal must not miss its demand by a rounding of the mean.
            demands.append(
                {"demand": f"{name} >= {least} pp", "found": differences[name]["mean"], "ok": differences[name]["mean"] >= least - 1e-9}
            )
    for name in ("float_tflite", "float_openvino"):
        least_agreement = min(float((found[name] == found["float"]).mean()) for found in answers)
        demands.append({"demand": f"{name} top-1 as float >= {AGREEMENT}", "found": least_agreement, "ok": least_agreement >= AGREEMENT})
    demands.append({"demand": f"seeds >= {LEAST_SEEDS}", "found": len(answers), "ok": len(answers) >= LEAST_SEEDS})
    return {"accuracy_percent": accuracy, "differences_pp": differences, "demands": demands, "ok": all(d["ok"] for d in demands)}


@cache
def code() -> str:
    """sha256 of edgekd's source and of this tool's, as far as it decides the answers, when first asked: what is edited later is not run."""
    digest = hashlib.sha256()
    rooms = ("data", "losses", "quant", "students", "teachers", "train")
    for path in sorted(
        [p for room in rooms for p in (ROOT / "edgekd" / room).rglob("*.py")] + [Path(__file__).with_name("bench_ptq_variants.py")]
    ):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def answer(contest: Contest, variant: str, progress: Any) -> dict[str, Any]:
    """The stored or new record of one variant of one seed; ``top1`` is its answers on the test set."""
    depends: dict[str, Any] = {"variant": variant}
    if variant not in ("warm_up", "qat"):
        depends["form"] = contest.form
    if variant not in ("warm_up", "qat", "float"):
        depends["versions"] = {name: version(name) for name in TOOLS}
    if variant == "nncf":
        depends["preset"] = contest.preset
    path = contest.folder / f"{variant}-{runs.digest(depends)[:12]}.json"
    weights = {"warm_up": contest.folder / "float.safetensors", "float": contest.float_weights}.get(variant)
    if path.is_file() and (weights is None or weights.is_file()):
        return json.loads(path.read_text())
    began = time.monotonic()
    with contextlib.redirect_stdout(sys.stderr):  # stdout is for the result
        found: Answer = VARIANTS[variant](contest, progress)
    share = Share(int((found.top1 == contest.lesson.data.test.y).sum()), len(found.top1))
    figure = Figure(share.value, "", "measured", found.where, share.n, *share.interval)
    record = {"variant": variant, "seed": contest.seed, "accuracy": asdict(figure), "notes": found.notes, "depends": depends}
    record |= {
        "seconds": round(time.monotonic() - began, 1),
        "code": code(),
        "environment": host.environment(),
        "top1": found.top1.tolist(),
    }
    runs.atomic_write(path, json.dumps(record).encode())
    return record


def compare(job: Job, plan: Plan, options: argparse.Namespace, progress: console.Bars) -> dict[str, Any]:
    """Train and judge all variants of all seeds."""
    lesson = open_lesson(job.loaded, job.data, runs.cache_folder(), progress)
    preset = options.nncf_preset
    if preset == "auto":
        preset = "performance" if job.scheme.symmetric_activations else "mixed"
    records = []
    for seed in range(options.seeds):
        progress.prefix = f"seed {seed}: "
        seeded = replace(job, request=replace(job.request, seed=seed))
        folder = options.cache / f"{job.profile.name}-seed{seed}-{identity(seeded, plan, lesson)[:16]}"
        folder.mkdir(parents=True, exist_ok=True)
        spec = job.family.restore(plan.spec)
        contest = Contest(seeded, lesson, spec, folder, options.float_student, preset, options.threads)
        with runs.lock(folder):
            records.append({variant: answer(contest, variant, progress) for variant in VARIANTS})
    stale = sum(r["code"] != code() for seed in records for r in seed.values())
    if stale:
        progress.say(f"{stale} of {len(records) * len(VARIANTS)} answers in {options.cache} were made by another version of the code")
    verdict = judge([{name: np.array(r["top1"]) for name, r in seed.items()} for seed in records], job.data.test.y)
    shown = [{name: {k: v for k, v in r.items() if k != "top1"} for name, r in seed.items()} for seed in records]
    config = {"recipe": job.loaded.recipe.name, "target": job.profile.name, "preset": options.preset, "schedule": job.preset.model_dump()}
    config |= {
        "scheme": asdict(job.scheme),
        "float_student": FORMS[options.float_student],
        "nncf_preset": preset,
        "seeds": list(range(options.seeds)),
    }
    environment = {**host.environment(), **{name: version(name) for name in TOOLS}}
    figures = {name: asdict(figure) for name, figure in plan.figures.items()}
    student = {"spec": plan.spec, "figures": figures, "teacher_sha256": lesson.teacher_sha256}
    test = {"n": len(job.data.test), "sha256": job.data.sha256}
    return {
        "schema_version": 1,
        "config": config,
        "environment": environment,
        "student": student,
        "test": test,
        "stale_answers": stale,
        **verdict,
        "seeds": shown,
    }


def identity(job: Job, plan: Plan, lesson: Lesson) -> str:
    """Hash of what decides the weights of a seed's students."""
    kept = {k: v for k, v in job.identity.items() if k not in ("profile", "budgets")}
    schedule = {k: v for k, v in job.preset.model_dump().items() if k != "max_macs"}
    recipe = {k: v for k, v in kept["recipe"].items() if k not in ("presets", "student", "description")}
    more = {"spec": plan.spec, "scheme": asdict(job.scheme), "exporter": job.profile.deploy.exporter, "teacher": lesson.teacher_sha256}
    return runs.digest({**kept, "recipe": recipe, "preset": "", "schedule": schedule, **more})


def open_job(options: argparse.Namespace) -> Job:
    """The job with the command line's epochs. Raises InputError where the target wants no integers."""
    overrides = {} if options.max_macs is None else {"max_macs": options.max_macs}
    job = load_jobs(Request(options.recipe, (options.target,), options.preset, 0, overrides, options.threads))[0]
    if not job.scheme.is_integer:
        raise InputError(
            f"{job.profile.name} wants {job.scheme.numeric}",
            where="--target",
            expected="a target of an integer scheme",
            mend="edgekd targets list",
        )
    epochs = {"float_epochs": options.float_epochs, "qat_epochs": options.qat_epochs}
    preset = job.preset.model_copy(update={k: v for k, v in epochs.items() if v is not None})
    recipe = job.loaded.recipe.model_copy(update={"presets": {**job.loaded.recipe.presets, options.preset: preset}})
    return replace(job, loaded=replace(job.loaded, recipe=recipe))


def show(report: dict[str, Any]) -> None:
    config, student = report["config"], report["student"]
    seeds, schedule = config["seeds"], config["schedule"]
    print(f"{config['recipe']} for {config['target']}, {student['figures']['macs']['value']:,.0f} MAC, {report['test']['n']:,} test images")
    print(f"{schedule['float_epochs']:g} epochs in float, {schedule['qat_epochs']:g} more; float student: {config['float_student']}")
    print(f"\n{'accuracy, %':<22}" + "".join(f"{f'seed {seed}':>9}" for seed in seeds) + "     mean ± sd")
    for name, found in report["accuracy_percent"].items():
        print(f"{name:<22}" + "".join(f"{value:9.2f}" for value in found["each"]) + f"   {found['mean']:6.2f} ± {found['sd']:.2f}")
    print(f"\n{'difference, pp':<22}" + "".join(f"{f'seed {seed}':>9}" for seed in seeds) + "     mean ± sd      95 % interval (t, paired)")
    for name, found in report["differences_pp"].items():
        cells = "".join(f"{value:9.2f}" for value in found["each"])
        print(f"{name:<22}{cells}   {found['mean']:6.2f} ± {found['sd']:.2f}   [{found['low']:.2f}, {found['high']:.2f}]")
    print()
    for demand in report["demands"]:
        print(f"{'holds' if demand['ok'] else 'FAILS':<6} {demand['demand']}: {round(demand['found'], 4)}")
    print()
    for name, record in report["seeds"][0].items():
        notes = ", ".join(f"{k} {v}" for k, v in record["notes"].items() if k != "form")
        print(f"{name:<15} {record['accuracy']['where']}{'; ' if notes else ''}{notes}")


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError
    return value


def count(text: str, least: int = 1) -> int:
    if (value := int(text)) < least:
        raise ValueError
    return value


def two_or_more(text: str) -> int:
    return count(text, 2)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="edgekd's int8 students against their float students and against post-training quantization."
    )
    parser.add_argument("recipe")
    parser.add_argument("--target", required=True)
    parser.add_argument("--preset", default="demo")
    parser.add_argument("--seeds", type=two_or_more, default=LEAST_SEEDS, help="how many, from 0 on; two at least, for a spread")
    parser.add_argument("--max-macs", type=positive, help="cap on the student")
    parser.add_argument("--float-epochs", type=positive)
    parser.add_argument("--qat-epochs", type=positive)
    parser.add_argument("--float-student", choices=FORMS, default="kept", help="; ".join(f"{k}: {v}" for k, v in FORMS.items()))
    parser.add_argument("--nncf-preset", choices=("auto", "mixed", "performance"), default="auto", help="auto: as the target's scheme is")
    parser.add_argument("--cache", type=Path, default=runs.cache_folder() / "bench_ptq")
    parser.add_argument("--threads", type=count, default=os.cpu_count() or 1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        job = open_job(options)
        plan = plan_job(job)
        with console.bars() as progress:
            report = compare(job, plan, options, progress)
    except EdgekdError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        return 130
    if options.json:
        print(json.dumps(report, indent=2))
    else:
        show(report)
    return 0 if report["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
