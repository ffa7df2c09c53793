"""Make edgekd/plan/calibration: the published latencies with their boards' names, and the work of the four networks.

    PYTHONPATH=. python tools/make_latency_features.py FOLDER

FOLDER holds latency.csv (published closed-division results of MLPerf Tiny v0.5 to v1.2) and the reference models kws_ref_model.tflite,
pretrainedResnet_quant.tflite and vww_96_int8.tflite of mlcommons/tiny. The anomaly detector's shapes are rebuilt: its file is not needed.
"""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import json
from dataclasses import asdict
from pathlib import Path

from edgekd import runs
from edgekd.errors import InputError
from edgekd.importers.tflite import read
from edgekd.plan.latency_work import OpWork, Work, work_of

OUT = Path(__file__).resolve().parent.parent / "edgekd" / "plan" / "calibration"
FILES = {"ic": "pretrainedResnet_quant.tflite", "kws": "kws_ref_model.tflite", "vww": "vww_96_int8.tflite"}
#: Widths of the anomaly detector, a fully connected autoencoder (Koizumi et al., ToyADMOS, 2019, as MLPerf Tiny has it).
AUTOENCODER = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640)
#: Board → what its systems' names have in common, capitals, hyphens for underscores.
BOARDS = {
    "NUCLEO-L4R5ZI": "L4R5ZI",
    "NUCLEO-H7A3ZI": "H7A3ZI",
    "NUCLEO-U575ZI": "U575ZI",
    "NUCLEO-G0B1RE": "G0B1RE",
    "DISCO-F746NG": "F746NG",
    "CY8CPROTO-062-4343W": "062-4343W",
    "B-U585I-IOT02A": "U585I",
    "NRF5340-DK": "NRF5340",
    "NUMAKER-M467HJ": "M467HJ",
    "EK-RA6M4": "RA6M4",
    "RX65N-CLOUD-KIT": "RX65N",
}
KEPT = ("round", "submitter", "system", "board", "core", "clock_mhz", "runtime", "task", "latency_ms", "energy_uj")


def board_of(system: str) -> str:
    """Raises InputError for a system that no board is known of."""
    name = system.upper().replace("_", "-")
    for board, part in BOARDS.items():
        if part in name:
            return board
    raise InputError(f"system {system!r}", where="latency.csv", expected=", ".join(BOARDS), mend="a line in BOARDS")


def autoencoder() -> Work:
    """Its ten layers, int8, with int32 biases."""
    layers = itertools.pairwise(AUTOENCODER)
    return Work(
        "ad", tuple(OpWork(f"dense_{i}", "fully_connected", a * b, b, 0, 0, a * b + 4 * b, a, b) for i, (a, b) in enumerate(layers))
    )


def _listed(task: str, work: Work) -> str:
    """One operator a line."""
    return f'"{task}": [\n' + ",\n".join(json.dumps(asdict(op)) for op in work.ops) + "\n]"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    networks = {"ad": autoencoder()} | {task: work_of(read(folder / name)) for task, name in FILES.items()}
    with open(folder / "latency.csv", encoding="utf-8", newline="") as file:
        rows: list[dict[str, str]] = [{**row, "board": board_of(row["system"])} for row in csv.DictReader(file)]
    for row in rows:
        if int(row["macs"]) != networks[row["task"]].macs:
            raise InputError(f"{row['task']} has {row['macs']} MACs", where="latency.csv", expected=str(networks[row["task"]].macs))
    text = io.StringIO()
    writer: csv.DictWriter[str] = csv.DictWriter(text, KEPT, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    runs.atomic_write(OUT / "mlperf_tiny.csv", text.getvalue().encode())
    runs.atomic_write(OUT / "networks.json", ("{\n" + ",\n".join(map(_listed, networks, networks.values())) + "\n}\n").encode())
    print(f"{len(rows)} rows, {len(networks)} networks → {OUT}")


if __name__ == "__main__":
    main()
