"""The laws of policies, and agreement with a second evaluator that knows nothing of the first."""

import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from policy_sets import Request, Universe, matches

from masthead.access.policy import Policy, decide
from masthead.access.wildcards import compile_pattern
from masthead.base.errors import InvalidInput

FEW, MANY = 50, 10_000
ACTIONS = ["s:Get", "s:Put", "s:PutAll", "t:Get"]
RESOURCES = [
    "arn:aws:s:r:0:a:b",
    "arn:aws:s:r:0:a:x:b",
    "arn:aws:s::0:a/b",
    "arn:aws:t:r:0:ab",
    "arn:aws:s:r:0:ann/a",
    "arn:aws:s:r:0:*/a",
]
CONTEXTS: list[tuple[tuple[str, tuple[str, ...]], ...]] = [
    (),
    (("aws:username", ("ann",)), ("k", ("a",))),
    (("aws:username", ("*",)), ("k", ("b", "ab"))),
    (("aws:username", ("ann", "bob")), ("K", ("a*",))),
]
REQUESTS = [
    Request(action, resource, context) for action in ACTIONS for resource in RESOURCES for context in CONTEXTS
]
UNIVERSE = Universe(REQUESTS)


ACTION_PATTERNS = [*ACTIONS, "*", "s:*", "S:get", "s:P?t", "s:Put*", "t:*t", "s:*A*", "x:Get"]
RESOURCE_PATTERNS = [
    *[
        "*",
        "*",
        "arn:*",
        "arn:aws:s:*:0:a*b",
        "arn:aws:?:r:*",
        "arn:aws:s:r:0:*",
        "arn:aws:s:r:0:${aws:username}/*",
    ],
    *RESOURCES[:-1],
]
OPERATORS = ["StringEquals", "StringNotEquals", "StringLike", "StringNotLike"]
chances = st.randoms(use_true_random=True)
"""Documents are drawn by a seeded generator, a hundred times as fast as by strategies; a failure tells its seed."""


def one_or_list(chance: random.Random, values: list[str]) -> Any:
    return chance.choice(values) if chance.random() < 0.5 else chance.choices(values, k=chance.randint(1, 3))


def resource_pattern(chance: random.Random) -> str:
    if chance.random() < 0.7:
        return chance.choice(RESOURCE_PATTERNS)
    return "arn:aws:" + "".join(chance.choices("ab*?:/rs0", k=chance.randint(0, 12)))


def condition(chance: random.Random) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(chance.choice([0, 0, 0, 1, 1, 2])):
        name = chance.choice(OPERATORS) + chance.choice(["", "IfExists"])
        keys = chance.choice([["k"], ["aws:Username"], ["k", "aws:Username"]])
        found[name] = {key: one_or_list(chance, ["a", "a*", "?", "ann"]) for key in keys}
    if chance.random() < 0.1:
        found["Null"] = {"k": chance.choice(["true", "false"])}
    return found


def statement(chance: random.Random, effect: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {"Effect": effect or chance.choice(["Allow", "Deny"])}
    found[chance.choice(["Action", "Action", "NotAction"])] = one_or_list(chance, ACTION_PATTERNS)
    patterns = [resource_pattern(chance) for _ in range(3)]
    found[chance.choice(["Resource", "Resource", "NotResource"])] = one_or_list(chance, patterns)
    wanted = condition(chance)
    return {**found, "Condition": wanted} if wanted else found


def document(given: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": given}


def policy(chance: random.Random) -> dict[str, Any]:
    return document([statement(chance) for _ in range(chance.randint(0, 4))])


def said(documents: list[dict[str, Any]], one: Request) -> str:
    parsed = [(str(number), Policy.parse(given)) for number, given in enumerate(documents)]
    context = dict(one.context)
    return decide(parsed, action=one.action, resource=one.resource, context=context).word


def law(*drawn: Any) -> Any:
    """Run a property on few examples, and at full size on 10,000."""

    def decorate(test: Any) -> Any:
        @pytest.mark.parametrize(
            "examples",
            [pytest.param(FEW, id="few"), pytest.param(MANY, id="10,000", marks=pytest.mark.big)],
        )
        def run(examples: int) -> None:
            quiet = [HealthCheck.too_slow, HealthCheck.data_too_large]
            sized = settings(max_examples=examples, deadline=None, database=None, suppress_health_check=quiet)
            sized(given(*drawn)(test))()

        run.__name__, run.__doc__ = test.__name__, test.__doc__
        return run

    return decorate


@law(chances)
def test_both_evaluators_say_the_same(chance: random.Random) -> None:
    documents = [policy(chance) for _ in range(chance.randint(0, 3))]
    wanted = UNIVERSE.decisions(documents)
    parsed = [(str(number), Policy.parse(one)) for number, one in enumerate(documents)]
    found = [
        decide(parsed, action=one.action, resource=one.resource, context=dict(one.context)).word
        for one in REQUESTS
    ]
    assert found == wanted


@law(chances)
def test_another_deny_never_widens(chance: random.Random) -> None:
    before, one = policy(chance), chance.choice(REQUESTS)
    after = said([document([*before["Statement"], statement(chance, "Deny")])], one)
    assert after != "allow" or said([before], one) == "allow"


@law(chances)
def test_another_allow_never_narrows(chance: random.Random) -> None:
    given_one, one = policy(chance), chance.choice(REQUESTS)
    before = said([given_one], one)
    after = said([document([*given_one["Statement"], statement(chance, "Allow")])], one)
    assert after == before or (before, after) == ("implicit deny", "allow")


@law(chances)
def test_order_and_repetition_are_irrelevant(chance: random.Random) -> None:
    documents, one = [policy(chance) for _ in range(chance.randint(1, 3))], chance.choice(REQUESTS)
    mixed = [document([*given["Statement"], *given["Statement"][:1]]) for given in documents]
    for changed in mixed:
        chance.shuffle(changed["Statement"])
    chance.shuffle(mixed)
    assert said(mixed, one) == said(documents, one)
    assert said([*documents, *documents], one) == said(documents, one)


@law(chances)
def test_one_element_is_a_list_of_one(chance: random.Random) -> None:
    given_one, one = statement(chance), chance.choice(REQUESTS)
    plain = {
        name: value[0] if isinstance(value, list) and len(value) == 1 else value
        for name, value in given_one.items()
    }
    as_list = {
        name: [value]
        if name.removeprefix("Not") in ("Action", "Resource") and isinstance(value, str)
        else value
        for name, value in given_one.items()
    }
    alone = {"Version": "2012-10-17", "Statement": plain}
    assert said([alone], one) == said([document([plain])], one) == said([document([as_list])], one)


@law(chances)
def test_not_action_is_the_complement_of_action(chance: random.Random) -> None:
    names, one = one_or_list(chance, ACTION_PATTERNS), chance.choice(REQUESTS)
    rest = {"Effect": "Allow", "Resource": "*"}
    plain, negated = ({**rest, word: names} for word in ("Action", "NotAction"))
    assert {said([document([plain])], one), said([document([negated])], one)} == {"allow", "implicit deny"}


@law(chances)
def test_an_empty_policy_adds_nothing_and_alone_denies(chance: random.Random) -> None:
    documents, one = [policy(chance) for _ in range(chance.randint(0, 2))], chance.choice(REQUESTS)
    assert said([*documents, document([])], one) == said(documents, one)
    assert said([document([])], one) == said([], one) == "implicit deny"


@law(chances)
def test_a_document_survives_json(chance: random.Random) -> None:
    given_one, one = policy(chance), chance.choice(REQUESTS)
    kept = Policy.parse(given_one).document
    assert kept == given_one
    assert said([json.loads(json.dumps(kept))], one) == said([given_one], one)


@law(st.text(alphabet="ab*?:", max_size=12), st.text(alphabet="ab:", max_size=14), st.booleans())
def test_a_wildcard_match_equals_the_table_of_prefixes(pattern: str, text: str, loose: bool) -> None:
    found = compile_pattern(pattern, "", loose=loose).match(text, lambda _: None)
    assert found == matches(pattern, text, loose=loose)


@law(st.text(alphabet="ab*?:", max_size=12), st.text(alphabet="ab:", max_size=14))
def test_a_strict_match_is_a_loose_one_too(pattern: str, text: str) -> None:
    strict, loose = (
        compile_pattern(pattern, "", loose=one).match(text, lambda _: None) for one in (False, True)
    )
    assert loose or not strict


@law(st.text(max_size=6), st.text(alphabet="ab*?:${}", max_size=6))
def test_the_value_of_a_variable_is_literal(before: str, value: str) -> None:
    literal = before.replace("*", "a").replace("?", "a").replace("$", "a")
    pattern = compile_pattern(literal + "${aws:username}", "", variables=True)
    assert pattern.match(literal + value, lambda _: value) is True
    assert pattern.match(literal + value + "a", lambda _: value) is False


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["Version", "Statement", "Effect", "Action", "Resource", "Condition", "StringLike", "Sid"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(json_values | st.lists(json_values, max_size=3).map(lambda found: {"Statement": found}))
def test_any_json_is_a_policy_or_refused_with_its_path(value: Any) -> None:
    refused: list[str | None] = []
    try:
        Policy.parse(value)
    except InvalidInput as error:
        refused.append(error.field)
    assert all(refused)
