"""The webhook action against a real HTTP server."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from masthead.base.errors import LimitReached
from masthead.streams.readings import Reading
from masthead.streams.webhooks import send_webhook

READING = Reading(topic="sensors/a", payload=b"{}", arrived=0.0)
seen: list[tuple[str, bytes, str | None]] = []


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        seen.append((self.path, body, self.headers["X-Masthead-Topic"]))
        self.send_response(503 if self.path == "/down" else 204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    seen.clear()
    server = HTTPServer(("127.0.0.1", 0), _Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_what_a_rule_selected_is_posted_with_its_topic(address: str) -> None:
    send_webhook({"kind": "webhook", "url": f"{address}/in"}, b'{"CO": 1}', READING)
    assert seen == [("/in", b'{"CO": 1}', "sensors/a")]


def test_a_receiver_that_refuses_or_is_absent_is_an_error_to_try_again(address: str) -> None:
    with pytest.raises(LimitReached, match="answered 503"):
        send_webhook({"url": f"{address}/down"}, b"{}", READING)
    with pytest.raises(LimitReached, match="webhook: "):
        send_webhook({"url": "http://127.0.0.1:9/"}, b"{}", READING)
