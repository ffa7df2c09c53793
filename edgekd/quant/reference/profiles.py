"""Which rule each operator follows under each profile.

``litert_opt`` is not a profile of its own: it names the rules of the optimized LiteRT kernels that run where XNNPACK declines.
"""

from __future__ import annotations

PROFILES = ("tflm", "litert_ref", "xnnpack")

#: profile → kind of operator → rule. "fixed_point" and "float_once" are in rounding.py, the others in the file of their operator.
RULES: dict[str, dict[str, str]] = {
    "tflm": {
        "conv": "fixed_point",
        "fully_connected": "fixed_point",
        "add": "fixed_point",
        "mean": "fixed_point",
        "softmax": "fixed_point",
        "logistic": "fixed_point",
        "relu": "float64_ratio",
        "bounds": "tflite",
    },
    "litert_ref": {
        "conv": "fixed_point",
        "fully_connected": "float64_once",
        "add": "fixed_point",
        "mean": "fixed_point",
        "softmax": "fixed_point",
        "logistic": "tflite_table",
        "relu": "float32_ratio",
        "bounds": "tflite",
    },
    "xnnpack": {
        "conv": "float32_once",
        "fully_connected": "float32_once",
        "add": "xnnpack_20_bits",
        "mean": "float32",
        "softmax": "float_table",  # litert_opt
        "logistic": "xnnpack_table",
        "relu": "float32_ratio",  # litert_opt
        "bounds": "xnnpack",
    },
}
