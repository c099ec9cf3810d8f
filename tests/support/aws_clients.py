"""Environments with AWS's own clients in them: botocore must not stand beside the product, so each has its venv.

An environment is made with its first use, in `.clients/` beside the sources, and kept: the versions are pinned.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PINNED = ("boto3==1.38.19", "botocore==1.38.19")


def client_python(*packages: str) -> Path:
    """Return the Python of an environment that holds these packages; the test is skipped where none can be made."""
    name = "-".join(packages).replace("==", "-").replace("/", "_")
    folder = ROOT / ".clients" / name
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        made = subprocess.run(
            [sys.executable, "-m", "venv", "--clear", str(folder)], capture_output=True, check=False
        )
        command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
        installed = (
            made.returncode == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
        )
        if not installed:
            pytest.skip(f"an environment with {' '.join(packages)} cannot be made here")
        ready.touch()
    return python
