"""A receiver of webhooks on loopback, as an operator would have one."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

_MOST_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Received:
    """One alert: its key, its JSON form, and when it came by `time.monotonic`."""

    key: str
    payload: dict[str, Any]
    at: float


class AlertListener:
    """Listens while the block runs; `received` holds each alert once, however often it was sent."""

    def __init__(self, heard: Callable[[Received], None] = lambda received: None) -> None:
        self._heard, self._lock = heard, threading.Lock()
        self._found: dict[str, Received] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="listener", daemon=True)

    @property
    def url(self) -> str:
        """Return where alerts are to be sent."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/alerts"

    @property
    def received(self) -> list[Received]:
        """Return what came so far, in order."""
        with self._lock:
            return list(self._found.values())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _take(self, key: str, body: bytes) -> None:
        one = Received(key, json.loads(body), time.monotonic())
        with self._lock:
            fresh = key not in self._found
            self._found.setdefault(key, one)
        if fresh:
            self._heard(one)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        take = self._take

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), _MOST_BYTES))
                take(self.headers.get("Idempotency-Key", ""), body)
                self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing: the demonstration tells what came."""

        return Handler
