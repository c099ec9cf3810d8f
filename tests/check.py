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
GROUPS = {
    "fraud": ("tests/fraud",),
    "wire": ("tests/wire",),
    "stories": ("tests/stories",),
    "console": ("tests/console",),
    "conformance": ("tests/conformance",),
    "faults": ("tests/faults",),
    "docs": ("tests/docs",),
    "metrics": ("tests/metrics",),
    "doors": ("tests/api", "tests/cli", "tests/access"),
    "docstrings": ("src/masthead",),
}
"""What one process collects and runs; what takes longest comes first."""

NAMED = {path for paths in GROUPS.values() for path in paths}
GROUPS["others"] = tuple(
    sorted(
        {
            f"tests/{one.parent.name}"
            for one in ROOT.glob("tests/*/test_*.py")
            if f"tests/{one.parent.name}" not in NAMED
        }
    )
)
WHOLE_ONLY = ("wire", "stories", "console", "conformance", "faults", "docs")
SIDE_BY_SIDE = 4
"""On two cores, as a third of the time is spent waiting, for a browser, a broker, a disk or a clock."""

# pytest keeps the rewritten tests as bytecode: a process collects all of them in 11 s of CPU with it, in 16 s without.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
# Threads of OpenMP wait for each other by spinning: beside three other processes a fit took ten times its CPU.
ENVIRONMENT |= {"OMP_THREAD_LIMIT": "1"}
# What Spark runs in tests is over before Java's second compiler has paid for itself: half of its CPU.
ENVIRONMENT |= {"JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC"}
SAMPLES = ROOT / "src" / "masthead" / "samples" / "air"
KERNEL = [sys.executable, "-m", "masthead.cli.main", "metrics", "backtest", f"{SAMPLES}/live_data_sample.csv"]
KERNEL += ["--history", f"{SAMPLES}/historic_data.json", "--interval", "5m", "--timestamp", "TIMESTAMP"]
KERNEL += ["--timestamp-format", "yyyy-MM-dd HH:mm", "--dimension", "LOCATION_ID", "--measure", "CO"]
FRAUD = [sys.executable, "tests/support/small_fraud.py"]
"""Both score once, so that what they compile lies on disk before several test processes would all compile it."""

PYTEST = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
CLIENTS = [sys.executable, "tests/support/aws_clients.py"]
"""Installs AWS's clients in environments of their own while other tests run; a test that finds none makes it."""


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
    """A command with the name that its line of the report bears, and the exit statuses that are no failure."""

    name: str
    command: list[str]
    good: tuple[int, ...] = (0,)


def first_checks() -> list[Check]:
    """Return what takes a second each."""
    return [
        Check("format", [f"{BIN}/ruff", "format", "--check", "-q", "."]),
        Check("lint", [f"{BIN}/ruff", "check", "-q", "."]),
        Check("import contracts", [f"{BIN}/lint-imports", "--no-cache"]),
    ]


def tests(name: str, whole: bool, options: list[str]) -> Check:
    """Return a group's tests, in a process of their own: what one starts cannot disturb the next."""
    marked = ["--durations=5"] if whole else ["-m", "not slow and not big"]
    nothing_chosen = (5,) if options else ()  # by -k, say
    return Check(f"{name} tests", [*PYTEST, *marked, *GROUPS[name], *options], good=(0, *nothing_chosen))


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
    passed = process.returncode in check.good
    verdict = "ok" if passed else "FAILED"
    took, cpu = time.monotonic() - started, used.ru_utime + used.ru_stime
    print(f"{text}   {check.name}: {verdict}, {took:.0f} s, {cpu:.0f} s of CPU", flush=True)
    return passed


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
    names = [name for name in GROUPS if whole or name not in WHOLE_ONLY]
    types = Check("types", [f"{BIN}/mypy"])
    failed += run_side_by_side([types, *(tests(name, whole, options) for name in names)])
    clients.wait()
    missing = missing_parts() if whole else []
    for line in missing:
        print(f"missing on this machine: {line}", file=sys.stderr)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
