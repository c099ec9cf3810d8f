"""Measure the AWS wire: what a signature costs, what port 8401 adds to a verb, and how many calls it answers.

    python benchmarks/wire.py [--calls 4000] [--connections 8] [--client raw|boto3]

`verify_us`: one signature verified, CPU microseconds. `core_us`: one signed DescribeAnomalyDetector routed, verified,
throttled, authorised, validated and serialised without sockets and with a verb that does nothing. `listener_cpu_us`:
the same over loopback, CPU of the whole server process a request. `calls_per_s`, `p50_ms`, `p99_ms`: signed calls over
`--connections` connections from another process on the same machine. `boto3_ms`: median of a call by boto3, where it
is installed and `--client boto3` asks for it.
"""

import argparse
import contextlib
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from aws_signer import sign

from masthead.access.keys import NewKey
from masthead.app import Masthead
from masthead.aws.core import Core
from masthead.aws.gateway import Gateway
from masthead.aws.operations import Operations
from masthead.aws.protocol import Request
from masthead.aws.serving import configured
from masthead.aws.sigv4 import SigningKeys, read_signature, verify
from masthead.base.clock import SystemClock
from masthead.base.settings import Settings

ARN = "arn:aws:lookoutmetrics:us-east-1:000000000000:AnomalyDetector:air"
BODY = json.dumps({"AnomalyDetectorArn": ARN}).encode()
HEADERS = {"content-type": "application/json"}
NOW = datetime.now(UTC)
DETECTOR = {
    "AnomalyDetectorArn": ARN,
    "AnomalyDetectorName": "air",
    "AnomalyDetectorDescription": "a station",
    "CreationTime": NOW,
    "LastModificationTime": NOW,
    "Status": "ACTIVE",
    "AnomalyDetectorConfig": {"AnomalyDetectorFrequency": "PT5M"},
}


class _Http(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def signed(key: NewKey) -> Request:
    """Return a signed call."""
    path, how = "/DescribeAnomalyDetector", {"key_id": key.key.id, "secret": key.secret}
    headers = sign("POST", path, "", HEADERS, BODY, service="lookoutmetrics", when=datetime.now(UTC), **how)
    return Request("POST", path, "", headers, BODY)


def verification_us(key: NewKey, rounds: int) -> float:
    """Return the CPU of one verification."""
    request, keys, now = signed(key), SigningKeys(), datetime.now(UTC)
    began = time.process_time()
    for _ in range(rounds):
        verify(
            request,
            read_signature(request),
            service="lookoutmetrics",
            region="",
            carried=frozenset(),
            secret_of=lambda _id: key.secret,
            keys=keys,
            now=now,
        )
    return (time.process_time() - began) / rounds * 1e6


def core_us(core: Core, key: NewKey, rounds: int) -> float:
    """Return the median CPU of one call without sockets."""
    request, costs = signed(key), []
    for _ in range(rounds):
        began = time.thread_time()
        assert core.handle(request).status == 200
        costs.append(time.thread_time() - began)
    return statistics.median(costs) * 1e6


@contextlib.contextmanager
def serving(core: Core) -> Iterator[int]:
    """Serve on a free port, as `masthead serve` does."""
    http = _Http(configured(Gateway(core)))
    thread = threading.Thread(target=http.run, daemon=True)
    thread.start()
    while not http.started:
        time.sleep(0.01)
    yield http.servers[0].sockets[0].getsockname()[1]
    http.should_exit = True
    thread.join()


def raw_client(port: int, data: bytes, calls: int, connections: int) -> dict[str, float]:
    """Repeat one request over several connections; return rate and times."""
    times: list[float] = []

    def work() -> None:
        mine = []
        with socket.create_connection(("127.0.0.1", port)) as client:
            for _ in range(calls // connections):
                began = time.perf_counter()
                client.sendall(data)
                answer = client.recv(65536)
                mine.append(time.perf_counter() - began)
                assert answer.startswith(b"HTTP/1.1 200"), answer
        times.extend(mine)

    threads = [threading.Thread(target=work) for _ in range(connections)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = time.perf_counter() - began
    times.sort()
    return {
        "calls_per_s": len(times) / spent,
        "p50_ms": times[len(times) // 2] * 1e3,
        "p99_ms": times[int(len(times) * 0.99)] * 1e3,
    }


def loopback(core: Core, key: NewKey, calls: int, connections: int) -> dict[str, float]:
    """Return what another process meets, and what it costs this one."""
    request = signed(key)
    lines = "".join(
        f"{name}: {value}\r\n"
        for name, value in {**request.headers, "content-length": str(len(BODY))}.items()
    )
    data = f"POST {request.path} HTTP/1.1\r\n{lines}\r\n".encode() + BODY
    with serving(core) as port:
        client = [sys.executable, __file__, "--port", str(port), "--connections", str(connections)]
        began = time.process_time()
        found = subprocess.run(
            [*client, "--calls", str(calls)], input=data, stdout=subprocess.PIPE, check=True
        )
        cpu = time.process_time() - began
    return {"listener_cpu_us": cpu / calls * 1e6, **json.loads(found.stdout)}


def boto3_ms(core: Core, key: NewKey, calls: int) -> float:
    """Return the median of a call by boto3."""
    import boto3

    with serving(core) as port:
        client: Any = boto3.client(
            "lookoutmetrics",
            region_name="us-east-1",
            endpoint_url=f"http://127.0.0.1:{port}",
            aws_access_key_id=key.key.id,
            aws_secret_access_key=key.secret,
        )
        times = []
        for _ in range(calls):
            began = time.perf_counter()
            client.describe_anomaly_detector(AnomalyDetectorArn=ARN)
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--client", choices=("raw", "boto3"), default="raw")
    parser.add_argument("--port", type=int, default=0, help="be the client of this port")
    given = parser.parse_args()
    if given.port:
        print(json.dumps(raw_client(given.port, sys.stdin.buffer.read(), given.calls, given.connections)))
        return
    with tempfile.TemporaryDirectory() as folder, Masthead.open(Settings(data=Path(folder))) as masthead:
        key = masthead.keys.create_key("bench", ["metrics"])
        table = Operations("lookoutmetrics")
        table.serves("DescribeAnomalyDetector", resources=lambda call: [call.input["AnomalyDetectorArn"]])(
            lambda call: DETECTOR
        )
        core = Core(masthead, clock=SystemClock(), served={"lookoutmetrics": table})
        found = {"verify_us": verification_us(key, given.calls), "core_us": core_us(core, key, given.calls)}
        found |= loopback(core, key, given.calls, given.connections)
        if given.client == "boto3":
            found["boto3_ms"] = boto3_ms(core, key, 300)
        print(json.dumps({name: round(value, 2) for name, value in found.items()}))


if __name__ == "__main__":
    main()
