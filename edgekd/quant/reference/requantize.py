"""A fast float formula for a requantization rule, proven equal to the rule.

Each rule (rounding.py), clamped to the output's range, is a rising step function f of the integer accumulator, with at most 255 steps
a channel. The fast formula

    g(acc) = clip(rint(acc · slope + offset))                                  "plain"
    g(acc) = clip(rint(p + copysign(half, p))),  p = acc · slope + offset      "signed", where rounding differs by sign

rises too (IEEE 754 operations round monotonically). So f = g on all accumulators if they agree on both sides of every step of f and at both
ends: between two steps f is constant, and a rising g that equals it at both ends equals it everywhere. That check is made, for
every channel, when the formula is made; slope and offset are chosen in the middle of what the steps allow. Where float32 fails in many
channels (a step within its precision of an integer) the layer uses float64; single channels that fail are computed by the rule itself.
XNNPACK's rule is a float32 formula already.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgekd.quant.reference.rounding import FloatOnce, Rule

#: Whole numbers up to here are exact in float32.
EXACT_FLOAT32 = 1 << 24
#: Relative changes of the slope that are tried, in units of float32's last place.
SLOPES = np.array([0.0, -1, 1, -2, 2, -4, 4]) * 2.0**-24
#: Above this share of channels without a float32 formula, the layer computes in float64.
REPAIRABLE = 0.04


@dataclass(frozen=True, eq=False)
class Requantizer:
    """acc [M, channels] without bias → centred outputs (q − zero point), in place. Rows are [channels] or tiled multiples of it."""

    slope: np.ndarray
    offset: np.ndarray
    half: np.ndarray | None
    offset_first: bool
    low: int
    high: int
    rule: Rule
    bias: np.ndarray
    repair: np.ndarray

    def __call__(self, acc: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> None:
        """``acc`` is overwritten. ``out`` float32 of acc's shape, may be acc itself; ``scratch`` at least as large, of acc's dtype."""
        exact = self.exact(acc[:, self.repair], self.repair) if len(self.repair) else None
        if self.offset_first:
            sums = acc.reshape(-1, len(self.offset))
            np.add(sums, self.offset, out=sums)
        fast = acc if self.slope.dtype == acc.dtype else acc.astype(self.slope.dtype)
        rows = fast.reshape(-1, len(self.slope))
        np.multiply(rows, self.slope, out=rows)
        if not self.offset_first:
            np.add(rows, self.offset, out=rows)
        if self.half is not None:
            towards = scratch.reshape(-1)[: rows.size].reshape(rows.shape) if scratch.dtype == rows.dtype else np.empty_like(rows)
            np.copysign(self.half, rows, out=towards)
            np.add(rows, towards, out=rows)
        np.rint(rows, out=rows)
        np.clip(rows, self.low, self.high, out=rows)
        if out is not fast:
            np.copyto(out, fast, casting="unsafe")
        if exact is not None:
            out[:, self.repair] = exact

    def exact(self, acc: np.ndarray, channels: np.ndarray) -> np.ndarray:
        return np.clip(self.rule.at(channels)(acc.astype(np.int64) + self.bias[channels]), self.low, self.high)


@dataclass(frozen=True, eq=False)
class Direct:
    """The rule itself, for outputs of 16 bits: their 65,535 steps a channel are too many to prove a formula by."""

    rule: Rule
    bias: np.ndarray
    low: int
    high: int
    half: None = None

    def __call__(self, acc: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> None:
        """As Requantizer's: acc [M, channels] → out float32 of its shape; ``scratch`` is left alone."""
        sums = acc.reshape(-1, len(self.bias)).astype(np.int64) + self.bias
        np.copyto(out.reshape(sums.shape), np.clip(self.rule(sums), self.low, self.high), casting="unsafe")


def requantizer(rule: Rule, bias: np.ndarray, bounds: tuple[int, int], reach: np.ndarray, rows: int = 1) -> Requantizer:
    """The formula for sums within ``reach`` int64 [2, channels] (smallest, largest without bias), coefficients tiled ``rows`` times.

    ``bias`` int64 [channels]; ``bounds`` the centred outputs that the activation lets through.
    """
    low, high = bounds
    channels = np.arange(len(bias))
    if isinstance(rule, FloatOnce) and rule.scale.dtype == np.float32:
        exact = np.float32 if np.abs(reach + bias).max() <= EXACT_FLOAT32 >= np.abs(reach).max() else np.float64
        offset = np.tile(bias, rows).astype(exact)
        return Requantizer(np.tile(rule.scale, rows), offset, None, True, low, high, rule, bias, channels[:0])
    if rule.wraps(reach[0] + bias) or rule.wraps(reach[1] + bias):
        nothing = np.zeros(len(bias) * rows, np.float32)
        return Requantizer(nothing, nothing, None, False, low, high, rule, bias, channels)
    steps = _steps(rule, bias, bounds, reach)
    points = np.concatenate([steps, steps - 1, reach.T], axis=1).clip(reach[0][:, None], reach[1][:, None])
    wanted = np.clip(rule((points + bias[:, None]).T).T, low, high)
    choices = []
    for dtype in (np.float32, np.float64):
        if np.abs(reach).max() > EXACT_FLOAT32 and dtype is np.float32:
            continue
        slope, offset, half = _fit(rule, bias, bounds, steps, reach, dtype)
        good = (_formula(points.astype(dtype), slope, offset, half, bounds) == wanted).all(axis=1)
        choices.append((slope, offset, half, channels[~good]))
        if (~good).mean() <= REPAIRABLE:
            break
    slope, offset, half, repair = min(choices, key=lambda choice: len(choice[3]))
    return Requantizer(
        np.tile(slope, rows), np.tile(offset, rows), None if half is None else np.tile(half, rows), False, low, high, rule, bias, repair
    )


def _formula(acc: np.ndarray, slope: np.ndarray, offset: np.ndarray, half: np.ndarray | None, bounds: tuple[int, int]) -> np.ndarray:
    """The very operations of Requantizer, on [channels, points]."""
    product = acc * slope[:, None] + offset[:, None]
    if half is not None:
        product = product + np.copysign(half[:, None], product)
    return np.clip(np.rint(product), *bounds)


def _steps(rule: Rule, bias: np.ndarray, bounds: tuple[int, int], reach: np.ndarray) -> np.ndarray:
    """[channels, high − low]: the smallest sum in reach whose output is at least low + 1, …, high; one past the reach where none is."""
    targets = np.arange(bounds[0] + 1, bounds[1] + 1)
    bottom, top = reach[0][:, None], reach[1][:, None] + 1

    def output(sums: np.ndarray) -> np.ndarray:
        return rule((sums + bias[:, None]).T).T

    guess = np.rint((targets - 0.5) / np.maximum(rule.slope, 1e-30)[:, None] - bias[:, None]).clip(bottom, top).astype(np.int64)
    left, right = np.maximum(guess - 4, bottom), np.minimum(guess + 4, top)
    # The guess may be off where the multiplier is tiny: then search all of the reach.
    left = np.where((left > bottom) & (output(left) >= targets), bottom, left)
    right = np.where((right < top) & (output(right) < targets), top, right)
    while (left < right).any():
        middle = left + (right - left) // 2
        enough = output(middle) >= targets
        right = np.where(enough & (left < right), middle, right)
        left = np.where(enough | (left >= right), left, middle + 1)
    return left


def _fit(
    rule: Rule, bias: np.ndarray, bounds: tuple[int, int], steps: np.ndarray, reach: np.ndarray, dtype: type
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Slope and offset with the most room to every step. ``half`` where no one offset fits the steps of both signs."""
    targets = np.arange(bounds[0] + 1, bounds[1] + 1)
    inside = (steps > reach[0][:, None]) & (steps <= reach[1][:, None])
    slopes = np.asarray(rule.slope[None] * (1 + SLOPES[:, None]), dtype).astype(np.float64)
    # g(step) ≥ target needs offset ≥ least; g(step − 1) < target needs offset ≤ most.
    least = targets - 0.5 - slopes[:, :, None] * steps
    most = least + slopes[:, :, None]
    fallback = slopes * bias

    def window(where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lower = np.where(where, least, -np.inf).max(axis=2, initial=-np.inf)
        upper = np.where(where, most, np.inf).min(axis=2, initial=np.inf)
        # Where steps bound the offset from one side only, stay a little inside of that bound.
        open_ended = np.clip(fallback, lower + slopes / 8, np.maximum(upper - slopes / 8, lower + slopes / 8))
        middle = np.where(np.isinf(lower) | np.isinf(upper), open_ended, (np.maximum(lower, -1e30) + np.minimum(upper, 1e30)) / 2)
        return middle, np.where(np.isinf(lower), 1.0, upper - lower)

    offset, room = window(inside)
    half = None
    if (room.max(axis=0) <= 0).mean() > REPAIRABLE and bounds[0] < 0 < bounds[1]:
        up, room_up = window(inside & (targets > 0))
        down, room_down = window(inside & (targets <= 0))
        offset, half, room = (up + down) / 2, np.maximum((up - down) / 2, 0), np.minimum(room_up, room_down)
    best, channels = room.argmax(axis=0), np.arange(len(bias))
    chosen = [None if a is None else a[best, channels].astype(dtype) for a in (slopes, offset, half)]
    return chosen[0], chosen[1], chosen[2]  # type: ignore[return-value]
