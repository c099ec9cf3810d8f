"""A real `masthead serve` beside the test, and the command line as a person types it."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from forked import forked, told
from waiting import eventually


class Served:
    """One data folder with a server over it, which may be killed and started again on the same ports."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.port, self.mqtt_port = _free_ports(2)
        self._process: subprocess.Popen[str] | None = None
        self._pid = 0  # of the server itself, for what is not SIGTERM

    def start(self) -> None:
        """Start the server and return when it is ready."""
        ports = ["--port", str(self.port), "--aws-port", "0", "--mqtt-port", str(self.mqtt_port)]
        self._process = subprocess.Popen(
            [str(forked()), "serve", "--data", str(self.data), *ports, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self._pid = json.loads(self._process.stdout.readline())["pid"]

    def restart(self) -> None:
        """End the server with kill -9, in the middle of whatever it does, and start it again."""
        os.kill(self._pid, signal.SIGKILL)
        self._end()
        self.start()

    def kill_broker(self) -> None:
        """The same for nats-server alone; the server starts it again."""
        brokers = [child for child in psutil.Process(self._pid).children() if "nats-server" in child.name()]
        assert len(brokers) == 1
        brokers[0].kill()

    def stop(self) -> None:
        """End the server in order."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
        self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process.wait(30)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def masthead(self, *arguments: str, given: object = None) -> Any:
        """Run a command on the folder and return what it printed as JSON; `given` is its `--file`."""
        return told(self.data, *arguments, given=given)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A running server over an empty folder."""
    found = Served(tmp_path / "data")
    found.start()
    yield found
    found.stop()


@pytest.fixture(name="eventually")
def _eventually() -> Any:
    return eventually


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports
