"""Small random graphs with branches, seeded, as memory planning meets them at its worst: many maps of odd sizes that live long."""

from __future__ import annotations

from edgekd.quant.graph import QuantGraph
from tests.graph_cases import Builder


def random_graph(seed: int, operators: int = 14) -> QuantGraph:
    """An int8 network of about ``operators`` operators, each reading any earlier map; what nobody reads is pooled and summed at the end."""
    b = Builder(seed)
    rng = b.rng
    size = int(rng.integers(6, 15))
    b.input((size, size, int(rng.integers(1, 9)))).conv(int(rng.integers(2, 17)), (3, 3), activation="relu")
    made, read = [b.last], set[str]()
    for _ in range(operators):
        b.last = made[-1 - min(int(rng.geometric(0.4)) - 1, len(made) - 1)]
        height, _, channels = b.tensors[b.last].shape[1:]
        alike = [name for name in made if name != b.last and b.tensors[name].shape == b.tensors[b.last].shape]
        read.add(b.last)
        kind = rng.choice(["point", "point", "depth", "down", "pool", "add", "add"])
        if kind == "add" and alike:
            other = str(rng.choice(alike))
            read.add(other)
            b.add(other)
        elif kind == "depth":
            b.depthwise(activation="relu")
        elif kind == "down" and height >= 4:
            b.conv(int(rng.integers(2, 33)), (3, 3), stride=(2, 2), activation="relu")
        elif kind == "pool" and height >= 4:
            b.pool("max", (2, 2), stride=(2, 2))
        else:
            b.conv(channels if rng.random() < 0.5 else int(rng.integers(2, 33)))
        made.append(b.last)
    ends = []
    for name in (name for name in made if name not in read):
        b.last = name
        b.mean((1, 2)).fully_connected(5)
        ends.append(b.last)
    b.last = ends[0]
    for name in ends[1:]:
        b.add(name)
    return b.graph()
