"""Servers as a user starts them: a process each, on free ports, ended with the test."""

import json
import os
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from forked import forked
from keyed import first_key_header
from waiting import eventually


class Running:
    """A served data folder: its process, addresses and an HTTP client that shows the key of the first start."""

    def __init__(self, process: subprocess.Popen[str], addresses: dict[str, Any]) -> None:
        self.process, self.addresses = process, addresses
        self.pid: int = addresses["pid"]  # of the server itself, for what is not SIGTERM
        shown = first_key_header(Path(addresses["data"]))
        self.http = httpx.Client(base_url=addresses["url"], headers=shown, trust_env=False, timeout=30)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to end and return its exit status."""
        self.http.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(30)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            for pipe in (self.process.stdout, self.process.stderr):
                if pipe:
                    pipe.close()


def masthead(*arguments: str, data: Path) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    command = [str(forked()), *arguments, "--data", str(data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=_environment())


def start(data: Path, *options: str) -> Running:
    """Serve a folder; returns when it is ready."""
    command = [
        str(forked()),
        "serve",
        "--data",
        str(data),
        "--port",
        "0",
        "--aws-port",
        "0",
        "--mqtt-port",
        "0",
        "--json",
        *options,
    ]
    log = (data.parent / f"{data.name}.log").open("a")
    with log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=_environment())
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], 60)
    line = process.stdout.readline() if ready else ""
    if not line:
        process.kill()
        process.wait()
        process.stdout.close()
        pytest.fail("the server did not start: " + (data.parent / f"{data.name}.log").read_text()[-2000:])
    return Running(process, json.loads(line))


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs one command to its end: `command("things", "list", data=folder)`."""
    return masthead


@pytest.fixture
def serve() -> Iterator[Callable[..., Running]]:
    """Serves a folder: `serve(folder, "--roles", "api")`."""
    started: list[Running] = []

    def served(data: Path, *options: str) -> Running:
        started.append(start(data, *options))
        return started[-1]

    yield served
    for one in started:
        one.stop()


@pytest.fixture
def wait_for() -> Callable[..., Any]:
    """Waits for something to become true."""
    return eventually


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("MASTHEAD_")}
