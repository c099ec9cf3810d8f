"""Whatever a request says, the answer is one that the documentation knows: made-up requests of every route's schema.

The whole run makes 10,000 requests; the one beside it a few hundred.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from keyed import header_of
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from masthead.api.factory import create_api
from masthead.app import Masthead
from masthead.streams.readings import Reading

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@schemathesis.serializer("application/x-ndjson", "application/jsonlines")
def as_lines(_context: schemathesis.SerializationContext, value: Any) -> bytes:
    """Write a made-up body of JSON lines."""
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


@pytest.fixture
def served(masthead: Masthead, serving: Any, stored: list[Reading]) -> Iterator[httpx.Client]:
    """A server that can do everything, with something of each noun to do it to."""
    with serving(create_api(masthead)) as client:
        yield client


def furnish(masthead: Masthead) -> None:
    """Make what the examples of the documentation are about, unless it is there."""
    if not masthead.access.list_things():
        masthead.access.create_thing("0", ["sensor"])
    if not masthead.streams.list_streams():
        masthead.streams.create_stream({"name": "0", "destination": "s3://air/"})
    if not masthead.streams.list_rules():
        masthead.streams.create_rule({"name": "0", "sql": "SELECT * FROM 'air/#'", "actions": []})
    if not masthead.metrics.list_detectors():
        source = {"kind": "stream", "topic": "air/#"}
        masthead.metrics.create_detector({"name": "0", "measures": ["CO"], "source": source})
    if not masthead.alerts.list_rules():
        masthead.alerts.create_rule(
            {"name": "0", "channel": {"kind": "webhook", "url": "http://127.0.0.1:9/"}}
        )


def made_up_requests(masthead: Masthead, client: httpx.Client, each: int) -> Counter[int]:
    """Send `each` requests to each operation; return how often each status came."""
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json", timeout=60).json())
    seen: Counter[int] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()
        furnish(masthead)

        @settings(
            max_examples=each,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def ask(case: schemathesis.Case) -> None:
            answer = case.call(
                base_url=str(client.base_url).rstrip("/"), headers=dict(client.headers), timeout=30
            )
            seen[answer.status_code] += 1
            case.validate_response(answer, checks=CHECKS)

        ask()
    return seen


def test_some_made_up_requests_are_answered_as_documented(masthead: Masthead, served: httpx.Client) -> None:
    seen = made_up_requests(masthead, served, each=4)
    assert sum(seen.values()) >= 300
    assert {200, 400, 404} <= set(seen)


@pytest.mark.big
@pytest.mark.timeout(3600)
def test_ten_thousand_made_up_requests_are_answered_as_documented(
    masthead: Masthead, served: httpx.Client
) -> None:
    seen = made_up_requests(masthead, served, each=150)
    assert sum(seen.values()) >= 10_000


def test_made_up_requests_of_a_key_that_may_do_nothing_change_nothing(
    masthead: Masthead, serving: Any, stored: list[Reading]
) -> None:
    furnish(masthead)
    with serving(create_api(masthead), header_of(masthead.keys.create_key("nobody"))) as client:
        documented = client.get("/openapi.json").json()
        seen = made_up_requests(masthead, client, each=2)
    assert len(documented["paths"]) > 60
    assert set(seen) <= {200, 400, 403, 404, 405}  # 200: health
    assert [one.name for one in masthead.access.list_things()] == ["0"]
    assert stored == []
