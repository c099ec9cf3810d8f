"""Policies: how a document is read, and what each operator says of each case."""

from typing import Any

import pytest

from masthead.access import conditions
from masthead.access.policy import MOST_BYTES, NOTHING, SHIPPED, Policy, decide
from masthead.access.wildcards import compile_pattern
from masthead.base.errors import InvalidInput

ARN = "arn:aws:lookoutmetrics:us-east-1:000000000000:AnomalyDetector:air"


def document(**statement: Any) -> dict[str, Any]:
    given = {"Effect": "Allow", "Action": "*", "Resource": "*", **statement}
    return {
        "Version": "2012-10-17",
        "Statement": {name: value for name, value in given.items() if value is not None},
    }


def says(
    given: dict[str, Any], context: dict[str, Any] | None = None, *, action: str = "firehose:PutRecord", resource: str = ARN
) -> str:  # fmt: skip
    return decide([("p", Policy.parse(given))], action=action, resource=resource, context=context or {}).word


# operator, the policy's value, a text that agrees, one that does not, negated
OPERATORS = [
    ("StringEquals", "air", "air", "Air", False),
    ("StringNotEquals", "air", "Air", "air", True),
    ("StringEqualsIgnoreCase", "air", "AIR", "water", False),
    ("StringNotEqualsIgnoreCase", "air", "water", "AIR", True),
    ("StringLike", "a?r-*", "air-7", "ar-7", False),
    ("StringNotLike", "a*", "water", "air", True),
    ("NumericEquals", "10", "10.0", "10.5", False),
    ("NumericNotEquals", 10, "11", "10.00", True),
    ("NumericLessThan", "10", "9.99", "10", False),
    ("NumericLessThanEquals", "10", "10", "10.01", False),
    ("NumericGreaterThan", "10", "10.01", "10", False),
    ("NumericGreaterThanEquals", "1e1", "10", "-10", False),
    ("DateEquals", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "2026-01-01T00:00:01Z", False),
    ("DateNotEquals", "2026-01-01", "2026-01-02", "2026-01-01T00:00:00Z", True),
    ("DateLessThan", "2026-01-01T00:00:00Z", "2025-12-31T23:59:59Z", "2026-01-01T00:00:00Z", False),
    ("DateLessThanEquals", "2026", "1767225600", "1767225601", False),
    ("DateGreaterThan", 1767225600, "2026-01-01T00:00:01Z", "2026-01-01T00:00:00Z", False),
    ("DateGreaterThanEquals", "2026-01-01", "2026-01-01", "2025-12-31", False),
    ("Bool", True, "true", "false", False),
    ("Bool", "false", "False", "true", False),
    ("IpAddress", "10.0.0.0/8", "10.255.0.1", "11.0.0.1", False),
    ("IpAddress", "2001:db8::/32", "2001:db8::7", "2001:db9::7", False),
    ("NotIpAddress", "10.0.0.7", "10.0.0.8", "10.0.0.7", True),
    ("ArnEquals", "arn:aws:iam::0:user/*", "arn:aws:iam::0:user/a:b", "arn:aws:iam:x:0:user/a", False),
    ("ArnLike", "arn:aws:*:*:0:a?c", "arn:aws:s:r:0:abc", "arn:aws:s:r:x:0:abc", False),
    ("ArnNotEquals", "arn:aws:iam::0:user/a", "arn:aws:iam::0:user/b", "arn:aws:iam::0:user/a", True),
    ("ArnNotLike", "arn:aws:iam::0:user/a*", "arn:aws:iam::0:user/b", "arn:aws:iam::0:user/ab", True),
]


@pytest.mark.parametrize(("operator", "value", "right", "wrong", "negated"), OPERATORS)
@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_every_operator_on_match_mismatch_and_a_missing_key(
    operator: str, value: Any, right: str, wrong: str, negated: bool, effect: str
) -> None:
    holds = "allow" if effect == "Allow" else "explicit deny"

    def found(name: str, context: dict[str, Any]) -> bool:
        return says(document(Effect=effect, Condition={name: {"Key": value}}), context) == holds

    assert found(operator, {"key": right})
    assert not found(operator, {"key": wrong})
    assert found(operator, {}) is negated
    assert found(f"{operator}IfExists", {"key": right})
    assert not found(f"{operator}IfExists", {"key": wrong})
    assert found(f"{operator}IfExists", {})
    assert found(f"ForAnyValue:{operator}", {"key": [wrong, right]})
    assert not found(f"ForAnyValue:{operator}", {"key": [wrong]})
    assert not found(f"ForAnyValue:{operator}", {})
    assert found(f"ForAllValues:{operator}", {"key": [right, right]})
    assert not found(f"ForAllValues:{operator}", {"key": [right, wrong]})
    assert found(f"ForAllValues:{operator}", {"key": []})
    assert found(f"ForAnyValue:{operator}IfExists", {})


def test_every_operator_of_the_table_is_tried() -> None:
    assert {row[0] for row in OPERATORS} == set(conditions.OPERATORS)


@pytest.mark.parametrize(
    ("value", "context", "holds"),
    [("true", {}, True), ("true", {"key": "x"}, False), (False, {}, False), ("False", {"key": ""}, True), (True, {"key": []}, True)],
)  # fmt: skip
def test_null_asks_whether_a_key_is_missing(value: Any, context: dict[str, Any], holds: bool) -> None:
    assert (says(document(Condition={"Null": {"key": value}}), context) == "allow") is holds


@pytest.mark.parametrize(
    ("operator", "value", "text"),
    [
        ("NumericEquals", "1", "one"),
        ("NumericNotEquals", "1", "nan"),
        ("NumericLessThan", "1", "-Infinity"),
        ("DateLessThan", "2026-01-01", "soon"),
        ("DateNotEquals", "2026-01-01", ""),
        ("Bool", "true", "yes"),
        ("IpAddress", "10.0.0.0/8", "10.0.0"),
        ("NotIpAddress", "10.0.0.0/8", "localhost"),
        ("StringEquals", "${aws:username}", "ann"),
        ("StringNotEquals", "${aws:username}", "ann"),
        ("ArnLike", "arn:aws:iam::0:user/${aws:username}", "arn:aws:iam::0:user/ann"),
    ],
)
def test_what_cannot_be_known_counts_against_the_caller(operator: str, value: str, text: str) -> None:
    condition = {operator: {"key": value}}
    assert says(document(Condition=condition), {"key": text}) == "implicit deny"
    assert says(document(Effect="Deny", Condition=condition), {"key": text}) == "explicit deny"


def test_values_are_alternatives_and_keys_and_operators_add_up() -> None:
    given = document(Condition={"StringEquals": {"a": ["x", "y"], "b": "z"}, "Bool": {"c": "true"}})
    assert says(given, {"a": "y", "b": "z", "c": "true"}) == "allow"
    for change in ({"a": "w"}, {"b": "x"}, {"c": "false"}):
        assert says(given, {"a": "y", "b": "z", "c": "true", **change}) == "implicit deny"
    negated = document(Condition={"StringNotEquals": {"a": ["x", "y"]}})
    assert says(negated, {"a": "z"}) == "allow"
    assert says(negated, {"a": "y"}) == "implicit deny"


def test_a_variable_stands_for_the_callers_own() -> None:
    given = document(Resource="arn:aws:lookoutmetrics:*:*:AnomalyDetector:${aws:username}-*")
    mine, others = f"{ARN[:-3]}ann-1", f"{ARN[:-3]}bob-1"
    assert says(given, {"aws:username": "ann"}, resource=mine) == "allow"
    assert says(given, {"aws:username": "ann"}, resource=others) == "implicit deny"
    assert says(given, {"aws:username": "*"}, resource=mine) == "implicit deny"
    assert says(given, {}, resource=mine) == "implicit deny"
    assert says({**given, "Version": "2008-10-17"}, {"aws:username": "ann"}, resource=mine) == "implicit deny"
    tagged = document(Condition={"StringEquals": {"aws:ResourceTag/owner": "${aws:username}"}})
    assert says(tagged, {"aws:ResourceTag/owner": "ann", "aws:username": "ann"}) == "allow"


@pytest.mark.parametrize(("sign", "text"), [("*", "*"), ("?", "?"), ("$", "$")])
def test_a_wildcard_can_be_written_as_itself(sign: str, text: str) -> None:
    given = document(Condition={"StringLike": {"k": f"a${{{sign}}}b"}})
    assert says(given, {"k": f"a{text}b"}) == "allow"
    assert says(given, {"k": "axb"}) == "implicit deny"


@pytest.mark.parametrize(
    ("effect", "element", "pattern", "resource", "applies"),
    [
        ("Allow", "Resource", "arn:aws:s:r:0:a*c", "arn:aws:s:r:0:a:c", False),
        ("Allow", "Resource", "arn:aws:s:r:0:a*", "arn:aws:s:r:0:a:c", True),
        ("Allow", "Resource", "arn:aws:s:*:0:c", "arn:aws:s:r:x:0:c", True),
        ("Allow", "Resource", "arn:aws:s:r:0:a?c", "arn:aws:s:r:0:a:c", False),
        ("Deny", "Resource", "arn:aws:s:r:0:a*c", "arn:aws:s:r:0:a:c", True),
        ("Deny", "Resource", "arn:aws:s:r:0:a?c", "arn:aws:s:r:0:a:c", True),
        ("Allow", "NotResource", "arn:aws:s:r:0:a*c", "arn:aws:s:r:0:a:c", False),
        ("Deny", "NotResource", "arn:aws:s:r:0:a*c", "arn:aws:s:r:0:a:c", True),
    ],
)
def test_where_colons_leave_a_doubt_less_is_allowed(
    effect: str, element: str, pattern: str, resource: str, applies: bool
) -> None:
    given = document(Effect=effect, **{"Resource": None, element: pattern})
    wanted = {"Allow": "allow", "Deny": "explicit deny"}[effect] if applies else "implicit deny"
    assert says(given, resource=resource) == wanted


def test_actions_are_compared_without_case_and_resources_with() -> None:
    assert says(document(Action="FIREHOSE:put*")) == "allow"
    assert says(document(Resource=ARN.upper().replace("ARN:", "arn:"))) == "implicit deny"


def test_the_statement_that_decided_is_named() -> None:
    first = Policy.parse({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "a:b", "Resource": "*"},
        {"Sid": "Mine", "Effect": "Allow", "Action": "a:*", "Resource": "*"},
    ]})  # fmt: skip
    found = decide(
        [("x", NOTHING.parse({"Statement": []})), ("y", first)], action="a:c", resource="*", context={}
    )
    assert (found.allowed, found.explicit, found.statement) == (True, False, "y: Mine")
    assert decide([("y", first)], action="a:b", resource="*", context={}).statement == "y: statement 1"
    denied = decide([("y", first), ("z", NOTHING)], action="a:b", resource="*", context={})
    assert (denied.allowed, denied.explicit, denied.statement) == (False, True, "z: unreadable")


STATEMENT = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def changed(**fields: Any) -> dict[str, Any]:
    return document(**fields)


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ([], "policy"),
        ("x", "policy"),
        ({"Statement": float("nan")}, "policy"),
        ({"Statement": "x" * MOST_BYTES}, "policy"),
        ({"Statement": "\ud800"}, "policy"),
        ({"Version": "2012-10-17"}, "Statement"),
        ({"Version": "2020-01-01", "Statement": []}, "Version"),
        ({"Id": 3, "Statement": []}, "Id"),
        ({"Statement": [], "Principal": "*"}, "Principal"),
        ({"Statement": "x"}, "Statement"),
        ({"Statement": [STATEMENT, 3]}, "Statement[1]"),
        (changed(Principal="*"), "Statement.Principal"),
        (changed(Effect="allow"), "Statement.Effect"),
        (changed(Effect=None), "Statement.Effect"),
        (changed(Sid=3), "Statement.Sid"),
        (changed(NotAction="*"), "Statement"),
        (changed(Action=None), "Statement"),
        (changed(Resource=None), "Statement"),
        (changed(Action=[]), "Statement.Action"),
        (changed(Action=["s:Get", 3]), "Statement.Action"),
        (changed(Action="Get"), "Statement.Action"),
        (changed(Action="s:Get Put"), "Statement.Action"),
        (changed(Resource="air"), "Statement.Resource"),
        (changed(Resource="arn:aws:${aws:username"), "Statement.Resource"),
        (changed(Resource="arn:aws:${username}"), "Statement.Resource"),
        (changed(Resource="arn:" + "a" * 2048), "Statement.Resource"),
        (changed(Condition=[]), "Statement.Condition"),
        (changed(Condition={}), "Statement.Condition"),
        (changed(Condition={"StringEquals": {}}), "Statement.Condition.StringEquals"),
        (changed(Condition={"StringEquals": {"": "x"}}), "Statement.Condition.StringEquals"),
        (changed(Condition={"StringEquals": {"k": []}}), "Statement.Condition.StringEquals.k"),
        (changed(Condition={"StringEquals": {"k": None}}), "Statement.Condition.StringEquals.k"),
        (changed(Condition={"StringEquals": {"k": {"a": 1}}}), "Statement.Condition.StringEquals.k"),
        (changed(Condition={"StringMatches": {"k": "x"}}), "Statement.Condition.StringMatches.k"),
        (changed(Condition={"BinaryEquals": {"k": "x"}}), "Statement.Condition.BinaryEquals.k"),
        (changed(Condition={"NullIfExists": {"k": "true"}}), "Statement.Condition.NullIfExists.k"),
        (changed(Condition={"ForNoValues:StringEquals": {"k": "x"}}), "Statement.Condition.ForNoValues:StringEquals.k"),
        (changed(Condition={"NumericEquals": {"k": "one"}}), "Statement.Condition.NumericEquals.k"),
        (changed(Condition={"NumericEquals": {"k": "Infinity"}}), "Statement.Condition.NumericEquals.k"),
        (changed(Condition={"DateEquals": {"k": "soon"}}), "Statement.Condition.DateEquals.k"),
        (changed(Condition={"Bool": {"k": "yes"}}), "Statement.Condition.Bool.k"),
        (changed(Condition={"Null": {"k": ["true", "false"]}}), "Statement.Condition.Null.k"),
        (changed(Condition={"IpAddress": {"k": "10.0.0.0/40"}}), "Statement.Condition.IpAddress.k"),
        (changed(Condition={"ArnLike": {"k": "air"}}), "Statement.Condition.ArnLike.k"),
    ],
)  # fmt: skip
def test_what_is_no_policy_is_refused_by_its_path(given: Any, path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Policy.parse(given)
    assert caught.value.field == path
    assert caught.value.message.startswith(f"{path}: ")


def test_a_nested_bomb_is_no_policy() -> None:
    bomb: Any = "x"
    for _ in range(5000):
        bomb = [bomb]
    with pytest.raises(InvalidInput, match="policy"):
        Policy.parse({"Statement": bomb})


def test_an_operator_of_another_version_denies_and_does_not_allow() -> None:
    for effect, word in (("Allow", "implicit deny"), ("Deny", "explicit deny")):
        stored = Policy.stored(document(Effect=effect, Condition={"StringSounds": {"k": "x"}}))
        assert decide([("p", stored)], action="a:b", resource="*", context={"k": "x"}).word == word


def test_what_is_probably_not_meant_is_told_with_the_nearest_name() -> None:
    given = document(
        Action=["lookoutmetrics:CreateAlarm", "firehose:Putt*", "iot:Publish", "*"],
        Condition={"StringEquals": {"aws:SourceIP4": "x", "aws:RequestTag/site": "y"}},
    )
    assert Policy.parse(given).warnings == (
        "Statement: no action is called lookoutmetrics:createalarm; the nearest is lookoutmetrics:CreateAlert",
        "Statement: no action is matched by firehose:putt*; the nearest is firehose:PutRecord",
        "Statement: no request has the key aws:sourceip4; the nearest is aws:SourceIp",
    )
    old = {**document(Resource="arn:aws:s:::${aws:username}"), "Version": "2008-10-17"}
    assert "2008-10-17" in Policy.parse(old).warnings[0]
    many = document(Action=[f"x:Y{number}" for number in range(500)])
    assert len(Policy.parse(many).warnings) == 20


def test_nobody_can_change_a_policy_that_was_read() -> None:
    given = document(Effect="Deny")
    read = Policy.parse(given)
    given["Statement"]["Effect"] = "Allow"
    assert read.document["Statement"]["Effect"] == "Deny"


ENDPOINT = "arn:aws:sagemaker:us-east-1:000000000000:endpoint/air"


@pytest.mark.parametrize(
    ("name", "allowed", "refused"),
    [
        ("admin", ["iot:Publish", "masthead:CreateKey", "private-networks:Ping"], []),
        (
            "read-only",
            [
                "lookoutmetrics:ListAlerts",
                "firehose:DescribeDeliveryStream",
                "masthead:ListKeys",
                "masthead:ExplainTransaction",
            ],
            ["lookoutmetrics:CreateAlert", "sagemaker:InvokeEndpoint", "masthead:CreateKey", "iot:Publish"],
        ),
        (
            "metrics",
            ["lookoutmetrics:CreateAlert", "lookoutmetrics:TagResource", "masthead:TestDetector"],
            ["firehose:PutRecord", "masthead:CreateKey", "masthead:WriteBackup", "iot:CreateThing"],
        ),
        ("network", ["private-networks:Ping"], ["lookoutmetrics:ListAlerts", "masthead:CreateKey"]),
        ("ingest", ["firehose:PutRecordBatch", "iot:Publish"], ["firehose:CreateDeliveryStream"]),
        (
            "invoke",
            ["sagemaker:InvokeEndpoint"],
            ["sagemaker:InvokeEndpointAsync", "sagemaker:ListEndpoints"],
        ),
    ],
)
def test_the_shipped_policies_allow_what_their_names_say(
    name: str, allowed: list[str], refused: list[str]
) -> None:
    given = dict(SHIPPED[name])
    assert Policy.parse(given).warnings == ()
    for action in allowed:
        assert says(given, action=action, resource=ENDPOINT) == "allow", action
    for action in refused:
        assert says(given, action=action, resource=ENDPOINT) == "implicit deny", action


def test_a_long_pattern_against_a_long_name_ends_soon() -> None:
    pattern = compile_pattern("arn:" + "*a" * 500 + "b", "", loose=False)
    assert pattern.match("arn:" + "a" * 2000, lambda _: None) is False
    wild = compile_pattern("*:" + "*a?" * 100 + "b", "", loose=False)
    assert wild.match(":" + "a:" * 500, lambda _: None) is False
