"""Stands in for LiteRT's benchmark_model in tests: its flags, what it prints, its files; the outputs are LiteRT's own.

Not the real tool: its times are made up. Texts as of LiteRT 2 (tflite/tools/benchmark). $STAND_IN, or a file stand_in beside it,
changes it: "old" has no --output_filepath, "wrong" writes outputs that are off by one, "slow" takes longer from process to process.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> int:
    given = dict(argument.removeprefix("--").partition("=")[::2] for argument in sys.argv[1:])
    beside = Path(sys.argv[0]).with_name("stand_in")
    mode = os.environ.get("STAND_IN", "") or (beside.read_text().strip() if beside.exists() else "")
    if not Path(given["graph"]).is_file():
        print(f"ERROR: Failed to load model at {given['graph']}", file=sys.stderr)
        return 1
    middle = 1000 + os.urandom(1)[0] % 7
    if mode == "slow":
        calls = Path(sys.argv[0]).with_name("calls")
        count = int(calls.read_text()) if calls.exists() else 0
        calls.write_text(str(count + 1))
        middle += 50 * count
    print(f"INFO: STARTING!\nINFO: Graph: [{given['graph']}]")
    if mode == "old":
        print("WARN: Unconsumed cmdline flags: --output_filepath")
    elif "output_filepath" in given:
        _infer(given, 1 if mode == "wrong" else 0)
    print("INFO: Initialized session in 20.283ms.")
    print(f"INFO: count=12 first={middle + 900} curr={middle} min={middle - 9} max={middle + 900} avg={middle + 80.5} std=90 median=2\n")
    print("INFO: Running benchmark for at least 5 iterations and at least 1 seconds but terminate if exceeding 150 seconds.")
    print(
        f"INFO: count=50 first={middle + 4} curr={middle} min={middle - 9} max={middle + 40} avg={middle + 2.25} std=3 "
        f"p5={middle - 8} median={middle} p95={middle + 30}\n"
    )
    print(f"INFO: Inference timings in us: Init: 20283, First inference: {middle + 900}, Warmup (avg): 1, Inference (avg): {middle + 2}")
    if given.get("report_peak_memory_footprint") == "true":
        print("INFO: Overall peak memory footprint (MB) via periodic monitoring: 5.25")
    return 0


def _infer(given: dict[str, str], off: int) -> None:
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(given["graph"])
    interpreter.allocate_tensors()
    inner = interpreter.get_input_details()[0]
    shape = tuple(map(int, given["input_layer_shape"].split(",")))
    x = np.fromfile(given["input_layer_value_files"].removeprefix("x:"), inner["dtype"]).reshape(shape)
    interpreter.set_tensor(inner["index"], x)
    interpreter.invoke()
    with Path(given["output_filepath"]).open("wb") as file:
        for output in interpreter.get_output_details():
            y = interpreter.get_tensor(output["index"])
            file.write((y ^ y.dtype.type(off) if off else y).tobytes())


if __name__ == "__main__":
    sys.exit(main())
