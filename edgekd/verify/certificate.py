"""The certificate: exported files, run in their real runtimes over whole test sets, against what the reference foretells."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgekd import host
from edgekd.errors import InputError
from edgekd.quant import compare, io
from edgekd.quant.graph import QuantGraph
from edgekd.quant.outputs import labels_shape, parts
from edgekd.quant.reference import OTHERS
from edgekd.quant.reference.openvino import FOUND_ON
from edgekd.records import Figure, Verdict
from edgekd.verify.foretell import group
from edgekd.verify.jobs import Job, Outcome, Progress, run_jobs
from edgekd.verify.localize import CUTTERS, first_disagreement


@dataclass(frozen=True)
class Rule:
    """What is demanded of a runtime against the reference under ``profile``.

    ``exact``: every output of every sample bit-equal. Otherwise ``agreement``, the least share of samples with the same top-1, and
    ``loss_pp``, the largest loss of accuracy in percentage points; each output of several (tasks) by itself.
    """

    profile: str
    exact: bool = False
    agreement: float = 1.0
    loss_pp: float = 100.0


#: Integer students. What onnxruntime and OpenVINO answer is foretold, but not for every operator bit for bit.
RULES = {
    "tflm": Rule("tflm", exact=True),
    "litert_ref": Rule("litert_ref", exact=True),
    "litert_xnnpack": Rule("xnnpack", exact=True),
    "c_host": Rule("tflm", exact=True),
    "onnxruntime": Rule("onnxruntime", agreement=0.995, loss_pp=0.1),
    "openvino": Rule("openvino", agreement=0.995, loss_pp=0.1),
}
#: Float students (float16 or float32 files), in any runtime, against the float student.
FLOAT_RULE = Rule("float", agreement=0.999)


@dataclass(frozen=True)
class Subject:
    """An exported file and the runtime that runs it.

    ``opener`` and ``export`` are "module:function", as RUNTIMES and EXPORTERS list them; ``export`` is only for kinds of files that nothing
    here can cut.
    """

    runtime: str
    opener: str
    path: Path
    export: str = ""


@dataclass(frozen=True, eq=False)
class Samples:
    """``x`` [N, H, W, C] in the dtype of the graph's input (float32 for float16 too), and the labels ``y`` int64 [N], or [N, outputs] where
    the graph has several; None where there are none: then nothing is said of accuracy.

    ``oracle``, for float students: what the float student itself answers [N, classes of all outputs], instead of the reference.
    """

    x: np.ndarray
    y: np.ndarray | None
    oracle: np.ndarray | None = None


def rule_for(graph: QuantGraph, runtime: str) -> Rule:
    """The rule of ``runtime``. Raises InputError for a runtime without one."""
    if not any(t.dtype in ("int8", "int16") for t in graph.tensors.values() if not t.is_constant):
        return FLOAT_RULE
    if runtime not in RULES:
        raise InputError(f"no rule says what {runtime!r} must equal", where="verify", expected=", ".join(RULES))
    rule = RULES[runtime]
    if rule.profile in OTHERS and any(t.dtype == "int16" for t in graph.tensors.values()):
        return replace(rule, profile="xnnpack")  # the profiles of other formats are those of int8
    return rule


def verify(
    graph: QuantGraph,
    subjects: Sequence[Subject],
    samples: Samples,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> tuple[Verdict, ...]:
    """Run each subject over all samples and compare with the reference; one verdict a subject, in their order.

    ``workers`` processes run at a time, one thread each (default: one a core). Raises InputError for samples that do not fit the graph,
    EdgekdError, naming the runtime, if one cannot load its file or dies. A runtime that disagrees raises nothing: its verdict is not ok.
    """
    _check(graph, subjects, samples)
    rules = [rule_for(graph, subject.runtime) for subject in subjects]
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        io.save(graph, Path(folder))
        groups: list[tuple[str, ...]] = []
        jobs = [Job(f"{s.runtime}-{i}", str(s.path), s.opener) for i, s in enumerate(subjects)]
        if samples.oracle is None:
            groups = group(tuple(dict.fromkeys(rule.profile for rule in rules)), graph)
            jobs += [Job(f"reference {' '.join(names)}", folder, profiles=",".join(names)) for names in groups]
        outcomes = run_jobs(jobs, samples.x, workers=workers, progress=progress)
    foretold: dict[str, Outcome] = {}
    for names in groups:
        shared = outcomes[f"reference {' '.join(names)}"]
        for i, name in enumerate(names):  # each profile is charged its share of what they computed together
            foretold[name] = Outcome(shared.outputs[:, i], shared.cpu_s / len(names), _reference(name))
    if samples.oracle is not None:
        foretold["float"] = Outcome(samples.oracle, 0.0, "float student")
    verdicts = []
    for i, (subject, rule) in enumerate(zip(subjects, rules, strict=True)):
        got = outcomes[f"{subject.runtime}-{i}"]
        outcome = replace(got, where=f"{host.host()}, {got.where}")
        verdicts.append(_judge(graph, subject, rule, samples, (outcome, foretold[rule.profile])))
    return tuple(verdicts)


def _reference(profile: str) -> str:
    return f"reference, {profile}" + (f" ({FOUND_ON})" if profile == "openvino" else "")


def _check(graph: QuantGraph, subjects: Sequence[Subject], samples: Samples) -> None:
    tensor = graph.tensor(graph.inputs[0])
    dtype = "float32" if tensor.dtype == "float16" else tensor.dtype
    if samples.x.shape[1:] != tensor.shape[1:] or samples.x.dtype != dtype:
        raise InputError(
            f"samples are {samples.x.dtype} {samples.x.shape}",
            where="verify",
            expected=f"{dtype} {('N', *tensor.shape[1:])} as {tensor.name}",
        )
    count = len(graph.outputs)
    if not len(samples.x) or (samples.y is not None and samples.y.shape != labels_shape(graph, len(samples.x))):
        labels = "" if samples.y is None else f", labels of shape {samples.y.shape}"
        each = "one label a sample" if count == 1 else f"{count} labels a sample, one an output"
        raise InputError(f"{len(samples.x)} samples{labels}", where="verify", expected=f"at least one, and {each}")
    for subject in subjects:
        if not subject.path.is_file():
            raise InputError("there is no such file", where=str(subject.path), expected=f"an exported file for {subject.runtime}")


def _judge(graph: QuantGraph, subject: Subject, rule: Rule, samples: Samples, outcomes: tuple[Outcome, Outcome]) -> Verdict:
    """The verdict, and where the two first part."""
    got, want = outcomes
    verdict, agreed = judged(graph, (subject.path.name, subject.runtime), rule, samples, outcomes)
    if (subject.export or subject.path.suffix in CUTTERS) and not (verdict.ok and agreed):
        a, b = _flat(got.outputs, subject.runtime), _flat(want.outputs, "reference")
        worst = _worst(a, b, tuple(parts(graph).values()))
        found = first_disagreement(graph, subject.path, (subject.opener, subject.export), samples.x[worst], rule.profile)
        return replace(verdict, first_layer=str(found) if found else None)
    return verdict


def judged(
    graph: QuantGraph, names: tuple[str, str], rule: Rule, samples: Samples, outcomes: tuple[Outcome, Outcome]
) -> tuple[Verdict, bool]:
    """What was ``got``, wherever, against what the reference says (``outcomes`` in this order), of an artifact in a runtime (``names``).

    Second: whether all is the same, bit by bit or at least in every top-1. Raises InputError for outputs of another shape.
    """
    got, want = outcomes
    artifact, runtime = names
    a, b = _flat(got.outputs, runtime), _flat(want.outputs, "reference")
    if a.shape != b.shape:
        raise InputError(f"{runtime} answers {a.shape}, the reference {b.shape}", where=artifact, expected="the same shape")
    integer = a.dtype.kind == "i" and a.dtype == b.dtype
    where = got.where
    answers = _answers(graph, a, b, samples)
    figures = _answered(answers, where, f"{host.host()}, {want.where}")
    figures |= {
        "runtime_cpu_s": Figure(got.cpu_s, "s", "measured", where, n=len(a)),
        "reference_cpu_s": Figure(want.cpu_s, "s", "measured", f"{host.host()}, {want.where}", n=len(a)),
    }
    histogram: dict[str, int] = {}
    equal = False
    if integer:
        equality = compare.bit_equal(a, b)
        equal = equality.whole
        figures |= {"bit_equal": equality.samples.figure(where), "bit_equal_outputs": equality.outputs.figure(where)}
        histogram = {str(lsb): count for lsb, count in compare.histogram(a, b).items()}
    ok, reason = _decide(rule, figures, answers)
    agreed = equal or all(answer.agreement.count == answer.agreement.n for answer in answers)
    return Verdict(artifact, runtime, rule.profile, ok, reason, histogram, figures), agreed


@dataclass(frozen=True)
class _Answer:
    """One output (``task``, "" where there is only one) of a runtime against the reference; accuracies are None without labels."""

    task: str
    agreement: compare.Share
    mine: compare.Share | None
    theirs: compare.Share | None

    @property
    def loss_pp(self) -> float | None:
        return None if self.mine is None or self.theirs is None else 100 * (self.theirs.count - self.mine.count) / self.mine.n


def _answers(graph: QuantGraph, a: np.ndarray, b: np.ndarray, samples: Samples) -> list[_Answer]:
    """Of each output; ``a`` and ``b`` have their values side by side."""
    y = samples.y if samples.y is None or samples.y.ndim == 2 else samples.y[:, None]
    found = []
    for at, (name, part) in enumerate(parts(graph).items()):
        mine, theirs = (None if y is None else compare.accuracy(side[:, part], y[:, at]) for side in (a, b))
        found.append(_Answer(name if len(graph.outputs) > 1 else "", compare.top1_agreement(a[:, part], b[:, part]), mine, theirs))
    return found


def _answered(answers: Sequence[_Answer], where: str, reference: str) -> dict[str, Figure]:
    """Figures of the first output under their plain names; of several, each has its own, called after it, as well."""
    figures: dict[str, Figure] = {}
    named = [("", answers[0]), *((f"_{answer.task}", answer) for answer in answers if answer.task)]
    for suffix, answer in named:
        figures[f"top1_agreement{suffix}"] = answer.agreement.figure(where)
        if answer.mine is not None and answer.theirs is not None:
            figures[f"accuracy{suffix}"] = answer.mine.figure(where)
            figures[f"reference_accuracy{suffix}"] = answer.theirs.figure(reference)
    return figures


def _decide(rule: Rule, figures: dict[str, Figure], answers: Sequence[_Answer]) -> tuple[bool, str]:
    """Whether the rule is kept, for each output, and the sentence that says so, numbers included."""
    if rule.exact:
        if "bit_equal" not in figures:
            return False, "its outputs are no integers, though every one must equal the reference's"
        equal = figures["bit_equal_outputs"]
        samples = figures["bit_equal"]
        said = f"bit-equal for {samples.value:.4%} of {samples.n} samples and {equal.value:.4%} of {equal.n} outputs"
        return equal.value == 1.0, said if equal.value == 1.0 else f"{said}; every one is demanded"
    good, sentences = True, []
    for answer in answers:
        agreement, loss_pp = answer.agreement, answer.loss_pp
        said = f"top-1 agrees for {agreement.value:.2%} of {agreement.n} samples (at least {rule.agreement:.1%} demanded)"
        good = good and agreement.value >= rule.agreement
        if rule.loss_pp < 100 and loss_pp is not None:
            said += f", accuracy lost {loss_pp:+.2f} pp (at most {rule.loss_pp:g} allowed)"
            good = good and round(loss_pp, 9) <= rule.loss_pp
        sentences.append(f"{answer.task}: {said}" if answer.task else said)
    return good, "; ".join(sentences)


def _worst(a: np.ndarray, b: np.ndarray, outputs: Sequence[slice], n: int = 4) -> np.ndarray:
    """Indices of up to ``n`` samples that disagree: those of another top-1 in any output first, then by their largest difference."""
    away = np.abs(a.astype(np.float64) - b.astype(np.float64)).max(1)
    same = np.stack([compare.top1(a[:, part]) == compare.top1(b[:, part]) for part in outputs]).all(0)
    order = np.lexsort((-away, same))[:n]
    return np.sort(order[(away[order] > 0)])


def _flat(outputs: np.ndarray, what: str) -> np.ndarray:
    if outputs.dtype.kind == "f" and not np.isfinite(outputs).all():
        raise InputError("an output is not finite", where=what, expected="finite logits")
    return outputs.reshape(len(outputs), -1)
