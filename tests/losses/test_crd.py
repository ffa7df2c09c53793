from __future__ import annotations

import copy
import math

import pytest
import torch

from edgekd.errors import InputError
from edgekd.losses.crd import CRD

SAMPLES, NEGATIVES, DIMENSION, TEMPERATURE, MOMENTUM = 10, 6, 4, 0.2, 0.3
LABELS, INDICES = torch.tensor([0, 1, -1]), torch.tensor([7, 2, 5])


def built(differ: str = "class", dtype: torch.dtype = torch.float32) -> tuple[CRD, torch.Tensor, torch.Tensor]:
    student, teacher = torch.randn(3, 5, dtype=dtype), torch.randn(3, 8, dtype=dtype)
    options = {"dimension": DIMENSION, "negatives": NEGATIVES, "temperature": TEMPERATURE, "momentum": MOMENTUM}
    return CRD(student, teacher, SAMPLES, differ=differ, **options), student, teacher  # pyright: ignore[reportArgumentType]


def unit(x: list[float]) -> list[float]:
    norm = math.sqrt(sum(v * v for v in x))
    return [v / norm for v in x]


def project(x: torch.Tensor, layer: torch.nn.Linear) -> list[list[float]]:
    weight, bias = layer.weight.tolist(), layer.bias.tolist()
    return [
        unit([b + sum(w * v for w, v in zip(row, sample, strict=True)) for row, b in zip(weight, bias, strict=True)])
        for sample in x.tolist()
    ]


def drawn(loss: CRD) -> list[int]:
    """What the loss will draw next."""
    return copy.deepcopy(loss)._draw().tolist()


def by_hand(
    vectors: list[list[float]], bank: list[list[float]], chosen: list[int], apart: list[list[bool]], z: float | None = None
) -> tuple[float, float]:
    """The loss of one direction and its Z, which is estimated where none is given."""

    def e(n: int, entry: int) -> float:
        return math.exp(sum(a * b for a, b in zip(vectors[n], bank[entry], strict=True)) / TEMPERATURE)

    indices = INDICES.tolist()
    if z is None:
        values = [e(n, indices[n]) for n in range(3)]
        values += [e(n, k) for n in range(3) for k, other in zip(chosen, apart[n], strict=True) if other]
        z = sum(values) / len(values) * SAMPLES
    total = 0.0
    for n in range(3):
        p = e(n, indices[n]) / z
        total -= math.log(p / (p + NEGATIVES / SAMPLES))
        terms: list[float] = []
        for k, other in zip(chosen, apart[n], strict=True):
            if other:
                p = e(n, k) / z
                terms.append(-math.log(1 - p / (p + NEGATIVES / SAMPLES)))
        total += NEGATIVES * sum(terms) / len(terms)
    return total / 3, z


@pytest.mark.parametrize("differ", ["class", "sample"])
def test_is_noise_contrastive_estimation_in_both_directions(differ: str) -> None:
    loss, student, teacher = built(differ)
    seen = {4: 0, 9: 1, 0: 0, 1: 1}
    for sample, label in seen.items():
        loss.labels[sample] = label
    seen |= {7: 0, 2: 1, 5: -1}
    z: list[float | None] = [None, None]
    for _ in range(3):
        chosen = drawn(loss)
        apart = [
            [k != i and not (differ == "class" and label >= 0 and seen.get(k, -1) == label) for k in chosen]
            for i, label in zip(INDICES.tolist(), LABELS.tolist(), strict=True)
        ]
        u, v = project(student, loss.project_student), project(teacher, loss.project_teacher)
        banks = loss.bank_student.tolist(), loss.bank_teacher.tolist()
        one, z[0] = by_hand(u, banks[1], chosen, apart, z[0])
        two, z[1] = by_hand(v, banks[0], chosen, apart, z[1])
        assert float(loss(student, teacher, LABELS, INDICES).detach()) == pytest.approx(one + two, rel=1e-4)
        assert [math.exp(x) for x in loss.log_z.tolist()] == pytest.approx(z, rel=1e-4), "estimated once"
        for bank, old, new in ((loss.bank_student, banks[0], u), (loss.bank_teacher, banks[1], v)):
            expected = [list(entry) for entry in old]
            for n, i in enumerate(INDICES.tolist()):
                expected[i] = unit([MOMENTUM * a + (1 - MOMENTUM) * b for a, b in zip(old[i], new[n], strict=True)])
            torch.testing.assert_close(bank, torch.tensor(expected))
        student, teacher = torch.randn(3, 5), torch.randn(3, 8)


def test_resumes_with_the_same_negatives_and_the_same_banks() -> None:
    loss, student, teacher = built()
    for _ in range(3):
        loss(student, teacher, LABELS, INDICES)
    state = {name: tensor.clone() for name, tensor in loss.state_dict().items()}
    torch.manual_seed(99)
    again = CRD(student, teacher, SAMPLES, dimension=DIMENSION, negatives=NEGATIVES, temperature=TEMPERATURE, momentum=MOMENTUM)
    again.load_state_dict(state)
    for _ in range(3):
        assert drawn(again) == drawn(loss)
        assert loss(student, teacher, LABELS, INDICES).equal(again(student, teacher, LABELS, INDICES))
    for name, tensor in loss.state_dict().items():
        assert tensor.equal(again.state_dict()[name]), name


def test_draws_from_its_own_generator_alone() -> None:
    loss, student, teacher = built()
    before = torch.get_rng_state()
    first, second = drawn(loss), (loss(student, teacher, LABELS, INDICES), drawn(loss))[1]
    assert first != second and torch.get_rng_state().equal(before)


def test_maps_and_tokens_are_averaged() -> None:
    student, teacher = torch.randn(3, 5, 2, 2), torch.randn(3, 7, 8)
    loss = CRD(student, teacher, SAMPLES, dimension=DIMENSION, negatives=NEGATIVES)
    twin = copy.deepcopy(loss)
    assert loss(student, teacher, LABELS, INDICES).equal(twin(student.mean((2, 3)), teacher.mean(1), LABELS, INDICES))


def test_gradient() -> None:
    loss, student, teacher = built(dtype=torch.float64)
    student.requires_grad_()
    loss(student, teacher, LABELS, INDICES)
    # A call moves banks and generator on, so each gets its own copy.
    torch.autograd.gradcheck(lambda x: copy.deepcopy(loss)(x, teacher, LABELS, INDICES), student)
    loss(student, teacher, LABELS, INDICES).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in loss.parameters()), "the teacher's projection learns too"


def test_learning_brings_the_pairs_together() -> None:
    student, teacher = torch.randn(SAMPLES, 5), torch.randn(SAMPLES, 8)
    loss = CRD(student, teacher, SAMPLES, dimension=DIMENSION, negatives=NEGATIVES)
    values: list[float] = []
    for _ in range(100):
        value = loss(student, teacher, torch.full((SAMPLES,), -1), torch.arange(SAMPLES))
        gradients = torch.autograd.grad(value, list(loss.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(loss.parameters(), gradients, strict=True):
                parameter -= 0.02 * gradient
        values.append(float(value.detach()))
    assert sum(values[-10:]) < 0.6 * sum(values[:10])


def test_extremes() -> None:
    loss, student, teacher = built()
    assert torch.isfinite(loss(student[:1] * 1e9, teacher[:1] * 1e9, LABELS[:1], INDICES[:1]))
    loss, student, teacher = built()
    loss.labels.fill_(0)
    everything = loss(student, teacher, torch.zeros(3, dtype=torch.int64), INDICES)
    assert torch.isfinite(everything), "one class alone has no negatives"
    assert torch.isfinite(built()[0](student, teacher, torch.full((3,), -1), INDICES)), "no labels at all"
    cold = CRD(student, teacher, SAMPLES, dimension=DIMENSION, negatives=NEGATIVES, temperature=1e-3)
    assert torch.isfinite(cold(student, teacher, LABELS, INDICES))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimension": 0}, "dimension = 0\n"),
        ({"dimension": 2.0}, "dimension = 2.0\n"),
        ({"negatives": -1}, "negatives = -1\n"),
        ({"negatives": True}, "negatives = True\n"),
        ({"temperature": 0.0}, "temperature = 0.0\n  expected: above 0, usually 0.07"),
        ({"momentum": -0.1}, "momentum = -0.1\n"),
        ({"momentum": 1.1}, "momentum = 1.1\n"),
        ({"differ": "other"}, 'differ = \'other\'\n  expected: "class" or "sample"'),
    ],
)
def test_impossible_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match="loss crd: " + message):
        CRD(torch.zeros(2, 3), torch.zeros(2, 4), 10, **options)  # pyright: ignore[reportArgumentType]


def test_what_cannot_be_compared() -> None:
    with pytest.raises(InputError, match=r"loss crd: the student taps a list of 2 layers\n.*one layer"):
        CRD([torch.zeros(2, 3)] * 2, torch.zeros(2, 4), 10)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match=r"loss crd: the teacher's tensor has shape \[2\]"):
        CRD(torch.zeros(2, 3), torch.zeros(2), 10)
    with pytest.raises(InputError, match="loss crd: 1 training samples"):
        CRD(torch.zeros(2, 3), torch.zeros(2, 4), 1)
