"""docs/microcontroller.md: its command writes a library, and its C compiles and says what Python says."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgekd.cli import main as edgekd
from edgekd.export.c_frontend import log_mel_of
from edgekd.profile.schema import Npu
from edgekd.quant import io
from edgekd.quant.reference import run as reference

STRICT = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror")
PROGRAM = """
#include <stdio.h>
#include "student_frontend.h"
const char *digit(const int16_t *samples);
int main(void) {
    static int16_t samples[STUDENT_SAMPLES];
    while (fread(samples, sizeof samples, 1, stdin)) { puts(digit(samples)); }
    return 0;
}
"""


@pytest.fixture
def text(repository: Path) -> str:
    return (repository / "docs" / "microcontroller.md").read_text()


def test_the_c_of_the_docs(text: str, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(repository)
    command = next(line for line in text.splitlines() if line.startswith("edgekd convert"))
    arguments = shlex.split(
        command.replace("--kernels cmsis --core cortex-m4", "--no-verify").replace("--out firmware", f"--out {tmp_path}")
    )
    with pytest.raises(SystemExit) as ended:
        monkeypatch.setattr("sys.argv", arguments)
        edgekd()
    assert not ended.value.code
    snippet = re.search(r"```c\n(.*?)```", text, re.DOTALL)
    assert snippet
    (tmp_path / "snippet.c").write_text(snippet[1])
    (tmp_path / "main.c").write_text(PROGRAM)
    names = ["snippet.c", "student.c", "student_frontend.c"]
    if arm := shutil.which("arm-none-eabi-gcc"):
        subprocess.run([arm, *STRICT, "-mcpu=cortex-m4", "-mthumb", "-c", *names], cwd=tmp_path, check=True, timeout=120)
    gcc = shutil.which("gcc") or pytest.skip("no gcc")
    subprocess.run([gcc, *STRICT, "main.c", *names, "-o", "program"], cwd=tmp_path, check=True, timeout=120)
    graph = io.load(repository / "models" / "spoken_digits" / "firmware" / "student")
    features = log_mel_of(graph)
    rng, samples = np.random.default_rng(5), 38 * features.hop + features.frame
    waves = np.rint(rng.normal(0, 2.0 ** np.arange(1, 15)[:, None], (14, samples))).clip(-32768, 32767).astype(np.int16)
    said = subprocess.run([str(tmp_path / "program")], input=waves.tobytes(), capture_output=True, check=True, timeout=60)
    pixels = (features.apply(waves).astype(np.int16) - 128).astype(np.int8)[..., None]
    expected = reference(graph, pixels, "tflm")[graph.outputs[0]].argmax(1)
    assert [int(line) for line in said.stdout.split()] == list(expected)


def test_the_profile_of_the_docs(text: str, repository: Path) -> None:
    import tomllib

    block = re.search(r"```toml\n(\[npu\].*?)```", text, re.DOTALL)
    assert block
    shipped = tomllib.loads((repository / "targets" / "mcu" / "corstone-300.toml").read_text())["npu"]
    assert Npu.model_validate(tomllib.loads(block[1])["npu"]) == Npu.model_validate(shipped)
