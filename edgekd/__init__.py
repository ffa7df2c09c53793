"""Teacher, data set and target profile → a small quantized network, exported, verified and measured.

Nothing that edgekd runs tells its makers of it. onnxruntime (1.31), openvino (2026.4) and nncf (3.4) would, over the network and with files
in the user's home, most of it as soon as they are imported; so this comes before any of them.
"""

from __future__ import annotations

import os
import sys
from typing import Any

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("NNCF_CI", "1")
_modules: dict[str, Any] = sys.modules
# Python then says that there is no such module; openvino and nncf do without.
_modules.setdefault("openvino_telemetry", None)
