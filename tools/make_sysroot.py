"""Make the aarch64 system that `edgekd bench --device arm64-emulated` runs models in: `python tools/make_sysroot.py [--sources FILE]`.

Its code travels with edgekd: `python -m edgekd.transports.sysroot` is the same, and says what it does.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edgekd.transports.sysroot import main

if __name__ == "__main__":
    sys.exit(main())
