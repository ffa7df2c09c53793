"""What runs say of themselves: the table at the end, and the page (``edgekd report RUN… --html FILE``, in ``page.py``).

Everything is read from records; nothing is measured here.
"""

from __future__ import annotations

from edgekd.report.table import documents, rows, table

__all__ = ["documents", "rows", "table"]
