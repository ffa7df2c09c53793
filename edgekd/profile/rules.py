"""What no profile may say because two of its keys contradict each other, or the device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from edgekd.profile.schema import Budgets, Deploy, Device, Npu, SchemeTable
from edgekd.profile.strict import Problem

#: Exporter → runtimes that read its files.
READS = {"tflite": ("tflm", "ethos-u", "litert"), "onnx": ("onnxruntime", "tensorrt"), "openvino": ("openvino",)}
#: Class of devices → runtimes that exist for it.
RUNS = {
    "mcu": ("tflm", "ethos-u"),
    "phone": ("litert", "onnxruntime"),
    "jetson": ("tensorrt", "onnxruntime", "litert"),
    "edge": ("litert", "onnxruntime", "openvino"),
}
#: Runtimes with kernels for 4-bit weights.
FOUR_BITS = ("tflm", "litert")
#: Runtimes with kernels for 16-bit activations beside 8-bit weights.
SIXTEEN_BITS = ("tflm", "litert")
#: Sections of Vela's own configuration file, Arm/vela.ini (ethos-u-vela 5.2): which may follow another generation is Vela's to say.
SYSTEM_CONFIGS = (
    *("Ethos_U55_Deep_Embedded", "Ethos_U55_High_End_Embedded"),
    *("Ethos_U65_Embedded", "Ethos_U65_Mid_End", "Ethos_U65_High_End", "Ethos_U65_Client_Server"),
    *("Ethos_U85_SYS_Flash_Low", "Ethos_U85_SYS_Flash_High", "Ethos_U85_SYS_DRAM_Low", "Ethos_U85_SYS_DRAM_Mid", "Ethos_U85_SYS_DRAM_High"),
)
MEMORY_MODES = ("Sram_Only", "Shared_Sram", "Dedicated_Sram", "Dedicated_Sram_256KB", "Dedicated_Sram_384KB", "Dedicated_Sram_512KB")
BITS = {"int8": 8, "float16": 16, "float32": 32}


def contradictions(sections: Mapping[str, Any]) -> Iterator[Problem]:
    """Problems between keys, of the sections that are right in themselves."""
    device, budgets, scheme, deploy = (sections.get(name) for name in ("device", "budgets", "scheme", "deploy"))
    kind = sections.get("kind")
    if scheme:
        yield from _scheme(scheme)
    if deploy:
        yield from _pair(deploy)
    if kind and deploy:
        yield from _kind(kind, deploy)
    if kind == "mcu" and device and device.flash_bytes is None:
        yield Problem("device.flash_bytes", "is missing for a microcontroller", "its program flash in bytes", "flash_bytes = 1048576")
    if device and budgets:
        yield from _budgets(device, budgets)
    if device and scheme and scheme.numeric not in device.numerics:
        yield Problem(
            "scheme.numeric",
            f"{scheme.numeric} on a device that computes in {', '.join(device.numerics)} only",
            " or ".join(device.numerics),
            f'numeric = "{device.numerics[0]}"',
        )
    if deploy and scheme:
        yield from _runtime(deploy, scheme)
    if npu := sections.get("npu"):
        yield from _npu(npu, device, deploy)
    if device and deploy and deploy.runtime == "ethos-u" and not (device.accelerator or "").startswith("Ethos-U"):
        yield Problem("deploy.runtime", "ethos-u on a device without one", 'device.accelerator = "Ethos-U…"', 'runtime = "tflm"')


def _scheme(scheme: SchemeTable) -> Iterator[Problem]:
    bits = BITS[scheme.numeric]
    for key in ("weight_bits", "activation_bits"):
        if (found := getattr(scheme, key)) != bits and not (key == "weight_bits" and found == 4 and scheme.numeric == "int8"):
            yield Problem(f"scheme.{key}", f"{found} with numeric {scheme.numeric}", str(bits), f"{key} = {bits}")
    if scheme.numeric == "int8":
        return
    for key in ("input_dtype", "output_dtype"):
        if getattr(scheme, key) != "float32":
            yield Problem(f"scheme.{key}", f"int8 with numeric {scheme.numeric}", "float32", f'{key} = "float32"')
    for key, meaningless in (("symmetric_activations", True), ("per_channel_weights", False)):
        if getattr(scheme, key) == meaningless:
            yield Problem(f"scheme.{key}", f"means nothing with numeric {scheme.numeric}", "numeric int8, or no such key", f"delete {key}")


def _pair(deploy: Deploy) -> Iterator[Problem]:
    if deploy.runtime not in READS[deploy.exporter]:
        right = next(exporter for exporter, readers in READS.items() if deploy.runtime in readers)
        yield Problem(
            "deploy.exporter",
            f"{deploy.exporter} with runtime {deploy.runtime}, which does not read such files",
            f"{right}, or runtime {' or '.join(READS[deploy.exporter])}",
            f'exporter = "{right}"',
        )


def _kind(kind: str, deploy: Deploy) -> Iterator[Problem]:
    if deploy.runtime not in RUNS[kind]:
        yield Problem("deploy.runtime", f"{deploy.runtime} on kind {kind}", " or ".join(RUNS[kind]), f'runtime = "{RUNS[kind][0]}"')


def _budgets(device: Device, budgets: Budgets) -> Iterator[Problem]:
    if device.flash_bytes is not None and budgets.model_bytes > device.flash_bytes:
        yield Problem(
            "budgets.model_bytes",
            f"{budgets.model_bytes} on a device with {device.flash_bytes} bytes of flash",
            f"at most device.flash_bytes = {device.flash_bytes}",
            f"model_bytes = {device.flash_bytes // 2}",
        )
    if budgets.peak_ram_bytes > device.ram_bytes:
        yield Problem(
            "budgets.peak_ram_bytes",
            f"{budgets.peak_ram_bytes} on a device with {device.ram_bytes} bytes of RAM",
            f"at most device.ram_bytes = {device.ram_bytes}",
            f"peak_ram_bytes = {device.ram_bytes // 2}",
        )


def _runtime(deploy: Deploy, scheme: SchemeTable) -> Iterator[Problem]:
    runtime = deploy.runtime
    if runtime in ("tflm", "ethos-u"):
        if scheme.numeric != "int8":
            yield Problem("scheme.numeric", f"{scheme.numeric} with runtime {runtime}", "int8", 'numeric = "int8"')
            return
        for key in ("input_dtype", "output_dtype"):
            if getattr(scheme, key) != "int8":
                yield Problem(f"scheme.{key}", f"float32 with runtime {runtime}", "int8", f'{key} = "int8"')
    if scheme.weight_bits == 4 and runtime not in FOUR_BITS:
        yield Problem("scheme.weight_bits", f"4 with runtime {runtime}", f"8, or runtime {' or '.join(FOUR_BITS)}", "weight_bits = 8")
    if runtime == "tensorrt" and scheme.numeric == "int8" and not scheme.symmetric_activations:
        yield Problem(
            "scheme.symmetric_activations",
            "false with runtime tensorrt, which knows no zero points",
            "true",
            "symmetric_activations = true",
        )


def _npu(npu: Npu, device: Device | None, deploy: Deploy | None) -> Iterator[Problem]:
    if deploy and deploy.runtime != "ethos-u":
        yield Problem("npu", f"a table for runtime {deploy.runtime}", 'runtime = "ethos-u"', "delete [npu], or correct deploy.runtime")
    stated = (device and device.accelerator) or npu.accelerator
    if not npu.accelerator.startswith(stated.lower()):
        yield Problem(
            "npu.accelerator", f"{npu.accelerator} on a device with {stated}", "the same in both", f'accelerator = "{stated.lower()}"'
        )
    named = {key: getattr(npu, key) for key in ("system_config", "memory_mode")}
    if npu.config or any(named.values()):  # Vela takes both names or neither
        for key in (key for key, found in named.items() if found is None):
            other = "config" if npu.config else next(other for other in named if other != key)
            yield Problem(f"npu.{key}", f"is missing beside {other}", "the name of a section of Vela's configuration", f'{key} = "…"')
    if npu.config:
        return  # which defines names of its own
    generation = npu.accelerator.split("-")[1].upper()
    fitting = tuple(name for name in SYSTEM_CONFIGS if name.startswith(f"Ethos_{generation}_"))
    for key, allowed in (("system_config", fitting), ("memory_mode", MEMORY_MODES)):
        if (found := named[key]) is not None and found not in allowed:
            near = (get_close_matches(found, allowed, 1) or allowed)[0]
            yield Problem(
                f"npu.{key}", f"{found!r} for {npu.accelerator}", f"{', '.join(allowed)}; or a config of your own", f'{key} = "{near}"'
            )
    # Both write to the memory behind the second port, which of these configurations is flash.
    if (npu.memory_mode or "").startswith("Dedicated") and (npu.system_config or "Embedded").endswith(
        ("Embedded", "Flash_Low", "Flash_High")
    ):
        yield Problem(
            "npu.memory_mode",
            f"{npu.memory_mode} with {npu.system_config}, whose second memory is flash",
            "Sram_Only or Shared_Sram, or a system with DRAM",
            'memory_mode = "Shared_Sram"',
        )
