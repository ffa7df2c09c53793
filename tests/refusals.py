"""What tests of malformed input share: a good recipe, one change to it, and the message that the real command line must give."""

from __future__ import annotations

from typer.testing import CliRunner

from edgekd.cli import app

RECIPE = """\
schema_version = 1
name = "mine"

[data]
source = "image_folder"
options = { folder = "images", size = [8, 8], channels = 1 }

[teacher]
source = "residual_cnn"
checkpoint = "teacher.safetensors"
mean = [0.5]
std = [0.25]

[student]
family = "inverted_residual"
space = { width = [0.5, 1.0] }

[[losses]]
name = "soft_targets"
weight = 0.9

[[losses]]
name = "cross_entropy"
weight = 0.1

[presets.demo]
float_epochs = 1.0
qat_epochs = 1.0

[targets.pixel-8]
model_bytes = 524288
"""


def replaced(text: str, changes: list[tuple[str, str]]) -> str:
    for old, new in changes:
        assert old in text, f"the case changes nothing: {old}"
        text = text.replace(old, new, 1)
    return text


def refused(*arguments: str, says: list[str]) -> str:
    """Run the command; it must end with exit code 2, an empty stdout and one message, which is returned."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 2, (result.exit_code, result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    message = result.stderr
    assert message.count("edgekd: ") == 1 and message.startswith("edgekd: ")
    assert "Traceback" not in message
    assert "expected:" in message or "to mend:" in message
    for text in says:
        assert text in message, message
    return message
