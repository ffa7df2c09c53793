"""A model by hand that follows the contract of exported libraries: y[i] = saturate((Σ w[i, j] x[j]) >> 7), in two layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

IN, OUT = 16, 4
WEIGHTS = (np.arange(OUT * IN).reshape(OUT, IN) * 37 % 255 - 127).astype(np.int8)

HEADER = """\
#ifndef {NAME}_H
#define {NAME}_H
#include <stdint.h>
#define {NAME}_ARENA_BYTES {arena}
#define {NAME}_INPUTS 1
#define {NAME}_OUTPUTS 1
#define {NAME}_INPUT_SIZE {IN}
#define {NAME}_OUTPUT_SIZE {OUT}
typedef int8_t {name}_input_t;
typedef int8_t {name}_output_t;
{name}_input_t *{name}_input(void *arena);
void {name}_run(void *arena);
const {name}_output_t *{name}_output(const void *arena);
#endif
"""
SOURCE = """\
#include "{name}.h"
#ifndef EK_LAYER
#define EK_LAYER(index)
#endif
#ifndef EK_WEIGHTS
#define EK_WEIGHTS
#endif
#ifdef EK_LAYER_NAMES
static const char *const {name}_layer_names[2] = {{"sums", "saturate"}};
#endif
static const int8_t weights[] EK_WEIGHTS = {{{weights}}};
{name}_input_t *{name}_input(void *arena) {{ return (int8_t *)arena + 16; }}
const {name}_output_t *{name}_output(const void *arena) {{ return (const int8_t *)arena + 32; }}
static void sums(const int8_t *x, int32_t *y) {{
    for (int i = 0; i < {OUT}; i++) {{
        int32_t sum = {extra};
        for (int j = 0; j < {IN}; j++) sum += weights[i * {IN} + j] * x[j];
        y[i] = sum >> 7;
    }}
}}
static void saturate(const int32_t *x, int8_t *y) {{
    for (int i = 0; i < {OUT}; i++) y[i] = (int8_t)(x[i] > 127 ? 127 : x[i] < -128 ? -128 : x[i]);
}}
void {name}_run(void *arena) {{
    int8_t *at = arena;
    volatile int8_t deep[{deep}];
    deep[0] = 1;
    EK_LAYER(0);
    sums(at + 16, (int32_t *)arena);
    EK_LAYER(0);
    EK_LAYER(1);
    saturate((const int32_t *)arena, at + 32);
    EK_LAYER(1);
}}
"""


def write(folder: Path, name: str = "tiny", *, arena: int = 64, extra: int = 0, deep: int = 8, padding: int = 0) -> tuple[Path, str]:
    """``extra`` is added to each sum, ``deep`` bytes of stack are taken, ``padding`` bytes of weights that nothing uses."""
    weights = ", ".join(map(str, [*WEIGHTS.reshape(-1), *([1] * padding)]))
    given = {"name": name, "NAME": name.upper(), "IN": IN, "OUT": OUT, "arena": arena, "extra": extra, "deep": deep, "weights": weights}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.h").write_text(HEADER.format(**given))
    (folder / f"{name}.c").write_text(SOURCE.format(**given))
    return folder, name


def inputs(count: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(-128, 128, (count, IN)).astype(np.int8)


def expected(x: np.ndarray, extra: int = 0) -> np.ndarray:
    sums = x.astype(np.int32) @ WEIGHTS.T.astype(np.int32) + extra
    return np.clip(sums >> 7, -128, 127).astype(np.int8)
