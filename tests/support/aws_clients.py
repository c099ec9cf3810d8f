"""Environments with AWS's own clients in them: botocore must not stand beside the product, so each has its venv.

An environment is made with its first use, in `.clients/` beside the sources, and kept; what is not pinned is the
newest of that day.
"""

import fcntl
import json
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_BOTO = ("boto3==1.38.19", "botocore==1.38.19")
PINNED = (*_BOTO, "awscli==1.40.18")
"""The newest with both retired services; boto3 alone would install a botocore without one of them."""
NEWEST = ("boto3", "botocore-a-la-carte-privatenetworks", "botocore-a-la-carte-lookoutmetrics")
"""Today's, with both retired services given back."""
BARE = ("boto3",)
"""Today's as it comes: it knows neither."""
MATRIX = {"pinned": PINNED, "newest": NEWEST}
PREDICTOR = ("sagemaker==2.245.0", *_BOTO)
"""The SageMaker SDK of version 2, the last with `Predictor`."""
IOT = "awsiotsdk==1.31.0"
"""The SDK of IoT devices."""
MOTO = "moto[server]>=5.2,<6"
"""Not a client but a server that speaks like S3; it brings botocore too."""


@cache
def client_python(*packages: str) -> Path:
    """Return the Python of an environment that holds these packages."""
    name = re.sub("[^A-Za-z0-9.]+", "-", "-".join(packages)).strip("-")
    folder = ROOT / ".clients" / name
    python, ready = folder / "bin" / "python", folder / "ready"
    folder.parent.mkdir(exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes second finds it made
        _make(folder, python, ready, packages)
    return python


def _make(folder: Path, python: Path, ready: Path, packages: tuple[str, ...]) -> None:
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)], check=True)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check", "-q"]
        install = [*pip, "install", "--no-compile", *packages]  # of what they hold little is ever imported
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"cannot install {' '.join(packages)}: {done.stderr[-2000:]}"
        ready.touch()


@cache
def version_of(python: Path, package: str) -> str:
    """Return the version of a package in an environment, "" when it is not there."""
    asked = (
        "import importlib.metadata as m, json\n"
        f"print(json.dumps([d.version for d in m.distributions() if d.name == {package!r}]))"
    )
    found: list[str] = json.loads(
        subprocess.run([str(python), "-c", asked], capture_output=True, check=True).stdout
    )
    return found[0] if found else ""


if __name__ == "__main__":  # all of them, while the machine has other work
    for wanted in ((MOTO,), PINNED, NEWEST, BARE, PREDICTOR, (IOT,)):
        client_python(*wanted)
