"""The second door for readings: what is stored, what is refused with its line, what happens without a log."""

import gzip
import io
import json

import httpx
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from masthead.app import Masthead
from masthead.base.errors import LimitReached
from masthead.streams.readings import Reading, json_value

CSV = "TIMESTAMP,LOCATION_ID,CO\r\n2022-03-24 23:30,B-101,2.4\r\n2022-03-24 23:35,007,\r\n"


def post(api: httpx.Client, body: bytes, topic: str = "air/B-101") -> httpx.Response:
    return api.post(f"/ingest/{topic}", content=body)


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (b'{"CO": 1}\n{"CO": 2}\n', 2),
        (b'\xef\xbb\xbf{"CO": 1}\r\n\r\n{"CO": 2}', 2),
        (b'[{"CO": 1}, {"CO": 2}]', 2),
        (b'{\n  "CO": 1\n}', 1),
        (b'  {"CO": "\xc3\xa4"}  ', 1),
    ],
)
def test_json_is_stored_however_it_is_laid_out(
    api: httpx.Client, stored: list[Reading], body: bytes, count: int
) -> None:
    assert post(api, body).json() == {"stored": count, "refused": 0, "problems": []}
    assert len(stored) == count
    assert all(reading.topic == "air/B-101" and json.loads(reading.payload) for reading in stored)


def test_a_line_is_stored_as_it_was_sent(api: httpx.Client, stored: list[Reading]) -> None:
    post(api, b'{"CO":1.50,  "b":[1]}\n')
    assert stored[0].payload == b'{"CO":1.50,  "b":[1]}'


def test_a_broken_line_is_told_and_the_rest_is_stored(api: httpx.Client, stored: list[Reading]) -> None:
    answer = post(api, b'{"CO": 1}\n{"CO": \n5\n{"CO": Nan}\n{"CO": 2}\n').json()
    assert (answer["stored"], answer["refused"]) == (2, 3)
    assert [problem["line"] for problem in answer["problems"]] == [2, 3, 4]
    assert len(stored) == 2


@pytest.mark.parametrize(
    "body", [b'{"CO": NaN, "NO2": Infinity, "SO2": 3}', b'[{"CO": NaN, "NO2": Infinity, "SO2": 3}]']
)
def test_nan_is_a_missing_value_as_in_files(api: httpx.Client, stored: list[Reading], body: bytes) -> None:
    assert post(api, body).json()["stored"] == 1
    assert json_value(stored[0].payload) == {"CO": None, "NO2": float("inf"), "SO2": 3}


@pytest.mark.parametrize("body", [b"", b"\n\n", b"not json", b"5", b"[]", b"\x1f\x8b\x00", b"[" * 5000])
def test_a_body_without_any_object_is_invalid(api: httpx.Client, stored: list[Reading], body: bytes) -> None:
    answer = post(api, body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidInput")
    assert stored == []


@pytest.mark.parametrize("topic", ["air/%23", "a/%2B/b", "$JS/x", "masthead/clock", "a%20b", "%00"])
def test_a_topic_that_a_device_could_not_use_is_refused(
    api: httpx.Client, stored: list[Reading], topic: str
) -> None:
    answer = post(api, b"{}", topic)
    assert (answer.status_code, answer.json()["error"]["field"]) == (400, "topic")
    assert stored == []


def test_without_a_log_the_sender_is_told_to_try_again(api: httpx.Client) -> None:
    answer = post(api, b"{}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "LimitReached")
    assert "devices" in answer.json()["error"]["message"]
    assert answer.headers["retry-after"]


def test_a_full_log_is_not_an_accepted_reading(api: httpx.Client, masthead: Masthead) -> None:
    def full(readings: object, *, partly: bool = False) -> None:
        raise LimitReached("ingest: the log of readings takes no more: full")

    masthead.register_ingest(full)
    assert post(api, b"{}").status_code == 503


def _upload(api: httpx.Client, name: str, data: bytes, **fields: str) -> httpx.Response:
    return api.post("/ingest/files", files={"files": (name, data)}, data={"topic": "air", **fields})


@pytest.mark.parametrize("packed", [False, True])
def test_files_are_told_by_content(api: httpx.Client, stored: list[Reading], packed: bool) -> None:
    table = pa.table({"TIMESTAMP": ["2022-03-24 23:30"], "CO": [2.4]})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    lines = b'{"TIMESTAMP": "2022-03-24 23:30", "CO": 2.4}\n'
    for data in (CSV.encode(), lines, buffer.getvalue()):
        answer = _upload(api, "x.bin", gzip.compress(data) if packed else data)
        assert answer.status_code == 200, answer.text
    rows = [json.loads(reading.payload) for reading in stored]
    assert rows == [
        {"TIMESTAMP": "2022-03-24 23:30", "LOCATION_ID": "B-101", "CO": 2.4},
        {"TIMESTAMP": "2022-03-24 23:35", "LOCATION_ID": "007"},
        {"TIMESTAMP": "2022-03-24 23:30", "CO": 2.4},
        {"TIMESTAMP": "2022-03-24 23:30", "CO": 2.4},
    ]


def test_a_file_says_how_it_is_written(api: httpx.Client, stored: list[Reading]) -> None:
    form = json.dumps({"delimiter": ";", "header": False, "columns": ["T", "CO"]})
    assert _upload(api, "x.csv", b"1;2\n3;4\n", format=form).json()["stored"] == 2
    assert _upload(api, "x.csv", b"1;2\n", format="{").json()["error"]["field"] == "format"
    assert _upload(api, "x.csv", b"").status_code == 400
    assert _upload(api, "x.gz", gzip.compress(CSV.encode() * 500)[:-20]).status_code in (200, 400)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(body=st.binary(max_size=300))
def test_no_bytes_bring_the_door_down(api: httpx.Client, stored: list[Reading], body: bytes) -> None:
    before = len(stored)
    answer = post(api, body)
    assert answer.status_code in (200, 400)
    told = answer.json().get("stored", 0)
    assert len(stored) - before == told


def test_a_gzipped_body_is_stored_whole_or_not_at_all(api: httpx.Client, stored: list[Reading]) -> None:
    def send(body: bytes, encoding: str = "gzip") -> httpx.Response:
        return api.post("/ingest/air/B-101", content=body, headers={"content-encoding": encoding})

    packed = gzip.compress(b'{"CO": 1}\n{"CO": 2}\n')
    for body, encoding, words in [
        (packed[:-9], "gzip", "ends early"),
        (b"{}", "gzip", "expected gzip"),
        (packed, "br", "content-encoding"),
    ]:
        refused = send(body, encoding)
        assert (refused.status_code, words in refused.json()["error"]["message"]) == (400, True)
    assert send(gzip.compress(bytes(2**20))).status_code == 429
    assert stored == []
    assert send(packed).json()["stored"] == 2
