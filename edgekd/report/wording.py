"""Numbers and figures as people read them: value, unit and interval, with spaces that do not break."""

from __future__ import annotations

from typing import Any

from edgekd.records import Figure

_SPACE = "\u00a0"
#: Units that are not counted in thousands and millions.
_PLAIN = ("ms", "s", "uJ", "pp", "°C", "mW")
#: Names of figures and budgets → what the page calls them.
NAMES = {
    "accuracy": "Accuracy",
    "reference_accuracy": "Accuracy of the reference",
    "teacher_accuracy": "Accuracy of the teacher",
    "worst_class_accuracy": "Accuracy of the worst class",
    "validation_accuracy": "Accuracy on validation",
    "float_accuracy": "Accuracy of the float model",
    "calibration_error": "Calibration error (ECE)",
    "teacher_agreement": "Agreement with the teacher",
    "top1_agreement": "Top-1 agreement with the reference",
    "bit_equal": "Bit-equal samples",
    "bit_equal_outputs": "Bit-equal outputs",
    "model_bytes": "File",
    "peak_ram_bytes": "Peak RAM",
    "latency_ms": "Latency",
    "latency_p90_ms": "Latency, 90th percentile",
    "predicted_latency_ms": "Latency, as predicted",
    "host_ruler_us": "A fixed piece of work on this host",
    "energy_uj": "Energy",
    "macs": "Multiply-accumulates",
    "max_macs": "Multiply-accumulates",
    "parameters": "Weights and biases",
    "accuracy_drop_pp": "Accuracy lost to the teacher",
}


def name(figure: str) -> str:
    """What the page calls a figure or a budget."""
    return NAMES.get(figure, figure.replace("_", " "))


def amount(value: float, unit: str) -> str:
    """The value with its unit: shares in percent, bytes in KiB or MiB, large counts in K and M."""
    if unit == "share":
        return f"{percent(value)}{_SPACE}%"
    if unit == "B":
        number, unit = (value / 2**20, "MiB") if value >= 2**20 else (value / 1024, "KiB") if value >= 1024 else (value, "B")
        return f"{number:.{2 if unit == 'MiB' else 1 if unit == 'KiB' else 0}f}{_SPACE}{unit}"
    if abs(value) >= 1000 and unit not in _PLAIN:
        number, prefix = (value / 1e6, "M") if abs(value) >= 1e6 else (value / 1e3, "k")
        return f"{number:.2f}{_SPACE}{prefix}{_SPACE}{unit}".rstrip()
    number = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{number}{_SPACE}{unit}".rstrip()


def percent(share: float) -> str:
    """Two digits after the point, and never 100 for less."""
    return "100" if share == 1 else f"{min(100 * share, 99.99):.2f}"


def interval(figure: Figure) -> str:
    """ "low to high" in the figure's unit, "" where it has none."""
    if figure.low is None or figure.high is None:
        return ""
    if figure.unit == "share":
        return f"{100 * figure.low:.2f} to {100 * figure.high:.2f}{_SPACE}%"
    return f"{amount(figure.low, figure.unit)} to {amount(figure.high, figure.unit)}"


def count(number: float) -> str:
    """A count with its thousands apart."""
    return f"{number:,.0f}".replace(",", "\u202f")


def of_row(figure: dict[str, Any] | None) -> Figure | None:
    """A figure as the table's rows have it."""
    return Figure(**figure) if figure else None
