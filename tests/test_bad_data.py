"""Malformed folders of images and .npz files, each through the real command line: one clear message with the cure, exit code 2."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from edgekd.cli import app
from tests.refusals import RECIPE, refused, replaced

pytestmark = pytest.mark.usefixtures("elsewhere")


def image(path: Path, size: tuple[int, int] = (9, 7), mode: str = "L") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, 100 if mode in ("L", "I;16") else (100, 50, 20)).save(path)


def classes(root: Path, names: tuple[str, ...] = ("cat", "dog"), n: int = 4) -> None:
    for name in names:
        for at in range(n):
            image(root / name / f"{at}.png")


def splits(root: Path) -> None:
    for split in ("train", "val", "test"):
        classes(root / split)


def _corrupt(root: Path) -> None:
    classes(root)
    (root / "cat" / "1.png").write_bytes(b"no image at all")


def _truncated(root: Path) -> None:
    classes(root)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(root / "dog" / "2.jpg")
    (root / "dog" / "2.jpg").write_bytes((root / "dog" / "2.jpg").read_bytes()[:900])


def _bomb(root: Path) -> None:
    classes(root)
    Image.new("1", (20000, 20000)).save(root / "cat" / "big.png")


def _link_out(root: Path) -> None:
    classes(root)
    image(root.parent / "elsewhere.png")
    (root / "cat" / "link.png").symlink_to(root.parent / "elsewhere.png")


def _dangling(root: Path) -> None:
    classes(root)
    (root / "cat" / "link.png").symlink_to(root / "nowhere.png")


def _missing_class(root: Path) -> None:
    splits(root)
    for file in (root / "test" / "dog").iterdir():
        file.unlink()
    (root / "test" / "dog").rmdir()


def _empty_class(root: Path) -> None:
    classes(root)
    (root / "eel").mkdir()


def _text_file(root: Path) -> None:
    classes(root)
    (root / "cat" / "notes.txt").write_text("x")
    (root / "cat" / ".hidden").write_text("x")


def _stray_file(root: Path) -> None:
    classes(root)
    (root / "labels.csv").write_text("x")


def _nested(root: Path) -> None:
    classes(root)
    image(root / "cat" / "more" / "1.png")


def _mixed(root: Path) -> None:
    splits(root)
    classes(root, ("bus",))


def _both_validations(root: Path) -> None:
    splits(root)
    classes(root / "validation")


def _no_test(root: Path) -> None:
    classes(root / "train")


def _sixteen_bits(root: Path) -> None:
    classes(root)
    image(root / "cat" / "deep.png", mode="I;16")


FOLDER = 'options = { folder = "images", size = [8, 8], channels = 1 }'
# (name, what makes the folder, the line of options, what the message must say)
FOLDERS: list[tuple[str, Callable[[Path], None], str, list[str]]] = [
    ("no_folder", lambda root: None, FOLDER, ["data.options.folder does not exist", 'folder = "…"']),
    ("folder_is_file", lambda root: root.write_text("x") and None, FOLDER, ["data.options.folder is not a folder"]),
    ("empty_folder", lambda root: root.mkdir(), FOLDER, ["0 class folders", "at least two"]),
    ("one_class", lambda root: classes(root, ("cat",)), FOLDER, ["1 class folders", "at least two"]),
    ("too_few", lambda root: classes(root, n=2), FOLDER, ["class 'cat' has 2 samples", "at least 3"]),
    ("empty_class", _empty_class, FOLDER, ["eel has no images", "at least one in each class"]),
    ("corrupt_image", _corrupt, FOLDER, ["cat/1.png cannot be decoded", "replace or remove"]),
    ("truncated_image", _truncated, FOLDER, ["dog/2.jpg cannot be decoded", "replace or remove"]),
    ("decompression_bomb", _bomb, FOLDER, ["cat/big.png is too large", "scale it down"]),
    ("link_out", _link_out, FOLDER, ["cat/link.png is a link to", "outside the dataset", "copy the image"]),
    ("dangling_link", _dangling, FOLDER, ["cat/link.png is a link to nowhere", "rm "]),
    ("classes_differ", _missing_class, FOLDER, ["class 'dog' is only in train", "the same class folders in train and validation and test"]),
    ("text_among_images", _text_file, FOLDER, ["cat/notes.txt is a file", ".png, .jpg, .jpeg", "leading dot"]),
    ("file_among_classes", _stray_file, FOLDER, ["labels.csv is a file", "folders only"]),
    ("folder_among_images", _nested, FOLDER, ["cat/more is a folder", "move it out"]),
    ("split_and_class", _mixed, FOLDER, ["'bus' stands beside 'train'", "move bus into a split"]),
    ("two_validations", _both_validations, FOLDER, ["both 'val' and 'validation'", "rename or delete one"]),
    ("no_test", _no_test, FOLDER, ["there is 'train' but no 'test'", "mkdir"]),
    ("sixteen_bits", _sixteen_bits, FOLDER, ["cat/deep.png has 16 bits", "8-bit PNG"]),
    ("two_channels", classes, FOLDER.replace("channels = 1", "channels = 2"), ["data.options.channels = 2", "1 (grey) or 3 (RGB)"]),
    ("no_area", classes, FOLDER.replace("[8, 8]", "[8, 0]"), ["data.options.size = [8, 0]", "size = [32, 32]"]),
    ("size_as_text", classes, FOLDER.replace("[8, 8]", '"8x8"'), ["data.options.size: found '8x8'", "a valid list", "correct size"]),
    (
        "missing_option",
        classes,
        'options = { folder = "images" }',
        ["data.options.size: is missing", "folder, size, channels", "add `size = …`"],
    ),
    ("unknown_option", classes, FOLDER.replace("channels", "chanels"), ["data.options.chanels: unknown option", "perhaps channels"]),
    ("share_of_all", classes, FOLDER.replace("channels", "validation = 1.5, channels"), ["held-out shares (1.5, 0.1)", "together below 1"]),
    ("folder_as_number", classes, FOLDER.replace('"images"', "3"), ["data.options.folder: found 3", "a path, as text"]),
]


def arrays(**changes: np.ndarray | None) -> dict[str, np.ndarray]:
    y = np.arange(20) % 2
    whole = {"x_train": np.zeros((20, 4, 4), np.uint8), "y_train": y, "x_test": np.zeros((20, 4, 4), np.uint8), "y_test": y}
    return {name: array for name, array in (whole | changes).items() if array is not None}


def saved(**changes: np.ndarray | None) -> Callable[[Path], None]:
    return lambda path: np.savez_compressed(path, **arrays(**changes), allow_pickle=True)


def _half(path: Path) -> None:
    np.savez(path, **arrays())
    path.write_bytes(path.read_bytes()[:300])


def _liar(path: Path) -> None:
    """A header that claims a petabyte."""
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1125899906842624, 1, 1), }"
    body = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n"
    np.savez(path, **arrays(x_train=None))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("x_train.npy", body)


def _zip_bomb(path: Path) -> None:
    """Ten megabytes of zip that announce nine gigabytes: the central directory is edited, as a bomb's may say anything."""
    np.savez_compressed(path, **arrays())
    raw = bytearray(path.read_bytes())
    at = raw.index(b"PK\x01\x02")
    while raw[at : at + 4] == b"PK\x01\x02":
        raw[at + 24 : at + 28] = (0xF0000000).to_bytes(4, "little")
        at += 46 + sum(int.from_bytes(raw[at + o : at + o + 2], "little") for o in (28, 30, 32))
    path.write_bytes(raw)


NPZ = 'options = { file = "data.npz" }'
FILES: list[tuple[str, Callable[[Path], None], str, list[str]]] = [
    ("no_file", lambda path: None, NPZ, ["data.options.file does not exist", 'file = "….npz"']),
    ("directory", lambda path: path.mkdir(), NPZ, ["data.options.file is a directory"]),
    ("no_zip", lambda path: path.write_bytes(b"plain") and None, NPZ, ["cannot be read", "np.savez_compressed"]),
    ("half_a_zip", _half, NPZ, ["cannot be read", "a whole .npz file"]),
    ("missing_array", saved(y_train=None), NPZ, ["there is no array y_train", "np.savez_compressed(…, y_train=…)"]),
    ("misnamed_array", saved(y_test=None, ytest=np.zeros(20, np.int64)), NPZ, ["there is no array y_test", "rename ytest to y_test"]),
    ("half_a_validation", saved(x_validation=np.zeros((4, 4, 4), np.uint8)), NPZ, ["there is no array y_validation"]),
    ("float_pixels", saved(x_train=np.zeros((20, 4, 4), np.float32)), NPZ, ["x_train has dtype float32", "uint8", "255 * x_train"]),
    ("float_labels", saved(y_train=np.zeros(20)), NPZ, ["y_train has dtype float64", "y_train.astype(np.int64)"]),
    ("one_hot", saved(y_train=np.zeros((20, 2), np.int64)), NPZ, ["y_train has shape (20, 2)", "y_train.argmax(1)"]),
    ("channels_first", saved(x_train=np.zeros((20, 3, 8, 8), np.uint8)), NPZ, ["channels first", "x_train.transpose(0, 2, 3, 1)"]),
    ("flat", saved(x_train=np.zeros((20, 16), np.uint8)), NPZ, ["x_train has shape (20, 16)", "[N, H, W, C]"]),
    ("lengths", saved(y_train=np.zeros(19, np.int64)), NPZ, ["x_train has 20 images, y_train 19 labels", "one label an image"]),
    ("negative_label", saved(y_train=np.arange(20) - 2), NPZ, ["y_train runs from -2 to 17", "counted from 0"]),
    ("unseen_class", saved(y_test=np.arange(20) % 3), NPZ, ["class 2 is in y_test but never in y_train", "split again"]),
    ("one_class", saved(y_train=np.zeros(20, np.int64), y_test=np.zeros(20, np.int64)), NPZ, ["y_train has one class only"]),
    ("objects", saved(x_train=np.array([{}] * 20, object)), NPZ, ["x_train holds Python objects", "never loaded"]),
    ("other_size", saved(x_test=np.zeros((20, 5, 5), np.uint8)), NPZ, ["x_test holds images (5, 5, 1)", "(4, 4, 1) as in x_train"]),
    ("lying_header", _liar, NPZ, ["x_train claims 1125899906842624 bytes", "write it again"]),
    ("zip_bomb", _zip_bomb, NPZ, ["unpacks to 16106127360 bytes", "at most 8589934592"]),
    ("few_names", saved(), 'options = { file = "data.npz", labels = ["a"] }', ["data.options.labels has 1 different names for 2 classes"]),
    ("empty_test", saved(x_test=np.zeros((0, 4, 4), np.uint8), y_test=np.zeros(0, np.int64)), NPZ, ["x_test is empty"]),
]


@pytest.mark.parametrize(("make", "options", "says"), [pytest.param(*case[1:], id=case[0]) for case in FOLDERS])
def test_image_folder(make: Callable[[Path], None], options: str, says: list[str], tmp_path: Path) -> None:
    make(tmp_path / "images")
    (tmp_path / "recipe.toml").write_text(replaced(RECIPE, [(FOLDER, options)]))
    refused("recipes", "check", "--data", str(tmp_path), says=["recipe.toml", *says])


@pytest.mark.parametrize(("make", "options", "says"), [pytest.param(*case[1:], id=case[0]) for case in FILES])
def test_numpy_file(make: Callable[[Path], None], options: str, says: list[str], tmp_path: Path) -> None:
    make(tmp_path / "data.npz")
    (tmp_path / "recipe.toml").write_text(replaced(RECIPE, [(FOLDER, options), ('"image_folder"', '"numpy"')]))
    refused("recipes", "check", "--data", str(tmp_path), says=["recipe.toml", *says])


def test_the_unchanged_cases_are_good(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    classes(tmp_path / "images")
    runner = CliRunner()
    assert runner.invoke(app, ["recipes", "check", "--data", "recipe.toml"]).stdout == "recipe.toml: ok\n"
    np.savez_compressed(tmp_path / "data.npz", **arrays())
    (tmp_path / "recipe.toml").write_text(replaced(RECIPE, [(FOLDER, NPZ), ('"image_folder"', '"numpy"')]))
    assert runner.invoke(app, ["recipes", "check", "--data", "recipe.toml"]).stdout == "recipe.toml: ok\n"
