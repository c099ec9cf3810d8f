"""A boto3 client in the hand of a test, in a process of its own so that its botocore and ours never meet."""

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from masthead.app import Masthead
from masthead.aws.serving import listener_config

_AGENT = """
import json, sys
import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

service, settings = sys.argv[1], json.loads(sys.argv[2])
config = Config(retries={"total_max_attempts": 1})
client = boto3.client(service, config=config, **settings)
for line in sys.stdin:
    name, given = json.loads(line)
    try:
        told = {"answer": getattr(client, name)(**given)}
    except ClientError as error:
        told = {"error": error.response, "class": type(error).__name__}
    except BotoCoreError as error:
        told = {"error": {"Error": {"Code": type(error).__name__, "Message": str(error)}}, "class": "client"}
    print(json.dumps(told, default=str), flush=True)
"""


class ClientFailed(Exception):
    """What boto3 raised: its class, and the error's code, message and modelled members."""

    def __init__(self, kind: str, response: dict[str, Any]) -> None:
        super().__init__(f"{kind}: {response}")
        self.kind, self.response = kind, response
        self.code: str = response["Error"]["Code"]
        self.message: str = response["Error"].get("Message", "")


@dataclass
class Boto:
    """A boto3 client in another process: `boto.list_alerts(MaxResults=1)`; times come back as texts."""

    process: "subprocess.Popen[str]"
    calls: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        def call(**given: Any) -> dict[str, Any]:
            self.calls.append(name)
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.process.stdin.write(json.dumps([name, given]) + "\n")
            self.process.stdin.flush()
            told = json.loads(self.process.stdout.readline())
            if "error" in told:
                raise ClientFailed(told["class"], told["error"])
            answer: dict[str, Any] = told["answer"]
            answer.pop("ResponseMetadata", None)
            return answer

        return call


@contextlib.contextmanager
def boto(python: Path, service: str, **settings: str) -> Iterator[Boto]:
    """Give a client of a service; `settings` are those of `boto3.client`."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    process = subprocess.Popen(
        [str(python), "-c", _AGENT, service, json.dumps(settings)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=clean,
    )
    try:
        yield Boto(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()


class _Http(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def wire(masthead: Masthead) -> Iterator[int]:
    """Serve an installation on a free port of loopback, as the server does on 8401; give the port."""
    config = listener_config(masthead, certificate=None, key=None, drain_s=1)
    config.port = 0
    server = _Http(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
            assert thread.is_alive()
        yield int(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
