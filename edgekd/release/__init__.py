"""Releases: what passed, packed for the pipelines of mobile, firmware and fleet teams."""

#: Format → what packs it: a function of Facts and an empty folder, which writes the bundle there. The same facts make the same bytes.
FORMATS: dict[str, str] = {
    "android": "edgekd.release.android:pack",
    "ios": "edgekd.release.ios:pack",
    "mcu": "edgekd.release.mcu:pack",
    "oci": "edgekd.release.oci:pack",
    "openvino": "edgekd.release.openvino:pack",
}
#: Format → the exported files that its bundle holds, by exporter; "own" is what the run exported for its target.
NEEDS: dict[str, tuple[str, ...]] = {"android": ("tflite",), "ios": ("tflite",), "mcu": ("c",), "oci": ("own",), "openvino": ("openvino",)}
#: The variable that holds the password of an encrypted key: a command line would show it to everyone on the machine.
PASSWORD = "EDGEKD_KEY_PASSWORD"
#: The model card, in a release and in each of its bundles.
CARD = "MODEL_CARD.md"
