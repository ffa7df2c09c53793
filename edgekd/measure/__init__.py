"""What an exported model costs: on this host (harness.py), and on devices that are emulated or attached."""

#: Device of `edgekd bench --device` → its function, a ``Measure`` of device.py. A new device is a file and a line.
DEVICES = {
    "qemu": "edgekd.measure.emulated:measure",
    "vela": "edgekd.measure.vela:measure",
}
