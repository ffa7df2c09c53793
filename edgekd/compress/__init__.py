"""Compressors: each is a function module → module in eager torch; what comes out is trained, captured and exported as what went in."""

from __future__ import annotations

COMPRESSORS = {
    "channels": "edgekd.compress.channels:channels",
    "low_rank": "edgekd.compress.low_rank:low_rank",
    "sparsity": "edgekd.compress.sparsity:sparsity",
}
