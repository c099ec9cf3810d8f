"""Runs the checks in order, tells what is missing on this machine, and fails when anything did.

check.py fast    format, lint, types, import contracts, unit tests and doctests
check.py all     the same, then every test: conformance, wire, console, stories, faults
"""

import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
SLOW_FOLDERS = ("conformance", "wire", "console", "docs", "stories", "faults")


def missing_parts() -> list[str]:
    """Return one line, with its remedy, for each system part that the whole test needs and this machine lacks."""
    lines = []
    if not (shutil.which("chromium") or shutil.which("chromium-browser")):
        lines.append("Chromium for the console's tests: apt-get install chromium")
    if not (shutil.which("initdb") or list(Path("/usr/lib/postgresql").glob("*/bin/initdb"))):
        lines.append("PostgreSQL for the store's tests: apt-get install postgresql")
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
    ignored = [f"--ignore=tests/{folder}" for folder in SLOW_FOLDERS]
    if not whole:
        return [*fast, ("unit tests", [*pytest, "-m", "not slow", *ignored])]
    # A process each: a broker, a Spark or a browser that one folder starts cannot disturb the next.
    folders = [(f"{folder} tests", [*pytest, "--durations=5", f"tests/{folder}"]) for folder in SLOW_FOLDERS]
    return [*fast, ("unit tests", [*pytest, "--durations=10", *ignored]), *folders]


def main() -> int:
    """Return 0 when every check passed and no part was missing."""
    whole = sys.argv[1:2] == ["all"]
    failed = []
    for name, command in steps(whole):
        started = time.monotonic()
        print(f"== {name}", flush=True)
        if subprocess.run(
            [*command, *(sys.argv[2:] if command[0] == sys.executable else [])], cwd=ROOT
        ).returncode:
            failed.append(name)
        print(
            f"   {name}: {'FAILED' if name in failed else 'ok'}, {time.monotonic() - started:.0f} s",
            flush=True,
        )
    missing = missing_parts() if whole else []
    for line in missing:
        print(f"missing on this machine: {line}", file=sys.stderr)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
