"""Where CMSIS-NN and CMSIS-Core come from: a folder that the user gives, or the PyPI package bakenn, which carries them. Never copied."""

from __future__ import annotations

import os
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from edgekd.errors import InputError, MissingDependency
from edgekd.mcu.harness import Sources

VARIABLE = "EDGEKD_CMSIS_NN"
#: Where CMSIS-Core's headers lie, seen from CMSIS-NN's folder: beside it or in it.
_CORE = (
    "../cmsis_core/Include", "../CMSIS_6/CMSIS/Core/Include", "../CMSIS_5/CMSIS/Core/Include", "../CMSIS/Core/Include",
    "../CMSIS/CMSIS/Core/Include", "../Core/Include", "../../Core/Include", "CMSIS/Core/Include", "Core/Include", "Include",
)  # fmt: skip
_FUNCTION = re.compile(r"^[a-z][\w \t]*[ \t*]\**(arm_\w+)\s*\([^;{}]*\)\s*\{", re.MULTILINE)


def sources(folder: Path | None = None) -> Sources:
    """CMSIS-NN of ``folder`` (it holds Include and Source), else of $EDGEKD_CMSIS_NN, else of the package.

    Raises InputError for a folder that does not hold it, MissingDependency where there is none.
    """
    named = folder or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    where = "--cmsis-nn" if folder else VARIABLE
    root = named or _packaged()
    if root is None:
        raise MissingDependency(
            "CMSIS-NN is not here, and these kernels call it\n"
            f"  to mend:  set {VARIABLE} to a copy of CMSIS-NN with CMSIS-Core beside it, or: pip install 'edgekd[mcu]'"
        )
    root = root.resolve()
    if not (root / "Include" / "arm_nnfunctions.h").is_file() or not (root / "Source").is_dir():
        raise InputError(f"{root} is not CMSIS-NN", where=where, expected="a folder with Include/arm_nnfunctions.h and Source")
    core = next((root / place for place in _CORE if (root / place / "cmsis_compiler.h").is_file()), None)
    if core is None:
        raise InputError(
            f"no cmsis_compiler.h near {root}", where=where, expected="CMSIS-Core beside it", mend=f"as {root.parent / 'CMSIS_6'}"
        )
    return Sources(("-isystem", str(root / "Include"), "-isystem", str(core.resolve())), _functions(root).get)


def _packaged() -> Path | None:
    # Looked for, not imported: only its files are wanted.
    spec = find_spec("bakenn")
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) / "backend" / "cmsis_nn" / "vendor" / "cmsis_nn" if places else None


@cache
def _functions(root: Path) -> dict[str, Path]:
    """Function → the file that defines it."""
    found: dict[str, Path] = {}
    for path in sorted((root / "Source").rglob("*.c")):
        text = path.read_text(encoding="utf-8", errors="replace")
        found |= dict.fromkeys(_FUNCTION.findall(text), path)
    return found
