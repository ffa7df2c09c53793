"""What turns samples into the input of an exported C library: ``<stem>_frontend.h`` and ``.c``, as the graph's metadata names it.

metadata["input"]["front_end"] holds ``kind`` and its numbers. ``log-mel``: the fields of ``edgekd.data.logmel.LogMel``. ``pixels``:
q = p − 128, whatever scale and zero point make of it. Without it an input of (p − 128)/128 gets the front-end for pixels. The C is
edgekd/firmware/frontends with the model's own tables before it; it computes the same integers as the Python that made the training data.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import fields
from importlib.resources import files
from typing import Any

import numpy as np

from edgekd.data.logmel import KIND, LogMel
from edgekd.errors import InputError
from edgekd.quant.graph import QuantGraph, Tensor
from edgekd.quant.grid import PIXELS

EIGHT_BITS = "pixels"
_TYPES = {"int8": "int8_t", "int16": "int16_t"}
_LINE = 138
#: Parts of an arena, as (offset, bytes).
Room = Sequence[tuple[int, int]]


def kind_of(graph: QuantGraph) -> str:
    """``log-mel``, ``pixels``, or "" where the graph does not say what its input is made of, or is fed no integers.

    Raises InputError for a front-end that is not known.
    """
    told = graph.metadata.get("input")
    if not isinstance(told, dict) or len(graph.inputs) != 1 or graph.tensor(graph.inputs[0]).dtype not in _TYPES:
        return ""
    table = told.get("front_end")
    if table is None:
        return EIGHT_BITS if told.get("value") == PIXELS else ""
    if not isinstance(table, dict) or table.get("kind") not in (KIND, EIGHT_BITS):
        expected = f'a table with kind = "{KIND}" or "{EIGHT_BITS}"'
        raise InputError(f"front end {table!r}", where=f"metadata of {graph.name}, input", expected=expected)
    return table["kind"]


def log_mel_of(graph: QuantGraph) -> LogMel:
    """The features of a graph whose ``kind_of`` is ``log-mel``. Raises InputError if they do not make an input of its shape."""
    where = f"metadata of {graph.name}, input.front_end"
    table = {key: value for key, value in graph.metadata["input"]["front_end"].items() if key != "kind"}
    known = {f.name for f in fields(LogMel)}
    if set(table) != known:
        raise InputError(f"keys {sorted(set(table) ^ known)} are missing or unknown", where=where, expected=", ".join(sorted(known)))
    features = LogMel(**table)
    shape = graph.tensor(graph.inputs[0]).shape
    rows, left = divmod(math.prod(shape), features.mels)
    if left or [size for size in shape if size != 1] != [size for size in (rows, features.mels) if size != 1]:
        raise InputError(f"{features.mels} mel bands for an input of shape {shape}", where=where, expected="[1, frames, mels, 1]")
    return features


def sources(graph: QuantGraph, stem: str, room: Room = ()) -> dict[str, str]:
    """File name → text of the front-end of ``graph``, which is channels last; none where ``kind_of`` finds none.

    ``stem`` names the library, whose header the front-end includes; ``room`` are parts of its arena that hold nothing while the input is
    written. Raises InputError as ``kind_of`` and ``log_mel_of`` do.
    """
    kind = kind_of(graph)
    if not kind:
        return {}
    header, code = _log_mel(graph, stem, room) if kind == KIND else _pixels(graph, stem)
    return {f"{stem}_frontend.h": _guarded(stem, header), f"{stem}_frontend.c": code}


def scratch_bytes(features: LogMel) -> int:
    """Working memory of one frame."""
    return 8 * features.frame


def _log_mel(graph: QuantGraph, stem: str, room: Room) -> tuple[str, str]:
    features, tensor, up = log_mel_of(graph), graph.tensor(graph.inputs[0]), stem.upper()
    frames = math.prod(tensor.shape) // features.mels
    samples = (frames - 1) * features.hop + features.frame
    bands = f"{features.mels} mel bands from {features.low_hz:g} to {features.high_hz:g} Hz"
    header = f"""
/* From a microphone's samples to what {stem} is fed: {bands}, frames of {features.frame}
 * samples every {features.hop}, the same integers that it was trained on. No heap, no floating point, no libm. */
#define {up}_RATE {features.rate} /* samples a second */
#define {up}_FRAME {features.frame} /* samples of which a row is made */
#define {up}_HOP {features.hop} /* samples from one row to the next */
#define {up}_FRAMES {frames} /* rows of an input */
#define {up}_MELS {features.mels} /* values of a row */
#define {up}_SAMPLES {samples} /* samples of an input */
#define {up}_FEATURES_SCRATCH_BYTES {scratch_bytes(features)} /* aligned to 8; nothing is kept in it */
{_in_arena(up, features, room)}
/* {up}_SAMPLES samples to a whole input, as {stem}_input() has it. */
void {stem}_features(const int16_t *samples, {stem}_input_t *input, void *scratch);

/* {up}_FRAME samples to one row of {up}_MELS values: row t of an input is of the samples from t * {up}_HOP on. */
void {stem}_frame(const int16_t *samples, {stem}_input_t *row, void *scratch);

/* A device that listens all the time keeps the newest rows. */
typedef struct {{
    int16_t samples[{up}_FRAME];
    {stem}_input_t rows[{up}_FRAMES][{up}_MELS];
    uint32_t held, skipped, next;
}} {stem}_stream_t;

void {stem}_stream_start({stem}_stream_t *stream); /* as if there had been silence */
/* Takes count samples, any number of them; says how many rows they completed. */
uint32_t {stem}_stream_push({stem}_stream_t *stream, const int16_t *samples, uint32_t count, void *scratch);
/* The newest {up}_FRAMES rows, oldest first. */
void {stem}_stream_read(const {stem}_stream_t *stream, {stem}_input_t *input);
"""
    return header, "".join(
        (
            _opening(stem),
            _constants(stem, features, frames),
            _fed(tensor, _line(tensor)),
            _tables(features),
            _text("logmel.c"),
            f"\ntypedef {stem}_stream_t ek_stream;\n",
            _text("stream.c"),
            _log_mel_functions(stem, up, features),
        )
    )


def _in_arena(up: str, features: LogMel, room: Room) -> str:
    """A macro for scratch in the model's arena, beside the input; "" where that is too small."""
    for offset, nbytes in room:
        at = -(-offset // 8) * 8
        if at + scratch_bytes(features) <= offset + nbytes:
            told = "in the arena, where nothing lies that matters until the model runs"
            return f"/* {told} */\n#define {up}_FEATURES_SCRATCH(arena) ((void *)((char *)(arena) + {at}))\n"
    return ""


def _constants(stem: str, features: LogMel, frames: int) -> str:
    tables = features.tables
    last = max(first + len(weights) for first, weights in tables.filters) - 1
    values = {
        "EK_FRAME": f"{features.frame}u",
        "EK_BITS": features.frame.bit_length() - 1,
        "EK_HOP": f"{features.hop}u",
        "EK_FRAMES": f"{frames}u",
        "EK_MELS": f"{features.mels}u",
        "EK_FIRST_BIN": f"{min(first for first, _ in tables.filters)}u",
        "EK_LAST_BIN": f"{last}u",
        "EK_OFFSET": tables.offset,
        "EK_GAIN": tables.gain,
        "EK_INPUT": f"{stem}_input_t",
    }
    return "".join(f"#define {name} {value}\n" for name, value in values.items())


def _log_mel_functions(stem: str, up: str, features: LogMel) -> str:
    silence = int(features.apply(np.zeros((1, features.frame), np.int16)).flat[0])
    return f"""
void {stem}_features(const int16_t *samples, {stem}_input_t *input, void *scratch) {{
    for (uint32_t t = 0; t < EK_FRAMES; t++) {{
        ek_features(samples + t * EK_HOP, input + t * EK_MELS, (ek_bin *)scratch);
    }}
}}

void {stem}_frame(const int16_t *samples, {stem}_input_t *row, void *scratch) {{
    ek_features(samples, row, (ek_bin *)scratch);
}}

void {stem}_stream_start({stem}_stream_t *stream) {{
    memset(stream, 0, sizeof *stream);
    for (uint32_t t = 0; t < EK_FRAMES; t++) {{
        for (uint32_t mel = 0; mel < EK_MELS; mel++) {{
            stream->rows[t][mel] = ek_fed({silence});
        }}
    }}
}}

uint32_t {stem}_stream_push({stem}_stream_t *stream, const int16_t *samples, uint32_t count, void *scratch) {{
    return ek_push(stream, samples, count, (ek_bin *)scratch);
}}

void {stem}_stream_read(const {stem}_stream_t *stream, {stem}_input_t *input) {{
    const uint32_t old = EK_FRAMES - stream->next;
    memcpy(input, stream->rows[stream->next], old * sizeof stream->rows[0]);
    memcpy(input + old * EK_MELS, stream->rows[0], stream->next * sizeof stream->rows[0]);
}}
"""


def _tables(features: LogMel) -> str:
    made, half, quarter = features.tables, features.frame // 2, features.frame // 4
    window = ([*made.window[:quarter], made.window[3 * quarter]], made.window[quarter : half + 1])
    turns = np.stack([made.cos, made.sin], 1).astype(np.int64) << 15
    weights = np.concatenate([weights for _, weights in made.filters])
    return (
        _array(f"int16_t ek_window[2][{quarter + 1}]", (f"{{{', '.join(map(str, row))}}}" for row in window))
        + _array(f"int32_t ek_turns[{half}][2]", (f"{{{c}, {s}}}" for c, s in turns))
        + _array(f"uint16_t ek_filters[{features.mels}][2]", (f"{{{first}, {len(w)}}}" for first, w in made.filters))
        + _array(f"uint16_t ek_weights[{len(weights)}]", weights)
        + _array("uint16_t ek_log2[257]", made.log2 & 0xFFFF)
        + "\n"
    )


def _pixels(graph: QuantGraph, stem: str) -> tuple[str, str]:
    tensor = graph.tensor(graph.inputs[0])
    count, up = math.prod(tensor.shape), stem.upper()
    header = f"""
/* From 8-bit pixels, channels last, to what {stem} is fed. Where {stem}_input_t has 8 bits, both may be the same memory. */
#define {up}_PIXELS {count}u
void {stem}_pixels(const uint8_t *pixels, {stem}_input_t *input);
"""
    line = (1, 0) if "front_end" in graph.metadata["input"] else _line(tensor)
    flip = tensor.dtype == "int8" and line == (1, 0)
    constants = f"#define EK_COUNT {count}u\n#define EK_FLIP {int(flip)}\n#define EK_INPUT {stem}_input_t\n"
    public = f"\nvoid {stem}_pixels(const uint8_t *pixels, {stem}_input_t *input) {{\n    ek_features(pixels, input);\n}}\n"
    return header, _opening(stem) + constants + _fed(tensor, line) + _text("pixels.c") + public


def _line(tensor: Tensor) -> tuple[int, int] | None:
    """(factor, zero) with q = (p − 128)·factor + zero for every pixel p; None where no such integers are."""
    scale, zero = _quantization(tensor)
    factor = 1 / (128 * scale)
    low, high = -128 * factor + zero, 127 * factor + zero
    limits = np.iinfo(tensor.dtype)
    return (int(factor), zero) if factor.is_integer() and limits.min <= low and high <= limits.max else None


def _fed(tensor: Tensor, line: tuple[int, int] | None) -> str:
    """``ek_fed(p)``: the model's integer for 8-bit p, by ``_line``, else what stands for (p − 128)/128."""
    kind = _TYPES[tensor.dtype]
    opening = f"\nstatic inline {kind} ek_fed(int32_t p) {{\n"
    if line:
        times = "" if line[0] == 1 else f" * {line[0]}"
        plus = f" + {line[1]}" if line[1] else ""
        return f"{opening}    return ({kind})((p - 128){times}{plus});\n}}\n\n"
    scale, zero = _quantization(tensor)
    limits = np.iinfo(tensor.dtype)
    table = np.clip(np.rint((np.arange(256) - 128) / (128 * scale)) + zero, limits.min, limits.max).astype(np.int64)
    return f"{_array(f'{kind} ek_of_pixel[256]', table)}{opening}    return ek_of_pixel[p];\n}}\n\n"


def _quantization(tensor: Tensor) -> tuple[float, int]:
    if tensor.quantization is None:
        raise InputError("has no scale", where=f"input {tensor.name}", expected="a quantized input")
    return tensor.quantization.single


def _array(declared: str, values: Iterable[Any]) -> str:
    """A constant table, as many values a line as fit."""
    lines, line = [f"static const {declared} = {{"], "   "
    for value in values:
        if len(line) + len(text := f" {value},") > _LINE:
            lines.append(line)
            line = "   "
        line += text
    return "\n".join([*lines, line, "};", ""])


def _opening(stem: str) -> str:
    return f'/* {stem}_frontend.c: written by edgekd; see {stem}_frontend.h. */\n#include "{stem}_frontend.h"\n\n#include <string.h>\n\n'


def _guarded(stem: str, text: str) -> str:
    guard = f"{stem.upper()}_FRONTEND_H"
    return (
        f"/* {stem}_frontend.h: written by edgekd. */\n#ifndef {guard}\n#define {guard}\n\n"
        f'#include <stdint.h>\n\n#include "{stem}.h"\n\n#ifdef __cplusplus\nextern "C" {{\n#endif\n{text}\n'
        "#ifdef __cplusplus\n}\n#endif\n#endif\n"
    )


def _text(name: str) -> str:
    return files("edgekd").joinpath("firmware", "frontends", name).read_text(encoding="utf-8")
