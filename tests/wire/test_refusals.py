"""Every rule of every input is broken once, and every operation is refused for each reason that the core has for it.

The inputs come from the service models; the clients' own checks are off, and the verbs are the real ones.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from shape_violations import KINDS, Violation, violations, whole
from wire_matrix import MODELS, SERVED, VARIANTS, Ledger, Variant, Wired, operations, the_key, variants

from masthead.access.keys import NewKey
from masthead.app import Masthead
from masthead.aws.core import Core
from masthead.aws.errors import DENIED, INVALID, MISSING, QUOTA, TABLE, THROTTLED, UNKNOWN_OPERATION
from masthead.base.clock import SystemClock
from masthead.base.settings import Settings

NOTHING = {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}
ARN = "arn:aws:lookoutmetrics:eu-west-1:000000000000:"
NAMES = {
    "AnomalyDetectorArn": ARN + "AnomalyDetector:nobody",
    "AlertArn": ARN + "Alert:nobody",
    "MetricSetArn": ARN + "MetricSet/nobody/none",
    "ResourceArn": ARN + "AnomalyDetector:nobody",
    "DeliveryStreamName": "nobody",
    "EndpointName": "nobody",
}
NAMES_NOTHING = (
    "CreateAnomalyDetector",
    "ListAnomalyDetectors",
    "GetSampleData",
    "CreateDeliveryStream",
    "ListDeliveryStreams",
)


@dataclass
class House:
    """An installation with nothing in it, and keys that are refused for different reasons."""

    keys: dict[str, NewKey]
    by_variant: dict[tuple[str, str], Variant]
    ledger: Ledger

    def client(self, service: str, variant: tuple[str, str], key: str = "admin") -> Wired:
        return self.by_variant[variant].wired(service, self.keys[key], self.ledger, validates=False)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, ledger: Ledger) -> Iterator[House]:
    with Masthead.open(Settings(data=tmp_path_factory.mktemp("refusals") / "data")) as masthead:
        masthead.build()
        make = masthead.keys.create_key
        keys = {
            "admin": the_key(masthead),
            DENIED: make("denied", [("nothing", NOTHING)]),
            THROTTLED: make("fast", ["admin"], rate=0.001, burst=1),
            QUOTA: make("spent", ["admin"], quota=1, window="month"),
        }
        core = Core(masthead, clock=SystemClock(), models=MODELS)
        with variants(masthead, core) as by_variant:
            found = House(keys, by_variant, ledger)
            for outcome in (THROTTLED, QUOTA):  # each has one call, and that is gone
                found.client("lookoutmetrics", VARIANTS[0], outcome)("ListAlerts")
            yield found


@cache
def broken(service: str, operation: str) -> tuple[Violation, ...]:
    return tuple(violations(MODELS[service].operations[operation]))


@cache
def right(service: str, operation: str, *, bare: bool = False) -> dict[str, Any]:
    """Return an input that is right, but names what does not exist."""
    shape = MODELS[service].operations[operation].input
    assert shape is not None
    found = whole(shape, bare=bare)
    return {
        name: NAMES.get(name, value) if isinstance(value, str) else value for name, value in found.items()
    }


def refusable(service: str) -> list[tuple[str, str]]:
    """Return the operations whose inputs have rules."""
    return [one for one in operations(service) if broken(*one)]


def test_every_kind_of_rule_is_broken() -> None:
    counted = Counter(one.kind for each in operations(*SERVED) for one in broken(*each))
    assert set(counted) == set(KINDS)
    assert min(counted.values()) > 40
    assert sum(counted.values()) > 1500


@pytest.mark.parametrize("variant", VARIANTS, ids=" ".join)
@pytest.mark.parametrize(("service", "operation"), [one for name in SERVED for one in refusable(name)])
def test_a_broken_rule_is_refused_and_named(
    service: str, operation: str, variant: tuple[str, str], house: House
) -> None:
    client = house.client(service, variant)
    code, _ = TABLE[service][INVALID]
    for one in broken(service, operation):
        where = f"{one.kind} of {one.path}"
        document = None if one.is_writable or not one.document else one.document
        given = one.given if one.is_writable or not one.document else right(service, operation)
        try:
            failed = client.refused(operation, code, f"{one.path}: ", document, **given)
        except AssertionError as error:
            raise AssertionError(f"{where}: {error}") from error
        if (
            "Fields"
            in MODELS[service]
            .shapes.get(code, MODELS["lookoutmetrics"].shapes["ValidationException"])
            .members
        ):
            named = [field["Name"] for field in failed.response.get("Fields", ())]
            assert (failed.response.get("Reason"), named) == ("FIELD_VALIDATION_FAILED", [one.path]), where
        assert failed.message.count(": ") == 1 or not one.sensitive, where


@pytest.mark.parametrize("variant", VARIANTS, ids=" ".join)
@pytest.mark.parametrize("outcome", [DENIED, THROTTLED, QUOTA])
@pytest.mark.parametrize(("service", "operation"), operations(*SERVED))
def test_a_key_is_refused_by_policy_rate_and_quota(
    service: str, operation: str, outcome: str, variant: tuple[str, str], house: House
) -> None:
    code, status = TABLE[service][outcome]
    text = {DENIED: "with an explicit deny", THROTTLED: "Rate", QUOTA: "Quota of key"}[outcome]
    failed = house.client(service, variant, outcome).refused(
        operation, code, text, **right(service, operation)
    )
    assert failed.status == status


@pytest.mark.parametrize("variant", VARIANTS, ids=" ".join)
@pytest.mark.parametrize(
    ("service", "operation"), [one for one in operations(*SERVED) if one[1] not in NAMES_NOTHING]
)
def test_what_does_not_exist_is_not_found(
    service: str, operation: str, variant: tuple[str, str], house: House
) -> None:
    code, status = TABLE[service][MISSING]
    optional = operation in ("ListMetricSets", "ListAlerts")
    given = {"AnomalyDetectorArn": NAMES["AnomalyDetectorArn"]} if optional else {}
    given |= right(service, operation, bare=True)
    failed = house.client(service, variant).refused(operation, code, "nobody", **given)
    assert failed.status == status
    if service == "lookoutmetrics":
        assert "nobody" in failed.response["ResourceId"]  # of several, the one that is missing
        assert failed.response["ResourceType"] in ("AnomalyDetector", "Alert", "MetricSet")


@pytest.mark.parametrize("variant", VARIANTS, ids=" ".join)
@pytest.mark.parametrize(("service", "operation"), operations("privatenetworks"))
def test_an_operation_of_a_service_to_come_is_unknown(
    service: str, operation: str, variant: tuple[str, str], house: House
) -> None:
    code, status = TABLE[service][UNKNOWN_OPERATION]
    given = {} if operation == "Ping" else right(service, operation)
    failed = house.client(service, variant).refused(operation, code, "this operation is not served", **given)
    assert (failed.status, status) == (404, 404)
