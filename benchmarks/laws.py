"""Runs what the tests hold on a few cases on ten thousand: the laws of policies, made-up requests, garbage on the wire.

    python benchmarks/laws.py

Prints the tests and how they ended; the exit status is theirs. It takes half an hour on two cores.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMAND = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "big", "--durations=0"]

if __name__ == "__main__":
    sys.exit(subprocess.run([*COMMAND, "--timeout=3600", "tests"], cwd=ROOT).returncode)
