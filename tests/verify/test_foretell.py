from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import small

from edgekd.errors import InputError
from edgekd.quant import reference
from edgekd.quant.graph import Quantization, Tensor
from edgekd.quant.ops import OPS, AveragePool2D, Softmax
from edgekd.quant.passes.suffix import suffix
from edgekd.quant.reference.profiles import PROFILES, RULES
from edgekd.verify.foretell import RULE_OF, branch_point, foretell, group

X = small.samples(50)


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
        found = foretell(whole, X, PROFILES)
        for i, profile in enumerate(PROFILES):
            assert np.array_equal(found[:, i], reference.run(whole, X, profile)[whole.outputs[0]])


def test_profiles_branch_where_their_rules_do() -> None:
    graph = small.graph()
    assert branch_point(graph, "tflm", "litert_ref") == "mean"
    assert branch_point(graph, "tflm", "xnnpack") is None
    assert branch_point(graph, "tflm", "float") is None
    assert group(PROFILES, graph) == [("tflm", "litert_ref"), ("xnnpack",)]
    assert group(("float",), graph) == [("float",)]


def test_every_rule_of_an_operator_is_known() -> None:
    assert {rule for rule in RULE_OF.values() if rule} | {"bounds"} == set(RULES["tflm"])
    # Those that are not listed round by rules of their own file: profiles never share work across them.
    assert set(RULE_OF) < set(OPS.values()) and AveragePool2D not in RULE_OF


def test_work_on_int16_is_not_shared() -> None:
    graph = small.graph()
    wide = {name: replace(t, dtype="int16") if t.dtype == "int8" and not t.is_constant else t for name, t in graph.tensors.items()}
    assert branch_point(replace(graph, tensors=wide), "tflm", "litert_ref") is None


def test_suffix_needs_a_tensor_that_all_goes_through() -> None:
    graph = small.graph()
    assert [op.name for op in suffix(graph, "sum").ops] == ["mean", "logits"]
    assert suffix(graph, "sum").inputs == ("sum",)
    with pytest.raises(InputError, match="what follows 'point' also needs 'stem'"):
        suffix(graph, "point")
