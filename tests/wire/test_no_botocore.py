"""The server speaks AWS's language without AWS's library."""

import subprocess
import sys

CHECK = """
import sys, tempfile
from pathlib import Path
from masthead.base.settings import Settings
from masthead.server import Server
settings = Settings(data=Path(tempfile.mkdtemp()) / "data", port=0, aws_port=0, roles="api,aws")
with Server(settings) as server:
    import urllib.request, urllib.error
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{server.addresses.aws_port}/ping")
    except urllib.error.HTTPError as error:
        print(error.code, error.headers["x-amzn-errortype"])
print(sorted(name for name in sys.modules if name.split(".")[0] in ("botocore", "boto3", "awscli")))
"""


def test_no_module_of_botocore_is_loaded_in_a_running_server() -> None:
    found = subprocess.run(
        [sys.executable, "-c", CHECK], capture_output=True, text=True, timeout=120, check=True
    )
    assert found.stdout.splitlines() == ["403 MissingAuthenticationTokenException", "[]"]
