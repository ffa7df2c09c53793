"""What a target profile may say. The JSON Schema for editors is made from these classes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edgekd.profile.strict import Bytes, Positive, Strict, Version

Numeric = Literal["int8", "float16", "float32"]
Text = Annotated[str, Field(min_length=1, max_length=500)]


class Device(Strict):
    """Facts about the hardware, with where they come from."""

    board: Text = Field(description="Name of the board or product")
    core: Text = Field(description="Processor core that runs the model (or feeds the accelerator that does), e.g. Cortex-M4F")
    clock_mhz: Positive = Field(description="Highest sustained clock of that core, in MHz")
    flash_bytes: Bytes | None = Field(default=None, description="Program flash; none for devices with a file system")
    ram_bytes: Bytes = Field(description="Memory of the device, in bytes")
    accelerator: Text | None = Field(default=None, description="GPU or NPU that runs the model, if not the core does")
    numerics: Annotated[list[Numeric], Field(min_length=1)] = Field(
        default=["int8", "float16", "float32"], description="Number formats that the hardware computes in without emulating them"
    )
    source: Text = Field(description="Datasheet, user manual or product page that the facts come from")


class Budgets(Strict):
    """Limits of this device. A recipe or the command line may tighten or widen them."""

    model_bytes: Bytes = Field(description="Largest exported file, in bytes")
    peak_ram_bytes: Bytes = Field(description="Largest working memory of one inference, in bytes")
    latency_ms: Positive = Field(description="Longest time of one inference, in milliseconds")
    accuracy_drop_pp: Annotated[float, Field(ge=0, le=100, description="Largest loss against the teacher, in percentage points")]


class SchemeTable(Strict):
    """The quantization scheme that the runtime wants."""

    numeric: Numeric
    weight_bits: Literal[4, 8, 16, 32] = Field(
        default=8, description="Bits of a weight; 4, with int8, holds for convolutions and fully connected layers"
    )
    activation_bits: Literal[8, 16, 32] = 8
    symmetric_activations: bool = False
    per_channel_weights: bool = True
    input_dtype: Literal["int8", "float32"]
    output_dtype: Literal["int8", "float32"]


class Deploy(Strict):
    """How the student gets onto the device and what runs it there."""

    exporter: Literal["tflite", "onnx", "openvino"]
    runtime: Literal["tflm", "ethos-u", "litert", "onnxruntime", "tensorrt", "openvino"]
    transport: Literal["serial", "adb", "ssh", "usb", "host"]


class Profile(Strict):
    """One device."""

    schema_version: Version
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=64)]
    kind: Literal["mcu", "phone", "jetson", "edge"]
    description: Text
    device: Device
    budgets: Budgets
    scheme: SchemeTable
    deploy: Deploy
