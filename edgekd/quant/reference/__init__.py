"""The NumPy reference: a QuantGraph computed under the rounding rules of a runtime, bit for bit.

    tflm         TensorFlow Lite Micro and CMSIS-NN
    litert_ref   LiteRT with its reference kernels (BUILTIN_REF)
    xnnpack      LiteRT as it comes: XNNPACK, and the rules named litert_opt where XNNPACK declines an operator
    onnxruntime  onnxruntime on the ONNX file (``onnxruntime.py`` says for which operators)

``profiles.py`` has the rule of each operator under each profile; a float graph runs under the profile "float".
"""

from edgekd.quant.reference.engine import run
from edgekd.quant.reference.profiles import OTHERS, PROFILES

__all__ = ["OTHERS", "PROFILES", "run"]
