"""Profiles: found by name, loaded, their schema generated, the packaged ones sound."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest

from edgekd.errors import InputError
from edgekd.profile.load import all_profiles, find, json_schema, load
from edgekd.profile.packaged import packaged, target_files

REQUIRED = {
    "mcu": {"nucleo-l4r5zi", "nucleo-h7a3zi", "nucleo-u575zi", "nrf52840dk", "rp2040", "corstone-300"},
    "phone": {"pixel-8", "galaxy-s24", "iphone-15", "android-arm64-generic"},
    "jetson": {"orin-nano", "nano"},
    "edge": {"intel-n100", "raspberry-pi-5"},
}


def test_packaged_profiles_are_sound_and_complete() -> None:
    by_kind: dict[str, set[str]] = {}
    for profile in all_profiles():
        by_kind.setdefault(profile.kind, set()).add(profile.name)
    for kind, names in REQUIRED.items():
        assert names <= by_kind[kind]


@pytest.mark.parametrize("name", sorted(target_files()))
def test_each_packaged_profile_satisfies_the_json_schema(name: str) -> None:
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(load(name).model_dump(exclude_none=True), schema)


def test_the_json_schema_refuses_what_the_model_refuses() -> None:
    document = load("pixel-8").model_dump(exclude_none=True)
    with pytest.raises(jsonschema.ValidationError, match="clok_mhz"):
        jsonschema.validate(document | {"device": document["device"] | {"clok_mhz": 1}}, json_schema())


def test_schemes_are_what_the_runtimes_want() -> None:
    for profile in all_profiles():
        scheme = profile.scheme
        if profile.kind == "mcu":
            assert (profile.deploy.exporter, scheme.numeric, scheme.input_dtype, scheme.output_dtype) == ("tflite", "int8", "int8", "int8")
        assert scheme.symmetric_activations == (profile.deploy.runtime == "tensorrt" and scheme.numeric == "int8")
    assert load("nano").scheme.numeric == "float16"


def test_a_users_own_profile_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = find("rp2040").read_text()
    own = tmp_path / "targets" / "bench" / "rp2040.toml"
    own.parent.mkdir(parents=True)
    own.write_text(shipped.replace("clock_mhz = 133.0", "clock_mhz = 200.0"))
    monkeypatch.chdir(tmp_path)
    assert find("rp2040") == Path("targets/bench/rp2040.toml")
    assert load("rp2040").device.clock_mhz == 200.0
    assert load("pixel-8").name == "pixel-8"
    assert [p.name for p in all_profiles()].count("rp2040") == 1


def test_two_files_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("a", "b"):
        (tmp_path / "targets" / folder).mkdir(parents=True)
        (tmp_path / "targets" / folder / "mine.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"two profiles are called 'mine': targets/a/mine\.toml and targets/b/mine\.toml"):
        find("mine")


def test_a_packaged_profile_stands_in_the_folder_of_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "targets"
    (shipped / "phone").mkdir(parents=True)
    (shipped / "phone" / "rp2040.toml").write_text(find("rp2040").read_text())
    monkeypatch.setattr("edgekd.profile.load.packaged", lambda folder: shipped)
    with pytest.raises(InputError, match="kind: 'mcu' in the folder phone"):
        load(shipped / "phone" / "rp2040.toml")


def test_unknown_kind() -> None:
    with pytest.raises(InputError, match="no kind is called 'phones'"):
        all_profiles("phones")


def test_packaged_says_what_is_missing() -> None:
    assert (packaged("targets") / "mcu").is_dir()
    with pytest.raises(InputError, match="'nothing-here' that comes with edgekd is missing"):
        packaged("nothing-here")


def test_vela_s_configuration_lies_beside_the_profile(tmp_path: Path) -> None:
    named = find("corstone-300").read_text().replace('name = "corstone-300"', 'name = "mine"')
    (tmp_path / "mine.toml").write_text(named.replace("[npu]", '[npu]\nconfig = "vela.ini"'))
    npu = load(tmp_path / "mine.toml").npu
    assert npu is not None and npu.config == "vela.ini", "one that Vela brings"
    (tmp_path / "vela.ini").touch()
    npu = load(tmp_path / "mine.toml").npu
    assert npu is not None and npu.config == str(tmp_path / "vela.ini")
