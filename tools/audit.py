"""Known vulnerabilities of the locked dependencies, as pip-audit finds them.

    python tools/audit.py [--lock requirements.lock] [--accepted tools/audit_accepted.toml] [--pip-audit PATH] [--json]

pip-audit is taken from beside this Python, or from the path; where there is none, it is installed into a virtual environment that is thrown
away afterwards. PyPI is asked, and where that does not answer, OSV: first about a release that is known to be vulnerable (who does not know
that has no advisories, whatever it answers), then about all of the lock.
Nothing of the lock is installed or resolved.

An advisory that was looked at and does not concern edgekd stands in tools/audit_accepted.toml until a day:

    [[accepted]]
    id = "PYSEC-2026-1"            # or one of its other names, as CVE-…
    package = "somepackage"
    reason = "the function is never called"
    expires = 2027-03-31           # the last day, in UTC, on which it counts

Exit code 0: every package was judged, and none is vulnerable; 1: some are; 2: it could not be judged, and why is said.
"""

from __future__ import annotations

import argparse
import datetime
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SERVICES = ("pypi", "osv")
#: A release with advisories since 2019 (CVE-2019-11324, PYSEC-2019-133).
VULNERABLE = "urllib3==1.24.1"
KEYS = {"id", "package", "reason", "expires"}
#: Seconds that pip-audit, and its installation, may take.
LIMIT_S = 600


class Unjudged(Exception):
    """Nothing can be said. ``str()`` is why."""


@dataclass(frozen=True)
class Advisory:
    """``names``: its identifier, then its others; ``mended``: versions that do not have it; ``accepted``: why it does not count, or ""."""

    package: str
    version: str
    names: tuple[str, ...]
    mended: tuple[str, ...]
    accepted: str = ""


@dataclass(frozen=True)
class Accepted:
    id: str
    package: str
    reason: str
    expires: datetime.date


@dataclass(frozen=True)
class Audit:
    """``service`` is who was asked, ``packages`` how many were judged, ``unknown`` those that the service does not know."""

    service: str
    packages: int
    unknown: tuple[str, ...]
    advisories: tuple[Advisory, ...]

    @property
    def code(self) -> int:
        if any(not one.accepted for one in self.advisories):
            return 1
        return 2 if self.unknown or not self.packages else 0


def pins(lock: Path) -> tuple[str, ...]:
    """The lines name==version of the lock. Raises Unjudged for a file that has others, or none."""
    try:
        lines = [line.partition("#")[0].strip() for line in lock.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise Unjudged(f"{lock} cannot be read ({error})") from error
    found = tuple(line for line in lines if line)
    if odd := [line for line in found if not re.fullmatch(r"[A-Za-z0-9._-]+(\[[\w,-]+\])?==[^\s;]+", line)]:
        raise Unjudged(f"{lock}: {odd[0]!r} is no pin, expected name==version")
    if not found:
        raise Unjudged(f"{lock} pins nothing")
    return found


def accepted(file: Path, today: datetime.date) -> tuple[Accepted, ...]:
    """The entries of ``file`` that hold today, none where there is no such file. Raises Unjudged for one that is wrong."""
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8")).get("accepted", []) if file.is_file() else []
    except (OSError, ValueError) as error:
        raise Unjudged(f"{file} is not valid TOML: {error}") from error
    found = []
    for table in tables if isinstance(tables, list) else [tables]:
        whole = isinstance(table, dict) and set(table) == KEYS and type(table["expires"]) is datetime.date
        if not whole or not all(isinstance(table[key], str) and table[key].strip() for key in KEYS - {"expires"}):
            raise Unjudged(f"{file}: {table!r:.80} is no entry, expected {', '.join(sorted(KEYS))}, and a day for expires")
        found.append(Accepted(**table))
    return tuple(one for one in found if one.expires >= today)


def report(raw: Any, lines: Sequence[str], service: str, known: Sequence[Accepted]) -> Audit:
    """What pip-audit says as JSON of ``lines``. Raises Unjudged where it is something else."""
    advisories, unknown, judged = [], [], set[str]()
    try:
        for package in raw["dependencies"]:
            if "skip_reason" in package:
                unknown.append(package["name"])
                continue
            judged.add(_plain(package["name"]))
            for one in package["vulns"]:
                names = (one["id"], *one.get("aliases", ()))
                why = [each.reason for each in known if each.id in names and _plain(each.package) == _plain(package["name"])]
                advisories.append(
                    Advisory(package["name"], package["version"], names, tuple(one.get("fix_versions") or ()), why[0] if why else "")
                )
    except (KeyError, TypeError, AttributeError) as error:
        raise Unjudged(f"pip-audit says something else than it should ({type(error).__name__}: {error})") from error
    asked = {_plain(re.split(r"\[|==", line)[0]): line for line in lines}
    unknown += [line for name, line in asked.items() if name not in judged | set(map(_plain, unknown))]
    return Audit(service, len(judged), tuple(unknown), tuple(advisories))


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def audit(tool: Path, lines: Sequence[str], known: Sequence[Accepted]) -> Audit:
    """Ask the first service that has advisories. Raises Unjudged where none does."""
    said = []
    for service in SERVICES:
        try:
            if report(_asked(tool, [VULNERABLE], service), [VULNERABLE], service, ()).advisories:
                return report(_asked(tool, lines, service), lines, service, known)
            said.append(f"{service} knows of nothing wrong with {VULNERABLE}: what answers in its place has no advisories")
        except Unjudged as error:
            said.append(f"{service}: {error}")
    raise Unjudged("no service of advisories is to be reached from here:\n  " + "\n  ".join(said))


def _asked(tool: Path, lines: Sequence[str], service: str) -> Any:
    with tempfile.TemporaryDirectory(prefix="edgekd-audit-") as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        command = [str(tool), "--requirement", str(file), "--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
        done = _run([*command, "--vulnerability-service", service, "--timeout", "20"])
    try:
        return json.loads(done.stdout)
    except ValueError as error:
        last = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise Unjudged(f"pip-audit ended with {done.returncode}: {last[:300]}") from error


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=LIMIT_S, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unjudged(f"{command[0]} does not run: {error}") from error


def found(named: str | None) -> Path | None:
    """pip-audit as it was named, beside this Python, or on the path."""
    beside = Path(sys.executable).with_name("pip-audit")
    if named:
        return Path(named)
    return beside if beside.is_file() else Path(there) if (there := shutil.which("pip-audit")) else None


def installed(folder: Path) -> Path:
    """pip-audit in a virtual environment of its own. Raises Unjudged where it is not to be had."""
    venv.create(folder, with_pip=True)
    done = _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "pip-audit"])
    if done.returncode:
        raise Unjudged(f"pip-audit cannot be installed: {(done.stderr.strip() or 'no reason given').splitlines()[-1][:300]}")
    return folder / "bin" / "pip-audit"


def shown(one: Audit) -> str:
    lines = []
    for each in one.advisories:
        mend = f"mended in {', '.join(each.mended)}" if each.mended else "not mended yet"
        lines.append(
            f"{each.package} {each.version}: {' '.join(each.names)}, {mend}" + (f" (accepted: {each.accepted})" if each.accepted else "")
        )
    counted = sum(not each.accepted for each in one.advisories)
    lines.append(f"{one.packages} packages, asked of {one.service}: {counted} advisories, {len(one.advisories) - counted} accepted")
    if one.unknown:
        lines.append(f"not judged, for {one.service} does not know them: {', '.join(one.unknown)}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lock", type=Path, default=ROOT / "requirements.lock")
    parser.add_argument("--accepted", type=Path, default=ROOT / "tools" / "audit_accepted.toml")
    parser.add_argument("--pip-audit", help="the program; default: found, or installed for the moment")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        lines, known = pins(options.lock), accepted(options.accepted, datetime.datetime.now(datetime.UTC).date())
        with tempfile.TemporaryDirectory(prefix="edgekd-audit-") as folder:
            one = audit(found(options.pip_audit) or installed(Path(folder)), lines, known)
    except Unjudged as error:
        print(json.dumps({"unjudged": str(error)}) if options.json else f"could not be judged: {error}")
        return 2
    print(json.dumps(asdict(one), indent=1) if options.json else shown(one))
    return one.code


if __name__ == "__main__":
    sys.exit(main())
