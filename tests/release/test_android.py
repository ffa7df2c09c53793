"""The Android bundle, as real tools take it in: unzip, zipalign, aapt, Maven and a Kotlin parser."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from edgekd.errors import InputError
from edgekd.release.android import CHECKSUMS, pack, package_of
from edgekd.release.archive import PAGE
from edgekd.release.facts import Facts
from edgekd.release.template import kotlin
from tests.generated_code import computed, literals, mistakes
from tests.release.bundles import ODD_INPUTS, check_constants, check_hostile_labels, with_other_answers, with_other_inputs
from tests.released import KINDS, facts

HOME = "maven/com/example/models/golden-pixel-8"
STEM = f"{HOME}/1.4.0/golden-pixel-8-1.4.0"
ASSETS = "edgekd/golden-pixel-8"
POM = "{http://maven.apache.org/POM/4.0.0}"


def tool(*command: str | Path, cwd: Path | None = None) -> str:
    """What a tool of the machine prints; skips where it is not installed, fails where it fails."""
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"no {command[0]} on this machine")
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def accessor(out: Path) -> str:
    return (out / "kotlin/com/example/models/golden_pixel_8/GoldenPixel8.kt").read_text(encoding="utf-8")


def packed(made: Facts, folder: Path) -> str:
    """The accessor of a bundle."""
    pack(made, folder)
    return accessor(folder)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """The bundle of the int8 student."""
    pack(facts(tmp_path, "int8", formats=("android",)), tmp_path / "out")
    return tmp_path / "out"


def test_aar_is_whole_and_has_what_the_format_asks(out: Path):
    assert "No errors detected" in tool("unzip", "-t", out / f"{STEM}.aar")
    with zipfile.ZipFile(out / f"{STEM}.aar") as aar:
        assert {"AndroidManifest.xml", "classes.jar", "R.txt", f"assets/{ASSETS}/model.tflite"} < set(aar.namelist())
        manifest = ElementTree.fromstring(aar.read("AndroidManifest.xml"))
        assert manifest.get("package") == "com.example.models.golden_pixel_8"
        with zipfile.ZipFile(io.BytesIO(aar.read("classes.jar"))) as classes:
            assert classes.namelist() == ["META-INF/MANIFEST.MF"]
        contract = json.loads(aar.read(f"assets/{ASSETS}/edgekd.json"))
        assert hashlib.sha256(aar.read(f"assets/{ASSETS}/model.tflite")).hexdigest() == contract["model"]["sha256"]


def test_model_lies_uncompressed_at_a_page(out: Path):
    said = tool("zipalign", "-c", "-v", "4", out / f"{STEM}.aar")
    assert re.search(r"model\.tflite \(OK\)", said) and "Verification successful" in said
    with zipfile.ZipFile(out / f"{STEM}.aar") as aar:
        model = aar.getinfo(f"assets/{ASSETS}/model.tflite")
        assert model.compress_type == zipfile.ZIP_STORED
        content = aar.read(model)
    whole = (out / f"{STEM}.aar").read_bytes()
    at = whole.index(content)
    assert at % PAGE == 0
    assert whole[at + 4 : at + 8] == b"TFL3"


def test_aapt_makes_an_app_of_the_unzipped_aar(out: Path, tmp_path: Path):
    """aapt reads apps, not libraries, so it builds one from the library's manifest and assets, as Gradle would."""
    with zipfile.ZipFile(out / f"{STEM}.aar") as aar:
        aar.extractall(tmp_path / "aar")
    framework = android_framework(tmp_path / "framework")
    app, aligned = tmp_path / "app.apk", tmp_path / "aligned.apk"
    tool(
        "aapt",
        "package",
        "-f",
        "-I",
        framework,
        "-M",
        "AndroidManifest.xml",
        "-A",
        "assets",
        "-0",
        "tflite",
        "-F",
        app,
        cwd=tmp_path / "aar",
    )
    said = tool("aapt", "dump", "badging", app)
    assert "package: name='com.example.models.golden_pixel_8'" in said
    assert "sdkVersion:'21'" in said
    listing = tool("aapt", "list", "-v", app)
    assert re.search(rf"Stored .* assets/{ASSETS}/model\.tflite", listing)
    tool("zipalign", "-f", str(PAGE), app, aligned)
    assert "Verification successful" in tool("zipalign", "-c", "-v", str(PAGE), aligned)


def android_framework(folder: Path) -> Path:
    """The one attribute of Android's framework that the manifest uses, with its real number, as a package that aapt can link with."""
    (folder / "res/values").mkdir(parents=True)
    android = 'xmlns:android="http://schemas.android.com/apk/res/android"'
    (folder / "AndroidManifest.xml").write_text(f'<manifest {android} package="android"/>')
    (folder / "res/values/attrs.xml").write_text(
        '<resources><public type="attr" name="minSdkVersion" id="0x0101020c"/>'
        '<attr name="minSdkVersion" format="integer|string"/></resources>'
    )
    made = folder / "framework.apk"
    tool("aapt", "package", "-f", "-x", "-M", folder / "AndroidManifest.xml", "-S", folder / "res", "-F", made)
    return made


def test_repository_has_the_layout_of_maven(out: Path):
    found = sorted(path.relative_to(out).as_posix() for path in (out / "maven").rglob("*") if path.is_file())
    plain = [f"{STEM}-sources.jar", f"{STEM}.aar", f"{STEM}.pom", f"{HOME}/maven-metadata.xml"]
    assert found == sorted([*plain, *(f"{name}.{kind}" for name in plain for kind in CHECKSUMS)])
    for name in plain:
        for kind in CHECKSUMS:
            assert (out / f"{name}.{kind}").read_text() == hashlib.new(kind, (out / name).read_bytes()).hexdigest()
    pom = ElementTree.parse(out / f"{STEM}.pom").getroot()
    values = [pom.findtext(POM + name) for name in ("modelVersion", "groupId", "artifactId", "version", "packaging")]
    assert values == ["4.0.0", "com.example.models", "golden-pixel-8", "1.4.0", "aar"]
    metadata = ElementTree.parse(out / f"{HOME}/maven-metadata.xml").getroot()
    assert metadata.findtext("versioning/release") == "1.4.0"
    assert metadata.findtext("versioning/lastUpdated") == "20261122040031"
    with zipfile.ZipFile(out / f"{STEM}-sources.jar") as sources:
        assert sources.read("com/example/models/golden_pixel_8/GoldenPixel8.kt").decode() == accessor(out)


@pytest.mark.slow  # Maven starts several times
def test_maven_resolves_it_and_its_checksums(out: Path, tmp_path: Path):
    local, consumer = own_local_repository(tmp_path / "m2"), tmp_path / "consumer"
    consumer.mkdir()
    (consumer / "pom.xml").write_text(
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><groupId>t</groupId><artifactId>t</artifactId>'
        f"<version>1</version><repositories><repository><id>r</id><url>{(out / 'maven').as_uri()}</url></repository></repositories>"
        "<dependencies><dependency><groupId>com.example.models</groupId><artifactId>golden-pixel-8</artifactId><version>1.4.0</version>"
        "<type>aar</type></dependency></dependencies></project>"
    )
    done = maven(local, consumer)
    fetched = local / "com/example/models/golden-pixel-8/1.4.0/golden-pixel-8-1.4.0.aar"
    assert done.returncode == 0, done.stdout + done.stderr
    assert fetched.read_bytes() == (out / f"{STEM}.aar").read_bytes()

    shutil.rmtree(fetched.parents[1])
    (out / f"{STEM}.aar.sha1").write_text("0" * 40)
    done = maven(local, consumer)
    assert done.returncode != 0 and "Checksum validation failed" in done.stdout + done.stderr


def maven(local: Path, consumer: Path) -> subprocess.CompletedProcess[str]:
    """Resolve the dependencies of ``consumer`` with strict checksums, for the first compiler plugin that is whole without a network."""
    found = local.glob("org/apache/maven/plugins/maven-compiler-plugin/3.1[0-9].*/*.jar") if shutil.which("mvn") else ()
    for version in sorted((path.parent.name for path in found), reverse=True):
        goal = f"org.apache.maven.plugins:maven-compiler-plugin:{version}:compile"
        command = ["mvn", "-o", "-q", "-B", "-C", f"-Dmaven.repo.local={local}", "-Daether.offline.protocols=file", goal]
        done = subprocess.run(command, cwd=consumer, capture_output=True, text=True, check=False, timeout=120)
        if "PluginResolutionException" not in done.stdout:
            return done
    return pytest.skip("no Maven whose compiler plugin is whole on this machine, and no network to fetch one")


def own_local_repository(folder: Path) -> Path:
    """Maven's local repository by links, so that what a test resolves stays out of the user's."""
    users = Path.home() / ".m2/repository"
    (folder / "com").mkdir(parents=True)
    for group in [*users.glob("*"), *users.glob("com/*")]:
        link = folder / group.relative_to(users)
        if not link.exists():
            link.symlink_to(group)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_kotlin_parses(tmp_path: Path, kind: str):
    made = facts(tmp_path, kind, formats=("android",))
    for name, one in with_other_answers(made):
        text = packed(one, tmp_path / name)
        assert mistakes(text, ".kt") == []
        assert computed(text, ".kt") == []
    module = (tmp_path / "FalseFalse/ai-pack/golden_pixel_8/build.gradle.kts").read_text()
    assert mistakes(module, ".kts") == []


@pytest.mark.parametrize(("dtype", "scale"), ODD_INPUTS)
def test_other_inputs_parse(tmp_path: Path, dtype: str, scale: float):
    for made, pixels in with_other_inputs(facts(tmp_path, "int8", formats=("android",)), dtype, scale):
        text = packed(made, tmp_path / "out")
        assert mistakes(text, ".kt") == []
        assert "private fun quantized(value: Float): Int" in text and "if (value.isNaN()) return INPUT.zeroPoint" in text
        assert ("classify(pixels: ByteArray)" in text) is pixels


@pytest.mark.parametrize("kind", KINDS)
def test_constants_are_the_models(tmp_path: Path, kind: str):
    made = facts(tmp_path, kind, formats=("android",))
    text = packed(made, tmp_path / "out")
    borders = re.findall(r"Border\(DataType\.(\w+), listOf\(([\d, ]+)\), ([\d.e-]+)f, (-?\d+)\)", text)
    check_constants(text, ".kt", [(dtype.lower(), *rest) for dtype, *rest in borders], made)
    assert f"{ASSETS}/" in literals(text, ".kt")
    assert ("Bitmap" in text) is (kind != "sound")


def test_hostile_labels_stay_text(tmp_path: Path):
    check_hostile_labels(packed, ".kt", facts(tmp_path, "int8", formats=("android",)), tmp_path)
    assert computed(accessor(tmp_path / "plain"), ".kt") == []


def test_what_is_not_printable_is_escaped_in_utf_16():
    assert kotlin("\U000e0041$\n") == '"\\udb40\\udc41\\$\\u000a"'


def test_hostile_names_stay_text_in_xml(tmp_path: Path):
    made = facts(tmp_path, "int8", formats=("android",))
    title = 'a < b & "c" ]]> \x00\x0b\n\ud800 é'
    pack(replace(made, licenses={"title": title, "license": "<x/>"}), tmp_path / "out")
    pom = ElementTree.parse(tmp_path / "out" / f"{STEM}.pom").getroot()
    assert pom.findtext(POM + "name") == 'a < b & "c" ]]> é'
    assert pom.findtext(f"{POM}licenses/{POM}license/{POM}name") == "<x/>"


def test_packages_of_odd_names(tmp_path: Path):
    made = facts(tmp_path, "int8", formats=("android",))
    with pytest.raises(InputError, match="'new', a word of Java"):
        package_of(replace(made, group="com.new.models"))
    assert package_of(replace(made, name="8 bits")) == "com.example.models.model_8_bits_pixel_8"
    pack(replace(made, group="com.example.in"), tmp_path / "out")
    text = (tmp_path / "out/kotlin/com/example/in/golden_pixel_8/GoldenPixel8.kt").read_text(encoding="utf-8")
    assert "package com.example.`in`.golden_pixel_8\n" in text
    assert mistakes(text, ".kt") == []


def test_ai_pack_holds_the_same_files(out: Path):
    folder = out / "ai-pack/golden_pixel_8"
    assert 'id("com.android.ai-pack")' in (folder / "build.gradle.kts").read_text()
    assets = {path.name: path.read_bytes() for path in (folder / "src/main/assets" / ASSETS).iterdir()}
    with zipfile.ZipFile(out / f"{STEM}.aar") as aar:
        assert assets == {name: aar.read(f"assets/{ASSETS}/{name}") for name in ("model.tflite", "edgekd.json", "vectors.bin")}


def test_readme_says_that_nothing_was_compiled(out: Path):
    readme = (out / "README.md").read_text(encoding="utf-8")
    assert "No Kotlin or Android compiler was there" in readme and "Not compiled" in accessor(out)
    assert 'implementation("com.example.models:golden-pixel-8:1.4.0")' in readme
    assert readme.count("\n") <= 35


def test_code_of_the_guide_parses(repository: Path):
    guide = (repository / "docs/mobile.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(kotlin|swift)\n(.*?)```", guide, re.DOTALL)
    assert [language for language, _ in blocks] == ["kotlin", "kotlin", "kotlin", "swift"]
    for language, code in blocks:
        assert mistakes(code, ".kts" if language == "kotlin" else ".swift") == []
