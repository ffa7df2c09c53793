"""What a target profile may say. The JSON Schema for editors is made from these classes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
Bytes = Annotated[int, Field(gt=0)]


class Strict(BaseModel):
    """Abstract: no unknown keys, no coercion, no change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Device(Strict):
    """Facts about the hardware, with where they come from."""

    board: str = Field(description="Name of the board or product")
    core: str = Field(description="Processor core that runs the model, e.g. Cortex-M4F")
    clock_mhz: Positive
    flash_bytes: Bytes | None = Field(default=None, description="Program flash; none for devices with a file system")
    ram_bytes: Bytes
    accelerator: str | None = None
    source: str = Field(description="Datasheet, user manual or product page that the facts come from")


class Budgets(Strict):
    """Limits of this device. A recipe or the command line may tighten or widen them."""

    model_bytes: Bytes
    peak_ram_bytes: Bytes
    latency_ms: Positive
    accuracy_drop_pp: Annotated[float, Field(ge=0, le=100, description="Largest loss against the teacher, in percentage points")]


class SchemeTable(Strict):
    """The quantization scheme that the runtime wants."""

    numeric: Literal["int8", "float16", "float32"]
    weight_bits: Literal[8, 16, 32] = 8
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

    schema_version: Literal[1]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    kind: Literal["mcu", "phone", "jetson", "edge"]
    description: str
    device: Device
    budgets: Budgets
    scheme: SchemeTable
    deploy: Deploy
