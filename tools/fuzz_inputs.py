"""Damaged inputs for everything that edgekd reads from others: nothing but an EdgekdError may come out, in bounded time and memory.

    OMP_NUM_THREADS=1 python tools/fuzz_inputs.py [--only profile --only graph] [--seconds 20] [--executions N] [--seed 0] [--json]

Each parser starts from valid seeds, which are damaged by what they are (fuzz_mutations.py): a value of JSON is replaced, a line of text
moved, a member of an archive packed again with another head. The same seed gives the same inputs, however long it runs. Each parser runs in
a process of its own, so that one that crashes or takes all memory is found as well. An input that makes trouble is written into --out
(crash-PARSER-SHA256), and read again with --input FILE --only PARSER. The tables of parsers: fuzz_files.py, fuzz_runs.py, fuzz_data.py,
fuzz_releases.py, fuzz_answers.py, fuzz_stores.py;
importers, guided by coverage: fuzz_importers.py.

Exit code 0: nothing was found; 1: something was; 2: no such parser, or an input without one.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import hashlib
import json
import logging
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import fuzz_answers
import fuzz_data
import fuzz_files
import fuzz_releases
import fuzz_runs
import fuzz_stores
from fuzz_files import Parse, Seeds
from fuzz_mutations import mutated

from edgekd.errors import EdgekdError

PARSERS: dict[str, tuple[Seeds, Parse]] = {
    **fuzz_files.PARSERS,
    **fuzz_runs.PARSERS,
    **fuzz_data.PARSERS,
    **fuzz_releases.PARSERS,
    **fuzz_answers.PARSERS,
    **fuzz_stores.PARSERS,
}
#: CPU seconds and bytes of memory that one input may take; and of addresses, beyond what the process has when it begins.
LONGEST_S, MOST_BYTES, ROOM = 10.0, 512 << 20, 16 << 30
#: By the clock it may take so many times as long: other work on the machine is no fault of the parser's.
PATIENCE = 6
#: Findings of a parser after which it is not asked on: the same mistake is met by many inputs.
ENOUGH = 20


class TooLong(BaseException):
    """One input has taken PATIENCE times LONGEST_S by the clock. No Exception, which a parser might catch."""


@dataclass(frozen=True)
class Finding:
    """What came of one input: ``what`` and ``at`` which line it came from; ``file`` holds the input, ``count`` inputs came to the same."""

    what: str
    at: str
    file: str
    count: int = 1


@dataclass(frozen=True)
class Fuzzed:
    """``refused``: inputs that an EdgekdError came of; the others were taken, or were damaged where nobody looks. ``seeds_refused`` are
    of the first ones, which are not damaged: not 0 where what stands in for a device ends after its answer, else the seeds are wrong."""

    parser: str
    seeds: int
    seeds_refused: int
    executions: int
    refused: int
    seconds: float
    findings: tuple[Finding, ...]


def fuzz(name: str, parser: tuple[Seeds, Parse], *, seed: int, seconds: float, executions: int, out: Path) -> Fuzzed:
    """Feed ``parser`` its own seeds, then damaged ones, until ``seconds`` are over or ``executions`` are done (0: no such limit)."""
    make, parse = parser
    rng, refused, seeds_refused, done = random.Random(f"{name} {seed}"), 0, 0, 0
    found: dict[tuple[str, str], Finding] = {}
    with tempfile.TemporaryDirectory(prefix="edgekd-fuzz-") as scratch, _quiet():
        seeds = make(Path(scratch))
        (Path(scratch) / "last.input").write_bytes(seeds[0])
        once(parse, seeds[0], Path(scratch))  # the memory and time of what it imports are not the first input's
        began = time.monotonic()
        while len(found) < ENOUGH and (not executions or done < executions) and (not seconds or time.monotonic() - began < seconds):
            content = seeds[done] if done < len(seeds) else mutated(rng.choice(seeds), rng, seeds)
            (Path(scratch) / "last.input").write_bytes(content)  # of a process that is killed here
            what, at = once(parse, content, Path(scratch))
            done += 1
            refused += what == REFUSED
            seeds_refused += what == REFUSED and done <= len(seeds)
            if what not in ("", REFUSED):
                known = found.get((what.partition(":")[0], at))
                found[what.partition(":")[0], at] = (
                    replace(known, count=known.count + 1) if known else Finding(what, at, str(_saved(out, name, content)))
                )
    return Fuzzed(name, len(seeds), seeds_refused, done, refused, round(time.monotonic() - began, 1), tuple(found.values()))


REFUSED = "refused"


def once(parse: Parse, content: bytes, folder: Path) -> tuple[str, str]:
    """What came of one input ("" nothing, REFUSED, or what is wrong), and where."""
    before, began = _peak(), time.process_time()
    try:
        with _limited():
            parse(content, folder)
        what, at = "", ""
    except EdgekdError as error:
        what, at = (REFUSED, "") if str(error).strip() else (f"{type(error).__name__} without a word", _line(error))
    except (Exception, TooLong) as error:
        what, at = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}", _line(error)
    if (more := _peak() - before) > MOST_BYTES:
        return f"memory: {more >> 20} MiB for {len(content)} bytes", at
    took = time.process_time() - began
    return (f"time: {took:.1f} s for {len(content)} bytes", at) if took > LONGEST_S else (what, at)


@contextlib.contextmanager
def _limited() -> Generator[None]:
    def over(number: int, frame: FrameType | None) -> None:
        raise TooLong(f"{PATIENCE * LONGEST_S:g} s by the clock")

    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, PATIENCE * LONGEST_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Warnings of libraries, and what is logged of a damaged file, are not what is looked for."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def _line(error: BaseException) -> str:
    """The innermost line of edgekd, else of all."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if f"{os.sep}edgekd{os.sep}" in frame.filename and "site-packages" not in frame.filename]
    frame = (own or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno} {frame.name}"


def _saved(out: Path, name: str, content: bytes) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"crash-{name}-{hashlib.sha256(content).hexdigest()[:12]}"
    path.write_bytes(content)
    return path


# ---- the command


def apart(name: str, options: argparse.Namespace) -> Fuzzed:
    """``fuzz`` in a process of its own, with a limit of memory; a process that dies is a finding."""
    with tempfile.TemporaryDirectory(prefix="edgekd-fuzz-") as folder:
        answer = Path(folder) / "answer.json"
        child = os.fork()
        if not child:
            os.environ |= {"TMPDIR": folder, "XDG_CACHE_HOME": f"{folder}/cache"}
            tempfile.tempdir = folder
            _in_child(name, options, answer)
        status = os.waitpid(child, 0)[1]
        if answer.is_file():
            found: dict[str, Any] = json.loads(answer.read_bytes())
            found["findings"] = tuple(Finding(**one) for one in found["findings"])
            return Fuzzed(**found)
        last = next((path.read_bytes() for path in Path(folder).glob("*/last.input")), b"")
        code = os.waitstatus_to_exitcode(status)
        what = f"the process ended with {signal.Signals(-code).name if code < 0 else code}"
        return Fuzzed(name, 0, 0, 0, 0, 0.0, (Finding(what, "", str(_saved(options.out, name, last))),))


def _in_child(name: str, options: argparse.Namespace, answer: Path) -> None:
    """Never returns."""
    code = 1
    faulthandler.disable()  # the parent says that it died
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() if Path("/proc/self/statm").is_file() else 0
        resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, resource.RLIM_INFINITY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        limits = {"seed": options.seed, "seconds": options.seconds, "executions": options.executions, "out": options.out}
        answer.write_text(json.dumps(asdict(fuzz(name, PARSERS[name], **limits))))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def again(name: str, file: Path) -> int:
    """One input once more, with the whole traceback."""
    with tempfile.TemporaryDirectory(prefix="edgekd-fuzz-") as folder, _quiet():
        make, parse = PARSERS[name]
        make(Path(folder))
        try:
            parse(file.read_bytes(), Path(folder))
        except EdgekdError as error:
            print(error)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="PARSER", help=", ".join(PARSERS))
    parser.add_argument("--seconds", type=float, default=20.0, help="for each parser; 0: no such limit")
    parser.add_argument("--executions", type=int, default=0, help="for each parser; 0: no such limit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(), help="where inputs are kept that make trouble")
    parser.add_argument("--input", type=Path, help="one such input, once more")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    names = options.only or list(PARSERS)
    if unknown := sorted(set(names) - set(PARSERS)) or (not options.seconds and not options.executions):
        print(f"no parser {unknown}: there are {', '.join(PARSERS)}; --seconds or --executions must be given", file=sys.stderr)
        return 2
    if options.input:
        if len(names) != 1:
            print("--input is read by one parser: name it with --only", file=sys.stderr)
            return 2
        return again(names[0], options.input)
    all_of = []
    for name in names:
        all_of.append(one := apart(name, options))
        if not options.json:
            seeds = f"{one.seeds} seeds, {one.seeds_refused} refused" if one.seeds_refused else f"{one.seeds} seeds"
            print(f"{one.parser:16} {one.executions:7} inputs {one.refused:7} refused {one.seconds:6.1f} s", end="")
            print(f" {len(one.findings)} findings, {seeds}", flush=True)
            for finding in one.findings:
                print(f"    {finding.what}\n        {finding.at}, {finding.count} times; {finding.file}", flush=True)
    if options.json:
        print(json.dumps([asdict(one) for one in all_of], indent=1))
    return int(any(one.findings for one in all_of))


if __name__ == "__main__":
    sys.exit(main())
