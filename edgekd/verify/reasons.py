"""Why a runtime's layer differs from what the reference foretells, in words, as far as the tables of rules know."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgekd import host
from edgekd.errors import EdgekdError
from edgekd.quant import ops
from edgekd.quant.graph import QuantGraph
from edgekd.quant.ops import Op
from edgekd.quant.reference import onnxruntime, openvino
from edgekd.quant.reference.alone import alone
from edgekd.quant.reference.engine import OWN
from edgekd.quant.reference.limits import LIMITS, LIMITS_16
from edgekd.quant.reference.profiles import FLOAT_ERROR, OTHERS, PROFILES, is_float, is_int16, kernels_of, rules_of
from edgekd.verify.foretell import RULE_OF

#: Rule → in words; "" is a rule of which there is nothing to say.
WORDS: Mapping[str, str] = {
    "fixed_point": "fixed point, rounded twice",
    "fixed_point_half_up": "fixed point, rounded once, a half up",
    "float64_once": "rounded once, in float64",
    "float32_once": "float32, rounded once, a half to even",
    "xnnpack_20_bits": "integer multipliers of 20 bits",
    "float32": "float32, the zero point added before rounding",
    "float_table": "exponentials in float32",
    "tflite_table": "a table made in float32",
    "xnnpack_table": "XNNPACK's own table",
    "float64_ratio": "scales divided in float64",
    "float32_ratio": "scales divided in float32",
}
#: Operator → what its rule is about, where that is not the requantization of a sum.
SUBJECT: Mapping[type[Op], str] = {
    ops.Softmax: "softmax: ",
    ops.Logistic: "logistic: ",
    ops.Mean: "mean: ",
    ops.Add: "sum: ",
    ops.Relu: "rectifier: ",
}
AVERAGE = "average pool: the sum over the count, a half away from zero"
OWN_ORDER = "float32, summed in an order of its own, so that ties go either way"
#: Profile → operators that it does not foretell bit for bit → in words.
INEXACT: Mapping[str, Mapping[type[Op], str]] = {
    "onnxruntime": dict.fromkeys((ops.Sum, ops.Mean, ops.ResizeBilinear), OWN_ORDER),
    "openvino": {
        **dict.fromkeys((ops.Sum, ops.Mean, ops.ResizeBilinear), OWN_ORDER),
        **dict.fromkeys((ops.Add, ops.Sub, ops.Mul), "float32, the direction of ties hangs on what the plugin fuses"),
    },
}


def rule(op: Op, graph: QuantGraph, profile: str) -> str:
    """How kernels under ``profile`` compute ``op``; "" where no table says it."""
    if is_float(op, graph):
        error = FLOAT_ERROR.get(profile, {}).get(type(op))
        return "real values" + (f", foretold within {error:g}" if error else "")
    if OWN.get(profile, {}).get(type(op)) is onnxruntime.through_float:
        return "float inside: Dequantize, operator, Quantize"
    if isinstance(op, ops.AveragePool2D):
        return "average pool: float32" if profile in OWN else AVERAGE
    named = RULE_OF.get(type(op))
    if named is None or is_int16(op, graph):
        return ""
    words = WORDS.get(rules_of(op, graph, profile).get(named, ""), "")
    if not words:
        return ""
    return SUBJECT.get(type(op), "requantization: ") + words


def known(op: Op, graph: QuantGraph, runtime: str, profile: str) -> list[str]:
    """What is known of ``op`` in ``runtime`` before anything is compared: whose kernel, by which rule, with which limit."""
    said = [rule(op, graph, profile), INEXACT.get(profile, {}).get(type(op), "")]
    if profile == "xnnpack" and kernels_of(op, graph, profile) == "litert_opt":
        said.insert(0, "XNNPACK declines it, LiteRT's optimized kernel computes it")
    if (
        runtime == "onnxruntime"
        and isinstance(op, ops.WEIGHTED)
        and getattr(op, "activation", "none") != "none"
        and onnxruntime.symmetric(graph)
    ):
        said.append("with its rectifier in float, under a symmetric scheme")
    if runtime == "openvino":
        said.append(_other_cpu(op))
    limits = LIMITS_16 if is_int16(op, graph) else LIMITS
    said.append(limits.get(profile, {}).get(type(op), ""))
    return [words for words in said if words]


def explain(op: Op, graph: QuantGraph, who: tuple[str, str], held: Mapping[str, np.ndarray], share: float) -> str:
    """Why ``op``, fed with the runtime's own inputs, gives other integers for a ``share`` of its values; "" where nothing is known.

    ``who``: runtime and profile. ``held``: what the runtime has in the operator's inputs and output. Beside what is known of it, the
    operator is computed under every other profile: one that gives the runtime's integers is its rule.
    """
    runtime, profile = who
    said = known(op, graph, runtime, profile)
    if not is_float(op, graph):
        other, left = _nearest(op, graph, profile, held)
        words = rule(op, graph, other) if other else ""
        if other and left == 0:
            said.insert(0, f"it is what {other} computes" + (f" ({words})" if words else ""))
        elif other and left < share / 2:
            said.append(f"nearest is what {other} computes" + (f" ({words})" if words else "") + f": {left:.2%} differ")
    return "; ".join(dict.fromkeys(said))


def _nearest(op: Op, graph: QuantGraph, profile: str, held: Mapping[str, np.ndarray]) -> tuple[str, float]:
    """The other profile under which the least share of values differs, and that share."""
    got, best = held[op.outputs[0]], ("", 1.0)
    for other in (*PROFILES, *OTHERS):
        if other != profile:
            try:
                away = float((alone(graph, op, held, other) != got).mean())
            except EdgekdError:  # it has no such operator
                continue
            best = min(best, (other, away), key=lambda found: found[1])
    return best


def _other_cpu(op: Op) -> str:
    """What is otherwise on this CPU than on the one that OpenVINO's rules were found on."""
    flags = host.flags()
    if openvino.holds_on(flags):
        return ""
    vnni = any(flag.endswith("vnni") for flag in flags)
    saturates = isinstance(op, ops.WEIGHTED) and "avx2" in flags and not vnni
    return f"{openvino.FOUND_ON}, this CPU is another" + (", and sums products of 8 bits in saturating 16 bits" if saturates else "")
