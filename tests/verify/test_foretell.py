from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import small

from edgekd.quant import reference
from edgekd.quant.graph import QuantGraph, Quantization, Tensor
from edgekd.quant.ops import OPS, Add, AveragePool2D, Dequantize, Op, Quantize, Softmax
from edgekd.quant.outputs import joined
from edgekd.quant.reference.profiles import PROFILES, RULES
from edgekd.verify.foretell import RULE_OF, alike, foretell, group, rest

X = small.samples(50)
ALL = (*PROFILES, "onnxruntime", "openvino")


def test_shared_work_changes_nothing() -> None:
    graph = small.graph()
    logits = graph.tensor("logits")
    softmax = Tensor("probabilities", "int8", logits.shape, Quantization.per_tensor(1 / 256, -128))
    longer = replace(
        graph,
        tensors={**graph.tensors, softmax.name: softmax},
        ops=(*graph.ops, Softmax("softmax", ("logits",), (softmax.name,))),
        outputs=(softmax.name,),
    )
    for whole in (graph, longer):
        alone = {profile: reference.run(whole, X, profile)[whole.outputs[0]] for profile in ALL}
        assert len({answers.tobytes() for answers in alone.values()}) > 2, "profiles differ, so that the wrong one would be seen"
        for names in (*group(ALL, whole), *permutations(ALL, 2)):
            found = foretell(whole, X, names)
            assert all(np.array_equal(found[:, i], alone[name]) for i, name in enumerate(names)), names


def test_profiles_branch_where_their_rules_do() -> None:
    graph = small.graph()
    names = [op.name for op in graph.ops]
    assert names[alike(graph, "tflm", "litert_ref") :] == ["logits"]
    assert alike(graph, "tflm", "xnnpack") == alike(graph, "tflm", "float") == 0
    at = alike(graph, "xnnpack", "onnxruntime")
    assert names[at] == "sum" and set(graph.ops[at].inputs) <= set(rest(graph, at).inputs), "two tensors lead on from there"
    assert group(PROFILES, graph) == [("tflm", "litert_ref"), ("xnnpack",)]
    assert group(("float",), graph) == [("float",)]


def test_every_rule_of_an_operator_is_known() -> None:
    assert {rule for rule in RULE_OF.values() if rule} | {"bounds"} == set(RULES["tflm"])
    # Those that are not listed round by rules of their own file: profiles never share work across them.
    assert set(RULE_OF) < set(OPS.values()) and AveragePool2D not in RULE_OF


def test_work_on_int16_is_not_shared() -> None:
    graph = small.graph()
    wide = {name: replace(t, dtype="int16") if t.dtype == "int8" and not t.is_constant else t for name, t in graph.tensors.items()}
    assert alike(replace(graph, tensors=wide), "tflm", "litert_ref") == 0


def test_what_xnnpack_declines_is_not_shared() -> None:
    """LiteRT's own kernels compute convolutions with weights of 4 bits, by another rule than onnxruntime's."""
    graph = small.graph()
    narrow = replace(graph.tensor("stem.w"), dtype="int4", data=np.clip(graph.tensor("stem.w").data, -7, 7))
    narrowed = replace(graph, tensors={**graph.tensors, "stem.w": narrow})
    assert alike(graph, "xnnpack", "onnxruntime") > 0 and alike(narrowed, "xnnpack", "onnxruntime") == 0


STEP = Quantization.per_tensor(0.05, 3)


def _foretold_like_alone(*tensors: Tensor, ops: tuple[Op, ...], outputs: tuple[str, ...]) -> None:
    """Whatever two profiles share, each answers what it does by itself."""
    made = {t.name: t for t in (Tensor("x", "int8", (1, 4), STEP), *tensors)}
    graph = QuantGraph("made", "channels_last", made, ops, ("x",), outputs)
    x = np.arange(-10, 10, dtype=np.int8).reshape(5, 4)
    for pair in permutations(ALL, 2):
        found = foretell(graph, x, pair)
        for i, profile in enumerate(pair):
            alone = reference.run(graph, x, profile)
            assert np.array_equal(found[:, i], joined([alone[name] for name in outputs])), (pair, profile)


def test_float_operators_among_integers() -> None:
    """They have no scales, about which XNNPACK's conditions ask."""
    floats = [Tensor(name, "float32", (1, 4)) for name in ("real", "twice")]
    summed = (Dequantize("d", ("x",), ("real",)), Add("a", ("real", "real"), ("twice",)))
    _foretold_like_alone(*floats, ops=summed, outputs=("twice",))
    fixed = Tensor("fixed", "float32", (1, 4), data=np.ones((1, 4), np.float32))
    back = (Add("a", ("fixed", "fixed"), ("twice",)), *summed[:1], Add("b", ("real", "twice"), ("more",)), Quantize("q", ("more",), ("y",)))
    _foretold_like_alone(*floats, fixed, Tensor("more", "float32", (1, 4)), Tensor("y", "int8", (1, 4), STEP), ops=back, outputs=("y",))


def test_a_constant_that_is_answered() -> None:
    row, y = Tensor("row", "int8", (1, 4), STEP, np.arange(4, dtype=np.int8)[None]), Tensor("y", "int8", (1, 4), STEP)
    _foretold_like_alone(row, y, ops=(Add("a", ("x", "row"), ("y",)),), outputs=("y", "row"))
