"""The gate: whether a student may replace the one before it. Pure functions of figures; edgekd/gating.py reads runs and releases."""
