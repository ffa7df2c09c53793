"""One message for a firmware that a target has no room for: which memory, by how much, what takes it, and where it would fit."""

from __future__ import annotations

from edgekd.errors import DoesNotFit, InputError
from edgekd.mcu.harness import TooLarge
from edgekd.profile.load import all_profiles
from edgekd.profile.schema import Profile
from edgekd.quant import size
from edgekd.quant.graph import QuantGraph

_NAMES = {"FLASH": "flash", "RAM": "RAM"}
#: As many layers are named.
LARGEST = 3


def refusal(error: TooLarge, graph: QuantGraph, profile: Profile, kernels: str) -> DoesNotFit:
    """The message, as an exception of exit code 1."""
    device = profile.device
    flash, ram = error.firmware.flash(), error.firmware.ram()
    have = {"FLASH": device.flash_bytes or 0, "RAM": device.ram_bytes}
    # What the linker misses, so that the numbers add up: between the parts lies what they are aligned by.
    need = {"FLASH": sum(flash.values()), "RAM": sum(ram.values())}
    need |= {memory: have[memory] + missing for memory, missing in error.missing.items() if memory in have}
    lines = [f"{graph.name} does not fit {profile.name} ({device.board}), {kernels} kernels"]
    for memory, missing in error.missing.items():
        parts = flash if memory == "FLASH" else ram
        said = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in parts.items() if count)
        lines.append(f"  {_NAMES.get(memory, memory)}: {missing} B too many; {need[memory]} B needed ({said}), {have[memory]} B there")
    if "FLASH" in error.missing:
        costs = sorted(size.count(graph), key=lambda cost: -cost.weight_bytes)[:LARGEST]
        lines.append(
            "  largest layers, by weights: " + ", ".join(f"{_short(cost.name)} ({cost.kind}) {cost.weight_bytes} B" for cost in costs)
        )
    if "RAM" in error.missing:
        lines.append(f"  largest layers, by what they read and write: {_activations(graph)}")
    lines.append(f"  nearest fit: {_nearest(need['FLASH'], need['RAM'])}")
    return DoesNotFit("\n".join(lines))


def _activations(graph: QuantGraph) -> str:
    def read(name: str) -> int:
        tensor = graph.tensor(name)
        return 0 if tensor.is_constant else tensor.nbytes

    sizes = [(sum(map(read, (*op.inputs, *op.outputs))), op) for op in graph.ops]
    largest = sorted(sizes, key=lambda one: -one[0])[:LARGEST]
    return ", ".join(f"{_short(op.name)} ({type(op).__name__}) {nbytes} B" for nbytes, op in largest)


def _nearest(flash: int, ram: int) -> str:
    """The target with the least memory that would hold the firmware."""
    try:
        known = all_profiles("mcu")
    except InputError:  # one of the user's own profiles is wrong; that is not what was asked
        known = []
    fitting = [p for p in known if (p.device.flash_bytes or 0) >= flash and p.device.ram_bytes >= ram]
    if not fitting:
        return f"none of the {len(known)} targets; at least {flash} B of flash and {ram} B of RAM"
    best = min(fitting, key=lambda p: ((p.device.flash_bytes or 0) + p.device.ram_bytes, p.name))
    return f"{best.name} ({best.device.flash_bytes} B of flash, {best.device.ram_bytes} B of RAM)"


def _short(name: str) -> str:
    """The last of the names that TensorFlow joins when it fuses operators."""
    return name.rpartition(";")[2]
