"""Transactions that a plain NATS client publishes: decided once each, whatever is killed in between."""

import json
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import small_fraud
from card_records import flat
from external_nats import External, Publisher
from forked import forked, told
from waiting import eventually

pytestmark = pytest.mark.slow

IN, OUT = "payments.in", "payments.decided"


class Killable:
    """`masthead serve --nats-url` over a folder, and commands on it."""

    def __init__(self, data: Path, url: str) -> None:
        self._data, self._url = data, url
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        where = ["--data", str(self._data), "--port", "0", "--aws-port", "0", "--nats-url", self._url]
        self._process = subprocess.Popen(
            [str(forked()), "serve", *where, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        self._pid = json.loads(self._process.stdout.readline())["pid"]

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)
        self._ended()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._ended()

    def _ended(self) -> None:
        assert self._process is not None
        self._process.wait(30)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None

    def masthead(self, *arguments: str) -> Any:
        return told(self._data, *arguments)


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[External]:
    found = External(tmp_path / "theirs")
    yield found
    found.stop()


@pytest.fixture
def server(tmp_path: Path, theirs: External) -> Iterator[Killable]:
    found = Killable(tmp_path / "data", theirs.url)
    found.start()
    model = str(small_fraud.folder() / "model")
    made = found.masthead("fraud", "deploy", "cards", "--model", model, "--subject", IN, "--decisions", OUT)
    assert (made["about"]["subject"], made["about"]["decisions"]) == (IN, OUT)
    yield found
    found.stop()


def ids(*places: int) -> list[str]:
    return [str(flat(place)["TransactionID"]) for place in places]


def decided(shop: Publisher) -> Counter[str]:
    """Return how often each transaction's decision stands on the subject."""
    return Counter(one["id"] for one in shop.stored(OUT))


def test_a_published_transaction_is_decided_once_though_both_servers_are_killed(
    server: Killable, theirs: External
) -> None:
    shop = Publisher(theirs.url)
    eventually(lambda: stream_of(shop, IN))
    shop.publish(IN, [flat(place) for place in range(40)])
    server.kill()  # somewhere between the first message and the last decision
    shop.publish(IN, [flat(place) for place in range(30, 60)])  # the stream takes them meanwhile
    shop.publish(IN, [b"no transaction", {"TransactionDT": 5}, {**flat(3), "TransactionAmt": 1e6}])
    theirs.stop()
    theirs.start()
    server.start()
    eventually(lambda: len(decided(shop)) == 60, 60)
    server.kill()
    server.start()
    shop.publish(IN, [flat(2), flat(60)])
    eventually(lambda: decided(shop)[ids(60)[0]], 60)
    eventually(lambda: shop.waiting(IN) == 0, 60)  # the last acknowledgement
    assert decided(shop) == Counter(ids(*range(61)))
    stored = server.masthead("fraud", "transactions", "--limit", "1000")
    scores = {one["id"]: one["pred_prob"] for one in shop.stored(OUT)}
    assert {one["decision"]["id"]: one["decision"]["pred_prob"] for one in stored} == scores
    refused = shop.stored(f"{OUT}.refused")
    assert [one["error"].partition(":")[0] for one in refused] == [
        "payload",
        "TransactionID",
        "TransactionID",
    ]
    assert refused[0]["payload"] == "no transaction"
    assert refused[2]["payload"]["TransactionAmt"] == 1e6


def stream_of(shop: Publisher, subject: str) -> str:
    async def work(js: Any) -> str:
        try:
            return str(await js.find_stream_name_by_subject(subject))
        except Exception:
            return ""

    return str(shop.do(work))
