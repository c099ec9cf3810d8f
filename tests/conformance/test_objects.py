"""One suite for every object store: a local folder, and a real S3-like server in a process of its own.

moto brings its own botocore, so it lives in an environment of its own, made once.
"""

import os
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aws_clients import MOTO, client_python

from masthead.base.errors import InvalidInput, NotFound
from masthead.store.objects import Objects

OPTIONS = "region=us-east-1,access_key_id=test,secret_access_key=test,allow_http=true"


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the address of a running S3-like server with the bucket `physical`."""
    log = tmp_path_factory.mktemp("moto") / "log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            [client_python(MOTO), "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"],
            stdout=out,
            stderr=out,
            cwd=log.parent,
        )
    try:
        url = _wait_for(lambda: _address(log))
        for bucket in ("physical", "bucket-one"):
            _create_bucket(url, bucket)
        yield url
    finally:
        server.terminate()
        server.wait(10)


def _address(log: Path) -> str | None:
    found = [word for word in log.read_text(errors="replace").split() if word.startswith("http://127.0.0.1:")]
    return found[0] if found else None


def _wait_for(find: Callable[[], str | None]) -> str:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if found := find():
            return found
        time.sleep(0.05)
    raise AssertionError("moto's server did not start")


def _create_bucket(url: str, bucket: str) -> None:
    authorization = (
        "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=x"
    )
    request = urllib.request.Request(
        f"{url}/{bucket}", method="PUT", headers={"Authorization": authorization}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


STORES = [
    "folder",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("s3 with prefix", "s3 bucket by bucket")),
]


@pytest.fixture(params=STORES)
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    if request.param == "folder":
        return Objects(tmp_path / "objects")
    options = f"endpoint={request.getfixturevalue('s3_server')},{OPTIONS}"
    if request.param == "s3 with prefix":
        return Objects(f"s3://physical/{tmp_path.name}", options)
    return Objects("s3://", options)


@pytest.fixture
def base(tmp_path: Path) -> str:
    return f"s3://bucket-one/{os.getpid()}-{tmp_path.name}"


def test_what_is_put_is_got_back(objects: Objects, base: str) -> None:
    data = bytes(range(256)) * 300
    assert objects.put(f"{base}/a b/é+%41.json", data) is True
    assert objects.get(f"{base}/a b/é+%41.json") == data
    assert objects.exists(f"{base}/a b/é+%41.json")
    assert objects.head(f"{base}/a b/é+%41.json").size == len(data)


def test_a_create_only_put_never_replaces(objects: Objects, base: str) -> None:
    assert objects.put(f"{base}/x", b"first", create_only=True) is True
    assert objects.put(f"{base}/x", b"second", create_only=True) is False
    assert objects.get(f"{base}/x") == b"first"
    assert objects.put(f"{base}/x", b"third") is True
    assert objects.get(f"{base}/x") == b"third"


def test_of_many_at_once_exactly_one_creates(objects: Objects, base: str) -> None:
    answers: list[tuple[bool, bytes]] = []
    together = threading.Barrier(8)

    def create(data: bytes) -> None:
        together.wait()
        answers.append((objects.put(f"{base}/one", data, create_only=True), data))

    threads = [threading.Thread(target=create, args=(bytes([number]) * 9,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [data for won, data in answers if won]
    assert winners == [objects.get(f"{base}/one")]


def test_what_is_not_there_is_not_found(objects: Objects, base: str) -> None:
    with pytest.raises(NotFound, match="no object"):
        objects.get(f"{base}/none")
    with pytest.raises(NotFound):
        objects.head(f"{base}/none")
    assert not objects.exists(f"{base}/none")
    objects.delete(f"{base}/none")


def test_a_listing_is_sorted_and_by_text_prefix(objects: Objects, base: str) -> None:
    for name in ("b/2", "a/1", "ab/3", "a/1.gz", "z"):
        objects.put(f"{base}/{name}", name.encode())
    names = [info.uri.removeprefix(f"{base}/") for info in objects.list(f"{base}/")]
    assert names == ["a/1", "a/1.gz", "ab/3", "b/2", "z"]
    assert [info.size for info in objects.list(f"{base}/a")] == [3, 6, 4]
    assert [info.uri for info in objects.list(f"{base}/a/1.")] == [f"{base}/a/1.gz"]
    assert list(objects.list(f"{base}/none/")) == []
    assert all(abs(info.modified.timestamp() - time.time()) < 600 for info in objects.list(f"{base}/"))


def test_a_deleted_object_is_gone(objects: Objects, base: str) -> None:
    objects.put(f"{base}/x", b"1")
    objects.delete(f"{base}/x")
    assert not objects.exists(f"{base}/x")
    assert objects.put(f"{base}/x", b"2", create_only=True) is True


def test_an_empty_object_is_an_object(objects: Objects, base: str) -> None:
    objects.put(f"{base}/empty", b"")
    assert objects.get(f"{base}/empty") == b""


@pytest.mark.parametrize("key", ["../x", "a//b", "a/", ""])
def test_a_key_that_leaves_its_bucket_is_refused(objects: Objects, key: str) -> None:
    with pytest.raises(InvalidInput):
        objects.put(f"s3://bucket-one/{key}", b"1")
