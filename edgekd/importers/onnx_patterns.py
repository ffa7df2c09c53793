"""Groups of ONNX nodes that stand for one operator of the waist.

Given   x → Div √2 → Erf → Add 1 → Mul x → Mul ½        Result   Gelu(x)       (the halves and the product in any order)
Given   y / Sqrt(x),  1 / Sqrt(x),  Reciprocal(Sqrt(x))  Result   y · Rsqrt(x), Rsqrt(x)
Given   x · HardSigmoid(x; 1/6, ½)                        Result   HardSwish(x)
Given   a = AveragePool, a + c · Sign(a + s·z) → Quantize  Result   AveragePool (c = s / (2·count): ties are rounded away from 0)
Given   d = a − b, d · d                                  (SquaredDifference: in onnx_absorb, on operators)
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from edgekd.importers.onnx_file import Model, Node


def recognize(model: Model) -> Model:
    """``model`` with the groups above in place of their nodes. Constants are looked up, nothing is computed."""
    group = _Groups(model)
    for node in model.nodes:
        if not node.inputs or not node.outputs:
            continue
        if node.kind == "Erf":
            group.gelu(node)
        elif node.kind == "Sqrt":
            group.rsqrt(node)
        elif node.kind == "HardSigmoid":
            group.hard_swish(node)
        elif node.kind == "Sign":
            group.rounded_pool(node)
    nodes = tuple(group.replaced.get(id(node), node) for node in model.nodes if id(node) not in group.gone)
    return replace(model, nodes=nodes)


class _Groups:
    """Final. Who makes and who reads each value; ``gone`` and ``replaced`` by the identity of a node."""

    def __init__(self, model: Model) -> None:
        self.constants = dict(model.constants)
        self.maker: dict[str, Node] = {}
        self.readers: dict[str, list[Node]] = {}
        for node in model.nodes:
            if node.kind == "Constant" and len(node.outputs) == 1 and isinstance(node.attributes.get("value"), np.ndarray):
                self.constants[node.outputs[0]] = node.attributes["value"]
            for name in node.outputs:
                self.maker[name] = node
            for name in node.inputs:
                self.readers.setdefault(name, []).append(node)
        self.outputs = set(model.outputs)
        self.gone: set[int] = set()
        self.replaced: dict[int, Node] = {}

    def value(self, name: str) -> float | None:
        found = self.constants.get(name)
        return None if found is None or found.size != 1 or found.dtype.kind != "f" else float(found.reshape(-1)[0])

    def only_reader(self, node: Node) -> Node | None:
        readers = self.readers.get(node.outputs[0], []) if node.outputs else []
        return readers[0] if len(readers) == 1 and node.outputs[0] not in self.outputs else None

    def split(self, node: Node | None, kind: str) -> tuple[str, float] | None:
        """(the value, the constant) of a commutative operator of one of each."""
        if node is None or node.kind != kind or len(node.inputs) != 2:
            return None
        for x, c in (node.inputs, node.inputs[::-1]):
            found = self.value(c)
            if found is not None:
                return x, found
        return None

    def _scaled(self, name: str) -> tuple[str, float]:
        """(x, factor) where ``name`` is x · factor or x / divisor, else (name, 1)."""
        node = self.maker.get(name)
        if node is not None and node.kind == "Div" and len(node.inputs) == 2 and (c := self.value(node.inputs[1])):
            return node.inputs[0], 1 / c
        return self.split(node, "Mul") or (name, 1.0)

    def gelu(self, erf: Node) -> None:
        x, factor = self._scaled(erf.inputs[0])
        plus = self.only_reader(erf)
        one = self.split(plus, "Add")
        if abs(factor - math.sqrt(0.5)) > 1e-4 or plus is None or one is None or one[1] != 1.0:
            return
        members, last, half = [erf, plus], plus, 1.0
        seen_x = False
        for _ in range(2):
            node = self.only_reader(last) if last.outputs[0] not in self.outputs else None
            if node is None or node.kind != "Mul" or len(node.inputs) != 2:
                break
            other = node.inputs[1] if node.inputs[0] == last.outputs[0] else node.inputs[0]
            if (c := self.value(other)) is not None and half == 1.0:
                half = c
            elif not seen_x:
                base, c = (other, 1.0) if other == x else self._scaled(other)
                if base != x or (half != 1.0 and c != 1.0):
                    break
                seen_x, half = True, half * c
            else:
                break
            members.append(node)
            last = node
            if seen_x and half == 0.5:
                break
        if not seen_x or half != 0.5:
            return
        self.gone.update(id(node) for node in members[:-1])
        self.replaced[id(last)] = Node("Gelu", last.name, (x,), last.outputs, {})

    def rsqrt(self, root: Node) -> None:
        readers = self.readers.get(root.outputs[0], [])
        divides = [n for n in readers if n.kind == "Div" and len(n.inputs) == 2 and n.inputs[1] == root.outputs[0] != n.inputs[0]]
        inverts = [n for n in readers if n.kind == "Reciprocal"]
        if not readers or len(divides) + len(inverts) != len(readers) or root.outputs[0] in self.outputs:
            return
        self.replaced[id(root)] = replace(root, kind="Rsqrt")
        for node in divides:
            one = self.constants.get(node.inputs[0])
            if one is not None and one.size == 1 and float(one.reshape(-1)[0]) == 1.0:
                self.replaced[id(node)] = replace(node, kind="Identity", inputs=root.outputs[:1])
            else:
                self.replaced[id(node)] = replace(node, kind="Mul")
        for node in inverts:
            self.replaced[id(node)] = replace(node, kind="Identity")

    def hard_swish(self, gate: Node) -> None:
        a = gate.attributes
        node = self.only_reader(gate)
        if node is None or node.kind != "Mul" or sorted(node.inputs) != sorted((gate.inputs[0], gate.outputs[0])):
            return
        if abs(float(a.get("alpha", 0.2)) - 1 / 6) < 1e-6 and a.get("beta", 0.5) == 0.5:
            self.gone.add(id(gate))
            self.replaced[id(node)] = Node("HardSwish", node.name, gate.inputs, node.outputs, {})

    def rounded_pool(self, sign: Node) -> None:
        shifted, product = self.maker.get(sign.inputs[0]), self.only_reader(sign)
        last = None if product is None else self.only_reader(product)
        quantize = None if last is None else self.only_reader(last)
        if shifted is None or product is None or last is None or quantize is None or last.kind != "Add":
            return
        pool = next((n for name in shifted.inputs if (n := self.maker.get(name)) is not None and n.kind == "AveragePool"), None)
        if pool is None or quantize.kind != "QuantizeLinear" or len(quantize.inputs) != 3 or self.only_reader(shifted) is not sign:
            return
        average = pool.outputs[0]
        readers = sorted(id(node) for node in self.readers[average])
        if readers != sorted((id(shifted), id(last))) or average in self.outputs:
            return
        shift, half = self._other(shifted, "Add", average), self._other(product, "Mul", sign.outputs[0])
        scale = self.value(quantize.inputs[1])
        if scale is None or not 0 < scale < math.inf or sorted(last.inputs) != sorted((average, product.outputs[0])):
            return
        if _is_half(half, pool, scale) and _is_zero_point(shift, self.constants.get(quantize.inputs[2]), scale):
            self.gone.update(id(node) for node in (shifted, sign, product, last))
            self.replaced[id(pool)] = replace(pool, outputs=last.outputs)

    def _other(self, node: Node, kind: str, known: str) -> np.ndarray | None:
        """The constant of a commutative operator of ``known`` and it; float."""
        if node.kind != kind or len(node.inputs) != 2 or known not in node.inputs:
            return None
        found = self.constants.get(node.inputs[1] if node.inputs[0] == known else node.inputs[0])
        return None if found is None or found.dtype.kind != "f" else found


def _is_half(half: np.ndarray | None, pool: Node, scale: float) -> bool:
    """Whether it is half of what one value of a window weighs, s/(2·count), for windows of even counts; 0 for others."""
    kernel = pool.attributes.get("kernel_shape")
    if half is None or not isinstance(kernel, tuple) or not all(isinstance(d, int) for d in kernel):
        return False
    found = half[half != 0].astype(np.float64)
    if not found.size or not (found > 0).all() or not np.isfinite(found).all():
        return False
    count = scale / (2 * found)
    even = 2 * np.rint(count / 2)
    return bool((np.abs(count - even) <= 1e-3 * even).all() and (even <= math.prod(kernel)).all())


def _is_zero_point(shift: np.ndarray | None, zero: np.ndarray | None, scale: float) -> bool:
    """Whether it is s·z, z that of int8."""
    if shift is None or shift.size != 1 or zero is None or zero.size != 1 or str(zero.dtype) not in ("int8", "uint8"):
        return False
    wanted = int(zero.reshape(-1)[0]) - (128 if zero.dtype == np.uint8 else 0)
    return abs(float(shift.reshape(-1)[0]) / scale - wanted) <= 1e-3
