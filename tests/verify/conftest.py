from __future__ import annotations

import sys
from pathlib import Path

# The workers of verify/jobs.py, processes of their own, import the graph and the dying runtime from here, too.
sys.path.insert(0, str(Path(__file__).parent))
