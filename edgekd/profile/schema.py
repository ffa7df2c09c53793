"""What a target profile may say. The JSON Schema for editors is made from these classes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from edgekd.profile.strict import Bytes, Positive, Strict, Version

Numeric = Literal["int8", "float16", "float32"]
Text = Annotated[str, Field(min_length=1, max_length=500)]
#: Of an .ini file of Vela, behind the dot.
Section = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$", max_length=100)]


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


class Npu(Strict):
    """What Arm's compiler Vela needs to know of an Ethos-U to say what a model costs there. What is not given is Vela's default."""

    accelerator: Literal[
        "ethos-u55-32",
        "ethos-u55-64",
        "ethos-u55-128",
        "ethos-u55-256",
        "ethos-u65-256",
        "ethos-u65-512",
        "ethos-u85-128",
        "ethos-u85-256",
        "ethos-u85-512",
        "ethos-u85-1024",
        "ethos-u85-2048",
    ] = Field(description="Vela's --accelerator-config: generation and MACs a cycle")
    system_config: Section | None = Field(default=None, description="Vela's --system-config: memories, their speeds and the NPU's clock")
    memory_mode: Section | None = Field(default=None, description="Vela's --memory-mode: what lies in which memory")
    config: Text | None = Field(
        default=None, description="Vela's --config: a file beside the profile that defines these two, if not Vela's own Arm/vela.ini"
    )
    clock_mhz: Positive | None = Field(
        default=None,
        description="Clock of the NPU, where it is another than that of system_config; memories are taken to slow down with it",
    )


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
    npu: Npu | None = Field(default=None, description="For runtime ethos-u")

    @model_serializer(mode="wrap")
    def _as_before(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A profile without [npu] is dumped as before that table was there, so that what was built for it keeps its identity."""
        out = write(self)
        return out if self.npu is not None else {key: value for key, value in out.items() if key != "npu"}
