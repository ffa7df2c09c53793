"""Outputs that came back from a device, against what the reference foretells of the device's runtime."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from edgekd.errors import InputError
from edgekd.quant import io
from edgekd.quant.graph import QuantGraph
from edgekd.records import Verdict
from edgekd.verify.certificate import Samples, judged, rule_for
from edgekd.verify.foretell import foretell
from edgekd.verify.jobs import Job, Outcome, run_jobs

#: Up to so many samples the reference runs here; of more in processes of its own, several at a time.
FEW = 500


def judge(graph: QuantGraph, runtime: str, where: str, outputs: np.ndarray, x: np.ndarray, y: np.ndarray | None) -> Verdict:
    """``outputs`` [N, …] for samples ``x`` [N, …] with labels ``y``, by the rule that ``runtime`` has (``certificate.RULES``).

    ``where`` computed them. A verdict that is not ok is no exception. Raises InputError for outputs of another number or shape.
    """
    if len(outputs) != len(x):
        raise InputError(f"{len(outputs)} outputs", where=where, expected=f"{len(x)}, one a sample")
    rule = rule_for(graph, runtime)
    if len(x) <= FEW:
        answers, cpu_s = foretell(graph, x, (rule.profile,))[:, 0], 0.0
    else:
        with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
            io.save(graph, Path(folder))
            found = run_jobs([Job("reference", folder, profiles=rule.profile)], x)["reference"]
        answers, cpu_s = found.outputs[:, 0], found.cpu_s
    outcomes = Outcome(outputs, 0.0, where), Outcome(answers, cpu_s, f"reference, {rule.profile}")
    return judged(graph, (graph.name, runtime), rule, Samples(x, y), outcomes)[0]
