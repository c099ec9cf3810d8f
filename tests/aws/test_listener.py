"""Port 8401 under uvicorn, by bytes: what a client's requests meet, and what nobody's garbage does."""

import contextlib
import json
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import quote

import psutil
import pytest
import uvicorn
from aws_bench import Bench

from masthead.aws.gateway import BODY_BYTES, MOST_HEADERS, OTHER_BODY_BYTES, Gateway
from masthead.aws.protocol import Request
from masthead.aws.serving import configured
from masthead.base.addresses import read_networks

ARN = "arn:aws:private-networks:us-east-1:000000000000:network/n1"
PUT = "Firehose_20150804.PutRecord"


class _Quiet(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.contextmanager
def listening(app: Gateway) -> Iterator[int]:
    """Serve on a free port as `masthead serve` does."""
    server = _Quiet(configured(app))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        app.close()


@pytest.fixture
def port(bench: Bench) -> Iterator[int]:
    with listening(Gateway(bench.core)) as found:
        yield found


def raw(request: Request, target: str = "") -> bytes:
    """Return the bytes of a request."""
    target = target or request.path + (f"?{request.query}" if request.query else "")
    headers = {**request.headers, "content-length": str(len(request.body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{request.method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + request.body


def exchange(port: int, data: bytes, timeout: float = 10.0) -> bytes:
    """Send bytes and return what comes until the other side closes or falls silent."""
    with socket.create_connection(("127.0.0.1", port), timeout) as client:
        with contextlib.suppress(OSError):
            client.sendall(data)
        return answer(client)


def answer(client: socket.socket) -> bytes:
    """Return one answer, whole by its content-length."""
    found = b""
    with contextlib.suppress(OSError):
        while part := client.recv(65536):
            found += part
            head, end, body = found.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head)
            if end and (length is None or len(body) >= int(length[1])):
                break
    return found


def status(response: bytes) -> int:
    return int(response.split(b" ", 2)[1]) if response else 0


# ---------------------------------------------------------------------- what uvicorn must go on to do


def test_the_raw_path_is_undecoded_and_carries_no_query() -> None:
    seen = []

    async def app(scope: dict[str, object], receive: object, send: object) -> None:
        seen.append((scope["raw_path"], scope["query_string"], scope["path"]))
        await send({"type": "http.response.start", "status": 204, "headers": []})  # type: ignore[operator]
        await send({"type": "http.response.body", "body": b""})  # type: ignore[operator]

    app.close = lambda: None  # type: ignore[attr-defined]
    with listening(app) as port:  # type: ignore[arg-type]
        exchange(port, b"GET /tags/arn%3Aa%2Fb?x=%2F&y HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    assert seen == [(b"/tags/arn%3Aa%2Fb", b"x=%2F&y", "/tags/arn:a/b")]


def test_a_signed_request_is_answered_whole(bench: Bench, port: int) -> None:
    request = bench.request("private-networks", "GET", "/v1/networks/" + quote(ARN, safe=""))
    head, _, body = exchange(port, raw(request)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b"{}"
    for name in (b"x-amzn-requestid: ", b"date: ", b"content-type: application/json", b"content-length: 2"):
        assert b"\r\n" + name in head.lower()
    assert b"server:" not in head.lower()
    assert bench.calls[0].input == {"networkArn": ARN}


def test_an_untag_answers_without_a_body_and_the_connection_goes_on(bench: Bench, port: int) -> None:
    path = "/tags/" + quote("arn:aws:lookoutmetrics:us-east-1:0:Alert:a", safe="")
    request = raw(bench.request("lookoutmetrics", "DELETE", path, "tagKeys=a"))
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        for _ in range(3):
            client.sendall(request)
            assert status(answer(client)) == 204


def test_lines_of_one_header_are_joined(bench: Bench, port: int) -> None:
    attributes = "x-amzn-sagemaker-custom-attributes"
    request = bench.request("sagemaker", "POST", "/endpoints/e/invocations", "", {attributes: "a,b"}, b"1")
    data = raw(request).replace(
        b"custom-attributes: a,b\r\n", b"custom-attributes: a\r\n" + attributes.encode() + b": b\r\n"
    )
    assert status(exchange(port, data)) == 200
    assert bench.calls[0].input["CustomAttributes"] == "a,b"


# ---------------------------------------------------------------------- bounds


@pytest.mark.parametrize(
    ("service", "headers", "path", "most"),
    [
        ("sagemaker", {}, "/endpoints/e/invocations", BODY_BYTES["sagemaker-runtime"]),
        ("firehose", {"x-amz-target": PUT}, "/", BODY_BYTES["firehose"]),
        ("lookoutmetrics", {}, "/ListAlerts", OTHER_BODY_BYTES),
    ],
)
def test_a_body_beyond_its_bound_is_refused_unread(
    bench: Bench, port: int, service: str, headers: dict[str, str], path: str, most: int
) -> None:
    request = bench.request(service, "POST", path, "", headers, b"")
    head = raw(request).replace(b"content-length: 0", b"content-length: %d" % (most + 1))
    response = exchange(port, head)
    assert status(response) == 413
    assert b"x-amzn-errortype: RequestEntityTooLargeException" in response
    assert b"connection: close" in response
    chunks = raw(request).replace(b"content-length: 0", b"transfer-encoding: chunked")
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        with contextlib.suppress(OSError):
            client.sendall(chunks)
            for _ in range(most // 2**20 + 2):
                client.sendall(b"100000\r\n" + b"x" * 2**20 + b"\r\n")
        response = answer(client)
    assert status(response) in (413, 0)  # 0: the answer was lost behind what we still sent


def test_a_body_of_the_greatest_size_is_taken(bench: Bench, port: int) -> None:
    body = b"x" * BODY_BYTES["sagemaker-runtime"]
    request = bench.request("sagemaker", "POST", "/endpoints/e/invocations", "", {}, body)
    assert status(exchange(port, raw(request))) == 200


def test_heads_are_bounded(bench: Bench, port: int) -> None:
    long = bench.request("lookoutmetrics", "POST", "/ListAlerts", "", {"x-long": "x" * MOST_HEADERS}, b"{}")
    assert status(exchange(port, raw(long))) == 413
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nx: ")
        with contextlib.suppress(OSError):
            for _ in range(1000):
                client.sendall(b"x" * 1000)
                time.sleep(0.0001)
        assert status(answer(client)) in (431, 0)
        assert client.recv(1) == b"" if status(answer(client)) else True


def test_a_request_that_does_not_end_is_given_up(bench: Bench) -> None:
    request = raw(bench.request("lookoutmetrics", "POST", "/ListAlerts", "", {}, b""))
    with listening(Gateway(bench.core, read_s=0.2)) as port:
        began = time.monotonic()
        assert (
            status(exchange(port, request.replace(b"content-length: 0", b"content-length: 5") + b"{")) == 503
        )
        assert exchange(port, request[:50]) == b""
        assert exchange(port, b"") == b""
        assert time.monotonic() - began < 5


def test_a_request_to_change_the_protocol_is_refused(bench: Bench, port: int) -> None:
    for head in (
        b"POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 5\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n",
    ):
        assert status(exchange(port, head)) == 400


def test_more_than_sixty_four_at_once_wait_and_all_are_answered(bench: Bench, port: int) -> None:
    requests = [
        raw(bench.request("lookoutmetrics", "POST", "/ListAlerts", "", {}, b"{}")) for _ in range(150)
    ]
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda one=one: found.append(status(exchange(port, one, 30))))
        for one in requests
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 150


def test_behind_a_trusted_proxy_the_caller_is_whom_it_names(bench: Bench) -> None:
    request = bench.request("lookoutmetrics", "POST", "/ListAlerts", "", {}, b"{}")
    data = raw(request).replace(b"\r\nhost", b"\r\nx-forwarded-for: 6.6.6.6, 9.9.9.9\r\nhost", 1)
    for trusted, address in (("127.0.0.1", "9.9.9.9"), ("", "127.0.0.1")):
        with listening(Gateway(bench.core, trusted=read_networks(trusted))) as port:
            assert status(exchange(port, data)) == 200
        assert bench.calls[-1].caller.address == address


# ---------------------------------------------------------------------- time


def test_an_answer_is_one_segment_and_costs_no_delayed_acknowledgement(bench: Bench, port: int) -> None:
    request = raw(bench.request("lookoutmetrics", "POST", "/ListAlerts", "", {}, b"{}"))
    times, whole = [], 0
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        for _ in range(100):
            began = time.perf_counter()
            client.sendall(request)
            first = client.recv(65536)
            times.append(time.perf_counter() - began)
            head, _, body = first.partition(b"\r\n\r\n")
            whole += len(body) == int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
    assert whole == 100
    assert sorted(times)[50] < 0.030  # 48 ms where the head and the body went separately


# ---------------------------------------------------------------------- garbage


def _mutated(rng: random.Random, good: list[bytes]) -> bytes:
    data = bytearray(rng.choice(good))
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(data) + 1)
        kind = rng.randrange(6)
        if kind == 0:
            data[place : place + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del data[place : place + rng.randint(1, 30)]
        elif kind == 2:
            data[place:place] = rng.randbytes(rng.randint(1, 30))
        elif kind == 3:
            data[place:place] = rng.choice(
                [b"\r\n", b"\r\n\r\n", b"%", b"%00", b"\x00", b"../", b": ", b"{", b"[" * 500, b"\xff"]
            )
        elif kind == 4:
            other = rng.choice(good)
            begin = rng.randrange(len(other))
            data[place:place] = other[begin : begin + rng.randint(1, 200)]
        else:
            text = rng.choice(
                [
                    b"content-length: 2",
                    b"POST",
                    b"HTTP/1.1",
                    b"transfer-encoding: chunked",
                    b"expect: 100-continue",
                ]
            )
            data[place:place] = text
    return bytes(data)


def _good(bench: Bench) -> list[bytes]:
    body = json.dumps({"DeliveryStreamName": "s", "Record": {"Data": "YQ=="}}).encode()
    json_type = {"content-type": "application/json"}
    return [
        raw(bench.request("lookoutmetrics", "POST", "/ListAlerts", "", json_type, b'{"MaxResults": 5}')),
        raw(bench.request("private-networks", "GET", "/v1/networks/" + quote(ARN, safe=""))),
        raw(
            bench.request(
                "private-networks",
                "POST",
                "/v1/networks",
                "",
                json_type,
                b'{"networkName": "n", "tags": {"a": "b"}}',
            )
        ),
        raw(bench.request("firehose", "POST", "/", "", {"x-amz-target": PUT}, body)),
        raw(bench.request("sagemaker", "POST", "/endpoints/e/invocations", "", json_type, b"\x00\xff")),
        raw(bench.request("lookoutmetrics", "DELETE", "/tags/" + quote(ARN, safe=""), "tagKeys=a&tagKeys=b")),
    ]


def _resigned(rng: random.Random, bench: Bench) -> bytes:
    """Return a request whose odd body and query are signed, so that they reach what reads them."""
    words = [
        b"null",
        b"[]",
        b"{}",
        b"1e999",
        b'"\\u0000"',
        b'"\\ud800"',
        b"-1",
        b'"x"',
        b"true",
        b"9" * 400,
        b'"\xc3\xa9"',
    ]
    keys = [
        b"MaxResults",
        b"NextToken",
        b"Tags",
        b"tags",
        b"networkName",
        b"Record",
        b"DeliveryStreamName",
        b"AlertName",
        b"Action",
        b"filters",
        b"maxResults",
    ]
    inner = b", ".join(b'"%s": %s' % (rng.choice(keys), rng.choice(words)) for _ in range(rng.randint(0, 4)))
    body = rng.choice([b"{" + inner + b"}", inner, b"{" + inner, rng.randbytes(20)])
    target = {
        "x-amz-target": rng.choice(
            [PUT, "Firehose_20150804.ListDeliveryStreams", "Firehose_20150804.\x7f", "x.y"]
        )
    }
    query = "&".join(
        rng.choice(["a=%ff", "tagKeys=", "tagKeys=%00", "%", "=", "maxResults=1", "clientToken=a"])
        for _ in range(rng.randint(0, 3))
    )
    label = rng.choice(["%ff", "%00", "%2F", quote(ARN, safe=""), "a%25", "%"])
    service, method, path, headers = rng.choice(
        [
            ("lookoutmetrics", "POST", "/ListAlerts", {}),
            ("lookoutmetrics", "POST", "/CreateAlert", {}),
            ("lookoutmetrics", "DELETE", "/tags/" + label, {}),
            ("private-networks", "POST", "/v1/networks", {}),
            ("private-networks", "POST", "/v1/networks/list", {}),
            ("private-networks", "GET", "/v1/networks/" + label, {}),
            ("firehose", "POST", "/", target),
            (
                "sagemaker",
                "POST",
                f"/endpoints/{label}/invocations",
                {"x-amzn-sagemaker-custom-attributes": rng.choice(["a", "\x7f", "~" * 2000])},
            ),
        ]
    )
    return raw(bench.request(service, method, path, query, headers, body))


@pytest.mark.parametrize("cases", [300, pytest.param(10_000, marks=pytest.mark.big)])
def test_no_bytes_whatever_make_a_500_a_hang_or_a_growing_process(bench: Bench, cases: int) -> None:
    with listening(Gateway(bench.core, read_s=0.05)) as port:
        _bombard(bench, port, cases)


def _bombard(bench: Bench, port: int, cases: int) -> None:
    rng, good, seen = random.Random(cases), _good(bench), dict[int, int]()
    memory = 0
    for number in range(cases):
        data = _resigned(rng, bench) if number % 2 else _mutated(rng, good)
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            with contextlib.suppress(OSError):
                client.sendall(data)
            began = time.monotonic()
            found = status(answer(client))
        assert found != 500, data
        assert time.monotonic() - began < 5, data
        seen[found] = seen.get(found, 0) + 1
        if number % 7 == 0:
            # Ten failures close an address, and from then on nothing is read: the hour moves on.
            bench.clock.advance(61)
            good = _good(bench)
        if number == cases // 4:
            memory = psutil.Process().memory_info().rss
    assert seen.get(200, 0) > cases // 50
    assert seen.get(400, 0) > cases // 20
    assert psutil.Process().memory_info().rss - memory < 64 * 2**20
    assert status(exchange(port, _good(bench)[0])) == 200
