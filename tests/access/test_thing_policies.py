"""Policies of things: what they allow, what they may not say."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masthead.access.publishers import Publishers
from masthead.access.thing_policies import (
    ALERT_LISTENER,
    SENSOR,
    Permissions,
    allows,
    check_document,
    compile_policies,
)
from masthead.base.errors import InvalidInput


def policy(*statements: tuple[str, str | list[str], str | list[str]]) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": effect, "Action": action, "Resource": resource}
            for effect, action, resource in statements
        ],
    }


CONNECT = ("Allow", "iot:Connect", "client/*")


def compiled(*statements: Any, thing: str = "b-101", **attributes: str) -> Permissions:
    return compile_policies([policy(CONNECT, *statements)], thing=thing, attributes=attributes)


def may(permissions: Permissions, action: str, resource: str) -> bool:
    return allows(permissions, action=f"iot:{action}", resource=resource)


def test_a_sensor_publishes_under_its_own_name_only() -> None:
    granted = compile_policies([SENSOR], thing="b-101", attributes={})
    assert may(granted, "Publish", "sensors/b-101/air")
    assert may(granted, "Publish", "sensors/b-101")
    assert not may(granted, "Publish", "sensors/b-102/air")
    assert not may(granted, "Publish", "commands/b-101/stop")
    assert may(granted, "Subscribe", "commands/b-101/#")
    assert not may(granted, "Subscribe", "commands/#")
    assert not may(granted, "Subscribe", "sensors/#")


def test_a_listener_hears_alerts_and_says_nothing() -> None:
    granted = compile_policies([ALERT_LISTENER], thing="horn", attributes={})
    assert may(granted, "Subscribe", "masthead/alerts/#")
    assert not may(granted, "Publish", "masthead/alerts/air")


@pytest.mark.parametrize(
    "topic", ["$JS/API/STREAM/DELETE/READINGS", "$MQTT/msgs/a", "masthead/clock", "_INBOX/x"]
)
def test_a_policy_that_allows_everything_stops_before_the_brokers_own_subjects(topic: str) -> None:
    granted = compiled(("Allow", "*", "*"))
    assert may(granted, "Publish", "any/thing")
    assert may(granted, "Subscribe", "#")
    assert not may(granted, "Publish", topic)


def test_an_explicit_deny_wins() -> None:
    granted = compiled(("Allow", "iot:Publish", "topic/air/*"), ("Deny", "iot:Publish", "topic/air/secret/*"))
    assert may(granted, "Publish", "air/x")
    assert not may(granted, "Publish", "air/secret/x")


def test_a_denied_connect_lets_nothing_through() -> None:
    granted = compiled(("Allow", "iot:Publish", "*"), ("Deny", "iot:Connect", "*"))
    assert not granted.connect
    assert not may(granted, "Publish", "a")


def test_a_denial_under_a_wildcard_closes_the_way_around_it() -> None:
    everything = ("Allow", "iot:*", "*")
    assert "$MQTT.>" in compiled(everything, ("Deny", "iot:Receive", "topic/secret")).subscribe_deny
    assert "$MQTT.>" not in compiled(everything).subscribe_deny
    for topic_filter in ("$MQTT/#", "$MQTT/msgs/#", "$MQTT/+/#", "$JS/API/#", "masthead/readings/+"):
        assert not may(compiled(everything), "Subscribe", topic_filter)


def test_variables_are_the_things_own_values() -> None:
    rule = (
        "Allow",
        "iot:Publish",
        "arn:aws:iot:eu-west-1:123456789012:topic/${iot:Connection.Thing.Attributes[site]}/${iot:ClientId}/+",
    )
    assert compiled(rule, site="north").publish == ("north.b-101.*",)
    assert compiled(rule).publish == ()


def test_to_hear_something_it_must_be_subscribed_and_received() -> None:
    subscribe = ("Allow", "iot:Subscribe", "topicfilter/cmd/#")
    assert compiled(subscribe).subscribe == ()
    assert compiled(subscribe, ("Allow", "iot:Receive", "topic/cmd/a/*")).subscribe == ("cmd.a.>",)


def test_a_star_at_the_end_means_the_rest_but_not_the_parent() -> None:
    granted = compiled(("Allow", "iot:Publish", ["topic/a/*", "topic//b/*"]))
    assert may(granted, "Publish", "a/b/c")
    assert may(granted, "Publish", "a/")
    assert not may(granted, "Publish", "a")
    assert may(granted, "Publish", "/b/c")


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        (("Allow", "iot:Publish", "topic/a*"), "whole last level"),
        (("Allow", "iot:Publish", "topic/a/*/b"), "whole last level"),
        (("Allow", "iot:Publish", "topic/a?"), "whole last level"),
        (("Allow", "iot:Connect", "client/${iot:ClientId}"), "client id"),
        (("Allow", "iot:Publish", "topicfilter/a"), "fits the action"),
        (("Allow", "iot:RetainPublish", "topic/a"), "Action"),
        (("Allow", "iot:Publish", "topic/${aws:SourceIp}"), "variables"),
        (("Allow", "iot:Publish", "queue/a"), "Resource"),
        (("Allow", "iot:Subscribe", "topicfilter/$MQTT/#"), "broker's own"),
        (("Deny", "iot:Publish", "topic/a*"), "whole last level"),
        (("Maybe", "iot:Publish", "topic/a"), "Effect"),
        (("Allow", "iot:Publish", []), "Resource"),
    ],
)
def test_what_the_broker_cannot_say_is_refused_with_the_reason(statement: Any, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        check_document(policy(statement))


def test_a_condition_is_refused_since_ignoring_it_would_widen_the_policy() -> None:
    document = policy(CONNECT)
    document["Statement"][0]["Condition"] = {"Bool": {"iot:Connection.Thing.IsAttached": "true"}}
    with pytest.raises(InvalidInput, match="Condition"):
        check_document(document)


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=8) | st.integers(),
        lambda x: (
            st.lists(x, max_size=3)
            | st.dictionaries(
                st.sampled_from(["Version", "Statement", "Effect", "Action", "Resource", "x"]), x, max_size=4
            )
        ),
        max_leaves=8,
    )
)
def test_any_json_is_either_a_policy_or_refused(document: Any) -> None:
    try:
        check_document(document)
    except InvalidInput:
        return


def test_a_topic_that_one_thing_alone_may_publish_names_it() -> None:
    permissions = {
        "a": compile_policies([SENSOR], thing="a", attributes={}),
        "b": compile_policies([SENSOR], thing="b", attributes={}),
        "c": compiled(("Allow", "iot:Publish", "topic/sensors/b/+"), thing="c"),
        "gone": Permissions(),
    }
    publishers = Publishers(permissions)
    assert publishers.sender("sensors.a.air") == "a"
    assert publishers.sender("sensors.b.air") is None
    assert publishers.sender("sensors.b.air.co") == "b"
    assert publishers.sender("elsewhere") is None
