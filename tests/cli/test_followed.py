"""A command that wrote waits until the server of its folder follows: a deployment longer than anything else."""

import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from masthead.base.folder import ADDRESSES, DataFolder
from masthead.cli.addresses import let_server_follow


class Slow(http.server.BaseHTTPRequestHandler):
    """Answers after half a second, as a server that compiles what scores."""

    def do_POST(self) -> None:
        time.sleep(0.5)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *said: object) -> None:
        pass


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A data folder whose server is slow."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = DataFolder(tmp_path)
    with place.lock():
        told = {"url": f"http://127.0.0.1:{server.server_port}", "token": "t", "mqtt_port": 0}
        (tmp_path / ADDRESSES).write_text(json.dumps(told))
        yield tmp_path
    server.shutdown()
    server.server_close()


def test_who_is_patient_hears_nothing_and_who_is_not_is_told_that_it_stands(folder: Path) -> None:
    assert let_server_follow(folder, 20) == ""
    told = let_server_follow(folder, 0.1)
    assert "has not answered within 0.1 s" in told
    assert told.endswith("what was written stands")
