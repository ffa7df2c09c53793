"""What an exported model costs: on this host (harness.py), and on devices that are emulated or attached."""

#: Device of `edgekd bench --device` → its function, a ``Measure`` of device.py. A new device is a file and a line.
DEVICES = {
    "host": "edgekd.measure.attached:host",
    "ssh": "edgekd.measure.attached:ssh",
    "adb": "edgekd.measure.android:measure",
    "arm64-emulated": "edgekd.measure.attached:arm64_emulated",
    "serial": "edgekd.measure.serial:measure",
    "qemu": "edgekd.measure.emulated:measure",
    "vela": "edgekd.measure.vela:measure",
}
