"""Runs the checks in order, tells what is missing on this machine, and fails when anything did.

check.py fast    format, lint, types, import contracts, unit tests and doctests
check.py all     the same, then every test: conformance, wire, console, stories, faults
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
SLOW_FOLDERS = ("conformance", "wire", "console", "docs", "stories", "faults")

# pytest keeps the rewritten tests as bytecode: a process collects all of them in 11 s of CPU with it, in 16 s without.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
SAMPLES = ROOT / "src" / "masthead" / "samples" / "air"
KERNEL = [sys.executable, "-m", "masthead.cli.main", "metrics", "backtest", f"{SAMPLES}/live_data_sample.csv"]
KERNEL += ["--history", f"{SAMPLES}/historic_data.json", "--interval", "5m", "--timestamp", "TIMESTAMP"]
KERNEL += ["--timestamp-format", "yyyy-MM-dd HH:mm", "--dimension", "LOCATION_ID", "--measure", "CO"]
"""Scores once, so that the compiled kernel lies on disk before two test processes would both compile it."""

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


def steps(whole: bool) -> list[tuple[str, list[str]]]:
    """Return the checks as (name, command)."""
    fast = [
        ("format", [f"{BIN}/ruff", "format", "--check", "-q", "."]),
        ("lint", [f"{BIN}/ruff", "check", "-q", "."]),
        ("types", [f"{BIN}/mypy"]),
        ("import contracts", [f"{BIN}/lint-imports", "--no-cache"]),
    ]
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    parallel = [*pytest, "-n", "2", "--dist", "worksteal"]
    ignored = [f"--ignore=tests/{folder}" for folder in SLOW_FOLDERS]
    if not whole:
        return [*fast, ("unit tests", [*parallel, "-m", "not slow and not big", *ignored])]
    # A process each: a broker, a Spark or a browser that one folder starts cannot disturb the next.
    folders = [(f"{folder} tests", [*pytest, "--durations=5", f"tests/{folder}"]) for folder in SLOW_FOLDERS]
    return [*fast, ("unit tests", [*parallel, "-m", "not big", "--durations=10", *ignored]), *folders]


def run(name: str, command: list[str]) -> bool:
    """Return whether a check passed, and print its time."""
    print(f"== {name}", flush=True)
    started = time.monotonic()
    passed = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT).returncode == 0
    print(f"   {name}: {'ok' if passed else 'FAILED'}, {time.monotonic() - started:.0f} s", flush=True)
    return passed


def main() -> int:
    """Return 0 when every check passed and no part was missing."""
    whole = sys.argv[1:2] == ["all"]
    failed = []
    quiet = subprocess.DEVNULL  # when it fails, the tests of the same command tell why
    kernel = subprocess.Popen(KERNEL, cwd=ROOT, env=ENVIRONMENT, stdout=quiet, stderr=quiet)
    clients = subprocess.Popen(CLIENTS if whole else ["true"], cwd=ROOT, stdout=quiet, stderr=quiet)
    for name, command in steps(whole):
        if is_test := command[0] == sys.executable:
            kernel.wait()
        if is_test and command[-1].removeprefix("tests/") in SLOW_FOLDERS:
            clients.wait()
        if not run(name, [*command, *(sys.argv[2:] if is_test else [])]):
            failed.append(name)
    missing = missing_parts() if whole else []
    for line in missing:
        print(f"missing on this machine: {line}", file=sys.stderr)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
