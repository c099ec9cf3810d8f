"""Runs the checks in order, tells what is missing on this machine, and fails when anything did.

check.py fast    format, lint, types, import contracts, unit tests and doctests
check.py all     the same, then every test: conformance, wire, console, stories, faults
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
SLOW_FOLDERS = ("wire", "stories", "faults", "console", "docs", "conformance")
"""The longest first: each runs in a process of its own, and mostly they wait, for a browser, a broker or a clock."""

SIDE_BY_SIDE = 4
"""The unit tests, in processes of their own, and three of these folders: so the cores are never idle."""

# pytest keeps the rewritten tests as bytecode: a process collects all of them in 11 s of CPU with it, in 16 s without.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
SAMPLES = ROOT / "src" / "masthead" / "samples" / "air"
KERNEL = [sys.executable, "-m", "masthead.cli.main", "metrics", "backtest", f"{SAMPLES}/live_data_sample.csv"]
KERNEL += ["--history", f"{SAMPLES}/historic_data.json", "--interval", "5m", "--timestamp", "TIMESTAMP"]
KERNEL += ["--timestamp-format", "yyyy-MM-dd HH:mm", "--dimension", "LOCATION_ID", "--measure", "CO"]
FRAUD = [sys.executable, "tests/support/small_fraud.py"]
"""Both score once, so that what they compile lies on disk before several test processes would all compile it."""

PROCESSES = 3
"""Of the unit tests on two cores: a third of their time is spent waiting."""

PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
CLIENTS = [sys.executable, "tests/support/aws_clients.py"]
"""Installs AWS's clients in environments of their own while the unit tests run; a test that finds none makes it."""


def missing_parts() -> list[str]:
    """Return one line, with its remedy, for each system part that the whole test needs and this machine lacks."""
    lines = []
    if not (shutil.which("chromium") or shutil.which("chromium-browser")):
        lines.append("Chromium for the console's tests: apt-get install chromium")
    if not (shutil.which("initdb") or list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))):
        lines.append("PostgreSQL for the store's tests: apt-get install postgresql")
    if not (shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")):
        lines.append("nginx for the wire's tests: apt-get install nginx-light")
    if not shutil.which("java"):
        lines.append("Java 17 for the tables' tests on Spark: apt-get install openjdk-17-jre-headless")
    return lines


@dataclass(frozen=True, slots=True)
class Check:
    """A command with the name that its line of the report bears."""

    name: str
    command: list[str]


def first_checks() -> list[Check]:
    """Return what takes a second each."""
    return [
        Check("format", [f"{BIN}/ruff", "format", "--check", "-q", "."]),
        Check("lint", [f"{BIN}/ruff", "check", "-q", "."]),
        Check("import contracts", [f"{BIN}/lint-imports", "--no-cache"]),
    ]


def unit_tests(whole: bool, options: list[str]) -> Check:
    """Return the tests beside the rooms, in several processes."""
    chosen = ["--durations=10"] if whole else ["-m", "not slow and not big"]
    ignored = [f"--ignore=tests/{folder}" for folder in SLOW_FOLDERS]
    return Check(
        "unit tests", [*PYTEST, "-n", f"{PROCESSES}", "--dist", "worksteal", *chosen, *ignored, *options]
    )


def folder_tests(folder: str, options: list[str]) -> Check:
    """Return a folder's tests in a process of their own: what one starts cannot disturb the next."""
    return Check(f"{folder} tests", [*PYTEST, "--durations=5", f"tests/{folder}", *options])


def run(check: Check, *, held_back: bool = False) -> bool:
    """Return whether a check passed; print its time, and the CPU time of it and its children.

    Args:
        held_back: What it says is printed when it has ended, as checks beside it speak too.
    """
    started = time.monotonic()
    if not held_back:
        print(f"== {check.name}", flush=True)
    with tempfile.TemporaryFile() as said:
        told = said if held_back else None
        process = subprocess.Popen(check.command, cwd=ROOT, env=ENVIRONMENT, stdout=told, stderr=told)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = f"== {check.name}\n{said.read().decode(errors='replace')}" if held_back else ""
    verdict = "ok" if process.returncode == 0 else "FAILED"
    took, cpu = time.monotonic() - started, used.ru_utime + used.ru_stime
    print(f"{text}   {check.name}: {verdict}, {took:.0f} s, {cpu:.0f} s of CPU", flush=True)
    return process.returncode == 0


def run_all(checks: Iterable[Check]) -> list[str]:
    """Run one after another; return the names of those that failed."""
    return [check.name for check in checks if not run(check)]


def run_side_by_side(checks: list[Check]) -> list[str]:
    """Run some at a time, in their order; return the names of those that failed."""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
        passed = list(threads.map(lambda check: run(check, held_back=True), checks))
    return [check.name for check, good in zip(checks, passed, strict=True) if not good]


def main() -> int:
    """Return 0 when every check passed and no part was missing."""
    whole, options = sys.argv[1:2] == ["all"], sys.argv[2:]
    quiet = subprocess.DEVNULL  # when it fails, the tests of the same command tell why
    compiling = [
        subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=quiet, stderr=quiet)
        for command in (KERNEL, FRAUD)
    ]
    clients = subprocess.Popen(CLIENTS if whole else ["true"], cwd=ROOT, stdout=quiet, stderr=quiet)
    failed = run_all(first_checks())
    for process in compiling:
        process.wait()
    folders = SLOW_FOLDERS if whole else ()
    types, unit = Check("types", [f"{BIN}/mypy"]), unit_tests(whole, options)
    failed += run_side_by_side([types, unit, *(folder_tests(one, options) for one in folders)])
    clients.wait()
    missing = missing_parts() if whole else []
    for line in missing:
        print(f"missing on this machine: {line}", file=sys.stderr)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
