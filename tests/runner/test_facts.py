"""Facts of devices that are not here: their /sys, /proc and /etc as files, in the kernel's own units (kHz, m°C, mV …)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgekd.doctor.facts import judged
from edgekd.measure.attached import RUNNER
from tests.runner.loaded import load_runner


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if name.startswith("usr/bin/"):
            path.chmod(0o755)
    return root


def facts(root: Path) -> dict[str, Any]:
    done = subprocess.run([sys.executable, str(RUNNER), "facts", "--json", "--root", str(root)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


CPU = "sys/devices/system/cpu/cpu{}/cpufreq/{}"
ORIN = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0",
    "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 22.04.4 LTS"\n',
    "etc/nv_tegra_release": "# R36 (release), REVISION: 3.0, GCID: 36923193, BOARD: generic, EABI: aarch64\n",
    CPU.format(0, "scaling_governor"): "schedutil\n",
    CPU.format(0, "scaling_cur_freq"): "729600\n",
    CPU.format(0, "scaling_min_freq"): "729600\n",
    CPU.format(0, "scaling_max_freq"): "1510400\n",
    "sys/class/devfreq/17000000.gpu/min_freq": "306000000\n",
    "sys/class/devfreq/17000000.gpu/max_freq": "624750000\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "48093\n",
    "sys/class/thermal/thermal_zone10/type": "tj-thermal\n",
    "sys/class/thermal/thermal_zone10/temp": "50125\n",
    "sys/class/hwmon/hwmon1/name": "ina3221\n",
    "sys/class/hwmon/hwmon1/in1_label": "VDD_IN\n",
    "sys/class/hwmon/hwmon1/in1_input": "5016\n",
    "sys/class/hwmon/hwmon1/curr1_input": "968\n",
    "sys/class/hwmon/hwmon1/in2_label": "VDD_CPU_GPU_CV\n",
    "sys/class/hwmon/hwmon1/in2_input": "5008\n",
    "sys/class/hwmon/hwmon1/curr2_input": "104\n",
    # The voltage over the first shunt, and the sum of all currents: no rail.
    "sys/class/hwmon/hwmon1/in4_input": "5\n",
    "sys/class/hwmon/hwmon1/curr4_input": "1200\n",
    "sys/class/hwmon/hwmon2/name": "soctherm_oc\n",
    "sys/class/hwmon/hwmon2/oc3_event_cnt": "7\n",
    "var/lib/nvpmodel/status": "pmode:0001 fmode:quiet\n",
    "usr/bin/nvpmodel": "#!/bin/sh\necho 'NV Power Mode: 7W'\necho 1\n",
    "proc/meminfo": "MemTotal:        7802920 kB\nMemAvailable:    5120000 kB\nSwapFree:        3901456 kB\n",
}


def test_a_jetson_orin(tmp_path: Path) -> None:
    found = facts(tree(tmp_path, ORIN))
    assert found["model"] == "NVIDIA Jetson Orin Nano Developer Kit"
    assert found["soc"] == "nvidia,tegra234"
    assert found["os"].startswith("Ubuntu 22.04.4 LTS, L4T 36.3.0, kernel ")
    assert found["governors"] == ["schedutil"]
    assert found["power_mode"] == "7W"
    assert found["clocks_mhz"] == {"cpu0": 729.6}
    assert found["clock_limits_mhz"] == {"cpu0": [729.6, 1510.4], "17000000.gpu": [306.0, 624.75]}
    assert found["temperatures_c"] == {"cpu-thermal/0": 48.093, "tj-thermal/10": 50.125}
    assert found["throttling"] == {"over-current oc3": 7}
    assert found["memory"]["MemAvailable"] == 5120000 * 1024
    assert found["power"] == ["VDD_CPU_GPU_CV", "VDD_IN"]
    watts = load_runner().powers(str(tmp_path))
    assert watts["VDD_IN"]() == pytest.approx(5.016 * 0.968)
    said = {check.name: check.mend for check in judged(found) if check.state == "note"}
    assert said["power mode"] == "sudo nvpmodel -m 0"
    assert said["clocks"] == "sudo jetson_clocks"


def test_a_jetson_whose_nvpmodel_is_not_for_us(tmp_path: Path) -> None:
    files = {**ORIN, "usr/bin/nvpmodel": "#!/bin/sh\nexit 1\n"}
    assert facts(tree(tmp_path, files))["power_mode"] == "mode 1"


def test_rails_of_an_older_jetson(tmp_path: Path) -> None:
    place = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/"
    files = {place + "rail_name_0": "POM_5V_IN\n", place + "in_power0_input": "2345\n", place + "rail_name_1": "POM_5V_GPU\n",
             place + "in_power1_input": "123\n"}  # fmt: skip
    watts = load_runner().powers(str(tree(tmp_path, files)))
    assert {name: read() for name, read in watts.items()} == {"POM_5V_IN": 2.345, "POM_5V_GPU": 0.123}


PI = {
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    **{CPU.format(core, "scaling_governor"): "ondemand\n" for core in range(4)},
    **{CPU.format(core, "scaling_cur_freq"): f"{1500000 + core}\n" for core in range(4)},
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "84500\n",
    "usr/bin/vcgencmd": "#!/bin/sh\necho throttled=0x50005\n",
}


def test_a_raspberry_pi_that_lacks_voltage(tmp_path: Path) -> None:
    found = facts(tree(tmp_path, PI))
    assert (found["model"], found["soc"]) == ("Raspberry Pi 5 Model B Rev 1.0", "brcm,bcm2712")
    assert sorted(found["clocks_mhz"]) == ["cpu0", "cpu1", "cpu2", "cpu3"]
    assert found["throttling"] == {"vcgencmd get_throttled": 5}, "what holds now; what was since boot is in the upper bits"
    notes = {(check.name, check.said.partition(":")[0]) for check in judged(found) if check.state == "note"}
    assert {("throttling", "too little voltage"), ("throttling", "throttled"), ("temperature", "cpu-thermal/0")} <= notes
    assert ("governor", "ondemand") in notes


def test_the_kernel_says_it_where_there_is_no_vcgencmd(tmp_path: Path) -> None:
    files = {key: text for key, text in PI.items() if "vcgencmd" not in key}
    files["sys/devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled"] = "50004\n"
    assert facts(tree(tmp_path, files))["throttling"] == {"vcgencmd get_throttled": 4}


def test_a_laptop_with_an_intel_processor(tmp_path: Path) -> None:
    files = {
        "sys/devices/virtual/dmi/id/product_name": "NUC13ANHi5\n",
        "proc/cpuinfo": "processor\t: 0\nmodel name\t: 13th Gen Intel(R) Core(TM) i5-1340P\n",
        "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3\n",
        "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "4\n",
        "sys/class/thermal/cooling_device0/type": "Processor\n",
        "sys/class/thermal/cooling_device0/cur_state": "2\n",
        "sys/class/power_supply/BAT0/type": "Battery\n",
        "sys/class/power_supply/BAT0/status": "Discharging\n",
        "sys/class/power_supply/BAT0/capacity": "12\n",
        "sys/class/power_supply/BAT0/voltage_now": "11800000\n",
        "sys/class/power_supply/BAT0/current_now": "850000\n",
    }
    found = facts(tree(tmp_path, files))
    assert (found["model"], found["soc"]) == ("NUC13ANHi5", "13th Gen Intel(R) Core(TM) i5-1340P")
    assert found["throttling"] == {"core_throttle_count": 7, "cooling Processor": 2}
    assert found["battery"] == {"BAT0": {"status": "Discharging", "capacity": "12"}}
    assert load_runner().powers(str(tmp_path))["battery"]() == pytest.approx(11.8 * 0.85)
    assert any(check.name == "battery" and "12 %" in check.said for check in judged(found))


def test_a_device_that_tells_nothing(tmp_path: Path) -> None:
    found = facts(tmp_path)
    assert (found["model"], found["governors"], found["clocks_mhz"], found["throttling"], found["power"]) == ("", [], {}, {}, [])


def test_files_that_hold_nonsense(tmp_path: Path) -> None:
    files = {CPU.format(0, "scaling_cur_freq"): "<unknown>\n", "sys/class/thermal/thermal_zone0/temp": "-274000\n",
             "sys/class/thermal/thermal_zone1/temp": "", "usr/bin/vcgencmd": "#!/bin/sh\necho VCHI initialization failed\n",
             "proc/meminfo": "nonsense\n"}  # fmt: skip
    found = facts(tree(tmp_path, files))
    assert (found["clocks_mhz"], found["temperatures_c"], found["throttling"], found["memory"]) == ({}, {}, {}, {})


def test_trtexec_states_its_version() -> None:
    version = load_runner().trt_version
    assert [version(number) for number in (8502, 8602, 100300, 101301)] == ["8.5.2", "8.6.2", "10.3.0", "10.13.1"]
