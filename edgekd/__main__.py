"""``python -m edgekd``."""

from __future__ import annotations

from edgekd.cli import main

if __name__ == "__main__":
    main()
