"""Every session in README and the guides is run as it stands, and must print what the page says.

A page is one session in one empty folder, beside a link `src` to the repository's:

    ```toml air.toml      a fence that names a file: the file is written
    ```console            `$ ` begins a command, `> ` continues it, other lines are what it prints
    $ masthead serve &    a command that ends in ` &` goes on beside the following ones
    $ export NAME=value   holds for the following commands of the page, as it does in a shell
    ```console aws        the commands find the programs of an environment of `CLIENTS` first, and this folder as home

`...` in what a page shows stands for any text, and alone in a line for any lines. Ports 8400, 8401, 8883 and 9000 of a page
are free ports when it is run.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aws_clients import BARE, IOT, PINNED, PREDICTOR, client_python
from forked import forked

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PORTS = ("8400", "8401", "8883", "9000")
_FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PATIENCE_S = 90.0
CLIENTS = {"aws": PINNED, "boto3": BARE, "sagemaker": PREDICTOR, "iot": (IOT,)}
"""What stands behind `console WORD`: clients of AWS as their users install them, each with a Python of its own."""


@dataclass(frozen=True, slots=True)
class Step:
    """A file to write, or a command with what it prints."""

    command: str
    output: str
    file: str = ""
    client: str = ""


def steps_of(page: str) -> list[Step]:
    """Return what a page tells to do, in order."""
    found: list[Step] = []
    for match in _FENCE.finditer(page):
        kind, _, word = match[1].strip().partition(" ")
        if kind == "console":
            found += _commands(match[2], word)
        elif word:
            found.append(Step("", match[2], word))
    return found


def _commands(block: str, client: str) -> Iterator[Step]:
    command: list[str] = []
    output: list[str] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            if command:
                yield Step("\n".join(command), "\n".join(output), client=client)
            command, output = [line[2:]], []
        elif line.startswith("> ") and not output:
            command.append(line[2:])
        else:
            output.append(line)
    if command:
        yield Step("\n".join(command), "\n".join(output), client=client)


def shows(expected: str, printed: str) -> bool:
    """Return whether `printed` is what a page shows; blanks at line ends and empty lines do not count.

    >>> shows("one ... three\\n...\\nlast", "one two three\\n1\\n2\\nlast"), shows("one", "one\\ntwo")
    (True, False)
    """
    lines = [line.rstrip() for line in expected.splitlines() if line.strip()]
    text = "".join(line.rstrip() + "\n" for line in printed.splitlines() if line.strip())
    parts = [
        r"(?:[^\n]*\n)*?" if line == "..." else re.escape(line).replace(r"\.\.\.", r"[^\n]*") + r"\n"
        for line in lines
    ]
    return re.fullmatch("".join(parts), text) is not None


class Session:
    """One page's commands in one folder; what goes on beside them ends with it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "src").symlink_to(ROOT / "src")
        self._ports = dict(zip(PORTS, _free_ports(), strict=True))
        path = f"{forked().parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MASTHEAD_")}
        self._environment = {
            **kept,
            "PATH": path,
            "MASTHEAD_PORT": self._ports["8400"],
            "MASTHEAD_AWS_PORT": self._ports["8401"],
            "MASTHEAD_MQTT_PORT": self._ports["8883"],
            "NO_PROXY": "127.0.0.1",
            "PYTHONUNBUFFERED": "1",
        }
        self._beside: list[tuple[subprocess.Popen[bytes], Path]] = []

    def run(self, step: Step) -> None:
        """Do a step and compare what it printed."""
        if step.file:
            (self._folder / step.file).write_text(self._with_ports(step.output))
        elif step.command.endswith(" &"):
            self._go_on(step)
        elif step.command.startswith("export "):
            self._export(step)
        else:
            done = subprocess.run(
                ["bash", "-c", self._with_ports(step.command)],
                cwd=self._folder,
                env=self._environment_of(step),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=120,
                check=False,
            )
            self._compare(step, done.stdout.decode())

    def _environment_of(self, step: Step) -> dict[str, str]:
        """Return the environment of a command: a client of AWS stands first in the path, and writes nothing at home."""
        if not step.client:
            return self._environment
        clients = client_python(*CLIENTS[step.client]).parent
        path = f"{clients}:{self._environment['PATH']}"
        return {**self._environment, "PATH": path, "HOME": str(self._folder)}

    def _export(self, step: Step) -> None:
        done = subprocess.run(
            ["bash", "-c", f"{self._with_ports(step.command)}\nenv -0"],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            timeout=120,
            check=True,
        )
        told = done.stdout.decode().rstrip("\0").split("\0")
        self._environment = dict(line.partition("=")[::2] for line in told)

    def _go_on(self, step: Step) -> None:
        log = self._folder / f"beside-{len(self._beside)}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", "exec " + self._with_ports(step.command.removesuffix(" &"))],
                cwd=self._folder,
                env=self._environment,
                stdout=file,
                stderr=subprocess.DEVNULL,
            )
        self._beside.append((process, log))
        until = time.monotonic() + _PATIENCE_S
        printed = ""
        while time.monotonic() < until and process.poll() is None:
            printed = log.read_text()
            if shows(self._with_ports(step.output), printed):
                # A program without a word of its own needs a moment to open its port.
                time.sleep(0 if step.output.strip() else 1.0)
                return
            time.sleep(0.1)
        self._compare(step, printed)

    def _compare(self, step: Step, printed: str) -> None:
        expected = self._with_ports(step.output)
        if not shows(expected, printed):
            pytest.fail(
                f"$ {step.command}\n--- the page shows\n{expected}\n--- it printed\n{printed}", pytrace=False
            )

    def _with_ports(self, text: str) -> str:
        for told, real in self._ports.items():
            text = re.sub(rf"\b{told}\b", real, text)
        return text

    def end(self) -> None:
        """Stop what goes on."""
        for process, _ in reversed(self._beside):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process, _ in reversed(self._beside):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_ports() -> list[str]:
    sockets = [socket.socket() for _ in PORTS]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [str(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _run_page(page: Path, folder: Path) -> None:
    session = Session(folder)
    try:
        for step in steps_of(page.read_text()):
            session.run(step)
    finally:
        session.end()


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Path, "Future[None]"]]:
    """Run the chosen pages two at a time: each has a folder and ports of its own."""
    chosen = [item.callspec.params["page"] for item in request.session.items if _is_page(item)]
    with ThreadPoolExecutor(2) as pool:
        yield {page: pool.submit(_run_page, page, tmp_path_factory.mktemp(page.stem)) for page in chosen}


def _is_page(item: Any) -> bool:
    return getattr(item, "originalname", "") == "test_a_page_prints_what_it_shows"


@pytest.mark.slow
@pytest.mark.timeout(900)  # the first time clients of AWS are installed, the SageMaker SDK among them
@pytest.mark.parametrize(
    "page", [page for page in PAGES if "```console" in page.read_text()], ids=lambda page: page.name
)
def test_a_page_prints_what_it_shows(page: Path, runs: dict[Path, "Future[None]"]) -> None:
    runs[page].result()


def test_a_page_that_shows_other_output_fails() -> None:
    assert shows("created rule a", "created rule a\n")
    assert not shows("created rule a", "created rule b\n")
    assert not shows("", "masthead: an error\n")
    assert shows("a\n...\nz", "a\nz\n")
