"""Environments with AWS's own clients in them: botocore must not stand beside the product, so each has its venv.

An environment is made with its first use, in `.clients/` beside the sources, and kept: the versions are pinned.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PINNED = ("boto3==1.38.19", "botocore==1.38.19")
"""The newest with both retired services; boto3 alone would install a botocore without one of them."""
NEWER = ("boto3==1.44.5", "botocore==1.44.5")
"""Of the time after the retired services: it knows neither."""

PREDICTOR = ("sagemaker==2.245.0", *PINNED)
"""The SageMaker SDK of version 2, the last with `Predictor`."""

IOT = "awsiotsdk==1.31.0"


def client_python(*packages: str) -> Path:
    """Return the Python of an environment that holds these packages."""
    name = "-".join(packages).replace("==", "-").replace("/", "_")
    folder = ROOT / ".clients" / name
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"cannot install {' '.join(packages)}: {done.stderr[-2000:]}"
        ready.touch()
    return python
