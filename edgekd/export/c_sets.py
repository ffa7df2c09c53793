"""Sets of kernels: which C function computes a call, in which file it stands, how it wants its weights, what scratch it needs."""

from __future__ import annotations

from edgekd.errors import InputError
from edgekd.export import c_binary, c_cmsis, c_elementwise, c_fast, c_matmul, c_shape, c_tables, c_weighted, c_windows
from edgekd.export.c_base import Call, Kernel, Kernels

#: Plain C for any 32-bit core: one line an operator's file.
PORTABLE: Kernels = {
    **c_weighted.PORTABLE,
    **c_matmul.PORTABLE,
    **c_windows.PORTABLE,
    **c_binary.PORTABLE,
    **c_elementwise.PORTABLE,
    **c_tables.PORTABLE,
    **c_shape.PORTABLE,
}
#: Set → the tables that are asked for a kernel, in this order.
SETS: dict[str, tuple[Kernels, ...]] = {
    "portable": (PORTABLE,),
    "cmsis": (c_fast.CMSIS, PORTABLE),
    "cmsis-nn": (c_cmsis.CMSIS_NN, PORTABLE),
}
#: Sets that take other kernels on other cores → what the preprocessor asks, and the core that stands for those that say yes.
AT_COMPILE_TIME: dict[str, tuple[tuple[str, str], ...]] = {
    "cmsis": (
        ("if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)", "cortex-m55"),
        ("elif defined(__ARM_FEATURE_DSP)", "cortex-m4"),
        ("else", "cortex-m3"),
    ),
}
#: Cores that scratch is counted for where none is named.
CORES = ("cortex-m0", "cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55")


def check(kernels: str, core: str | None) -> None:
    """Raises InputError for a set or a core that there is not."""
    if kernels not in SETS:
        raise InputError(f"kernels {kernels!r}", where="--kernels", expected=", ".join(SETS))
    if core is not None and core not in CORES:
        raise InputError(f"core {core!r}", where="--core", expected=", ".join(CORES))


def choose(kernels: str, call: Call, core: str | None) -> Kernel:
    """The kernel of the set ``kernels`` for ``call``. Raises InputError for a call that no kernel takes."""
    for table in SETS[kernels]:
        for kernel in table.get(call.kind, ()):
            if kernel.when(call, core):
                return kernel
    raise InputError(
        f"C has no kernel {call.kind}", where=f"what makes {call.output!r}", expected="an operator that `edgekd operators` lists for C"
    )


def scratch(kernel: Kernel, call: Call, core: str | None) -> int:
    """Bytes of scratch on ``core``, or the most on any."""
    return max(kernel.scratch(call, name) for name in ((core,) if core else CORES))
