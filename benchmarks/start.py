"""How long `masthead --help` and `masthead serve` take to answer, and how much the first page weighs.

    python benchmarks/start.py [--rounds 10]

`--help`: CPU time of the process, user and system, median. `serve`: from the command to the first byte of the
console's page over a folder that was served before, median; memory of the server and of nats-server right after.
The first page is opened in a headless Chromium (`chromium` on the PATH): bytes over the wire with gzip, and every
request that would have left the machine. Prints one JSON object; exit status 1 when a bar is missed.
"""

import argparse
import configparser
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import sync_playwright

COMMAND = [sys.executable, "-m", "masthead.cli.main"]
BARS = {"help_cpu_s": 0.3, "serve_s": 5.0, "page_mb": 1.5}
_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


def help_cpu_s(rounds: int) -> list[float]:
    """Return the CPU seconds of each run of `masthead --help`."""
    found = []
    for _ in range(rounds):
        process = subprocess.Popen([*COMMAND, "--help"], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        assert status == 0
        process.returncode = 0
        found.append(used.ru_utime + used.ru_stime)
    return found


@contextlib.contextmanager
def serving(data: Path) -> Iterator[tuple[str, psutil.Process, float]]:
    """Give (address, process, seconds to the first page) of a server over a folder."""
    began = time.monotonic()
    process = subprocess.Popen(
        [
            *COMMAND,
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
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        with urllib.request.urlopen(
            urllib.request.Request(f"{url}/ui/", headers=_key(data)), timeout=30
        ) as page:
            page.read()
        yield url, psutil.Process(process.pid), time.monotonic() - began
    finally:
        process.terminate()
        process.wait(30)


def memory_mb(process: psutil.Process) -> dict[str, float]:
    """Return the resident memory of the server and of its children, by name, MB."""
    found = {"server": process.memory_info().rss / 1e6}
    for child in process.children(recursive=True):
        found[child.name()] = found.get(child.name(), 0.0) + child.memory_info().rss / 1e6
    return {name: round(size, 1) for name, size in found.items()}


def _key(data: Path) -> dict[str, str]:
    """Return the header that shows the key of the first start."""
    found = configparser.RawConfigParser()
    found.read(data / "credentials")
    key = found["masthead"]
    return {"x-api-key": f"{key['aws_access_key_id']}.{key['aws_secret_access_key']}"}


def link(data: Path) -> str:
    """Return an address that opens the console once."""
    command = [*COMMAND, "console", "link", "--json", "--data", str(data)]
    told = subprocess.run(command, capture_output=True, check=True).stdout
    return str(json.loads(told)["url"])


def first_page(url: str, opening: str) -> dict[str, Any]:
    """Return what opening the console costs: bytes over the wire, requests, and those to other machines."""
    bytes_by_request: dict[str, float] = {}
    elsewhere: list[str] = []
    with sync_playwright() as playwright:
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=_FLAGS)
        page = browser.new_context().new_page()
        wire = page.context.new_cdp_session(page)
        wire.send("Network.enable")
        wire.on(
            "Network.loadingFinished",
            lambda event: bytes_by_request.update({event["requestId"]: event["encodedDataLength"]}),
        )
        page.on(
            "request",
            lambda request: None if _is_here(request.url, url) else elsewhere.append(request.url),
        )
        page.goto(opening)
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(1500)
        browser.close()
    return {
        "page_mb": round(sum(bytes_by_request.values()) / 1e6, 3),
        "page_requests": len(bytes_by_request),
        "requests_elsewhere": elsewhere,
    }


def _is_here(address: str, url: str) -> bool:
    return address.startswith((url, url.replace("http", "ws", 1), "data:", "blob:"))


def main() -> int:
    """Measure, print, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    cpu = help_cpu_s(rounds)
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        with serving(data):
            pass
        seconds = []
        for _ in range(rounds):
            with serving(data) as (_, _, took):
                seconds.append(took)
        with serving(data) as (url, process, _):
            memory = memory_mb(process)
            page = first_page(url, link(data))
            memory_after = memory_mb(process)
    found = {
        "rounds": rounds,
        "help_cpu_s": round(statistics.median(cpu), 3),
        "serve_s": round(statistics.median(seconds), 3),
        "serve_worst_s": round(max(seconds), 3),
        **page,
        "memory_mb": memory,
        "memory_after_a_page_mb": memory_after,
        "bars": BARS,
    }
    met = all(found[name] < bar for name, bar in BARS.items()) and not page["requests_elsewhere"]
    print(json.dumps({**found, "met": met}))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
