"""Every shape of the four models: what may be sent is read as it was meant, what may not is refused by its field."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shape_values import values

from masthead.aws.models import load_models
from masthead.aws.shapes import MOST_PROBLEMS, Problems, Shape

MODELS = load_models()
NUMBERS = ("integer", "long", "double", "float")
DRAWN = settings(
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)


def of_each_shape(check: Callable[[Shape], None]) -> Callable[[str], None]:
    """Return a test for each model that asks `check` of each of its shapes."""

    def of_model(service: str) -> None:
        for shape in MODELS[service].shapes.values():
            if not shape.event_stream:
                check(shape)

    of_model.__name__ = check.__name__
    return pytest.mark.parametrize("service", MODELS)(of_model)


def problems_of(shape: Shape, value: Any) -> list[str]:
    problems = Problems()
    shape.read(value, "it", problems)
    return [f"{one.path}: {one.expected}" for one in problems]


@of_each_shape
def test_what_was_written_is_read_again(shape: Shape) -> None:
    if shape.kind not in ("structure", "list"):
        _round_trip(shape, 2)


@pytest.mark.parametrize("examples", [1, pytest.param(50, marks=pytest.mark.big)])
@pytest.mark.parametrize("service", MODELS)
def test_whole_structures_that_were_written_are_read_again(service: str, examples: int) -> None:
    for shape in MODELS[service].shapes.values():
        if not shape.event_stream:
            _whole_round_trip(shape, examples)


def _whole_round_trip(shape: Shape, examples: int) -> None:
    """Read a structure that was written; those with members outside the document stand in test_protocol.py."""
    if not any(member.location or name == shape.payload for name, member in shape.members.items()):
        _round_trip(shape, examples)


def _round_trip(shape: Shape, examples: int) -> None:
    @settings(DRAWN, max_examples=examples)
    @given(values(shape))
    def check(value: Any) -> None:
        wire = json.loads(json.dumps(shape.write(value)))
        problems = Problems()
        assert shape.read(wire, "it", problems) == value, shape.name
        assert problems == [], shape.name

    check()


@of_each_shape
def test_a_value_of_another_type_is_refused(shape: Shape) -> None:
    right = {
        "structure": dict,
        "map": dict,
        "list": list,
        "string": str,
        "blob": str,
        "boolean": bool,
        "timestamp": str if shape.iso else int,
        **dict.fromkeys(NUMBERS, int),
    }[shape.kind]
    for wrong in (True, 7, 1.5, "no", [], {}, float("nan"), float("inf"), 10**400, "\x00", "\ud800"):
        number = shape.kind in ("double", "float", "timestamp") and isinstance(wrong, float) and wrong == 1.5
        if type(wrong) is not right and not number:
            assert problems_of(shape, wrong), wrong


@of_each_shape
def test_one_beyond_each_bound_is_refused(shape: Shape) -> None:
    beyond = []
    if shape.least is not None and (shape.least > 0 or shape.kind in NUMBERS):
        beyond.append(int(shape.least) - 1)
    if shape.most is not None:
        beyond.append(int(shape.most) + 1)
    made = {
        "string": lambda size: "a" * size,
        "blob": lambda size: "AAAA" * (size // 3 + 1),
        "list": lambda size: [None] * size,
        "map": lambda size: {str(index): "a" for index in range(size)},
    }.get(shape.kind, lambda size: size)
    for size in beyond:
        told = problems_of(shape, made(size))
        assert told, size
        if shape.kind in ("string", "list", "map"):
            assert f"got {size}" in told[0]


@of_each_shape
def test_what_is_required_and_absent_is_named(shape: Shape) -> None:
    documents = {member.name for member in shape.documents}
    if shape.kind == "structure" and not shape.opaque:
        absent = [f"it.{name}: is required" for name in shape.required]
        assert [one for one in problems_of(shape, {}) if "required" in one] == absent[:MOST_PROBLEMS]
        nulls = {member.wire: None for member in shape.documents}
        assert problems_of(shape, nulls) == problems_of(shape, {})
        assert documents <= set(shape.members)


@of_each_shape
def test_a_word_outside_an_enum_is_refused(shape: Shape) -> None:
    for choice in shape.choices:
        assert problems_of(shape, choice) == []
        assert problems_of(shape, choice.swapcase())
    if shape.choices:
        assert problems_of(shape, "NO_SUCH_WORD")[0].startswith("it: expected one of ")


@of_each_shape
def test_what_a_sensitive_shape_holds_is_never_told(shape: Shape) -> None:
    secret = "s3cret-\u00e9\x01"
    for value in (
        secret,
        secret * 5000,
        [secret],
        {secret: secret},
        {secret: [secret]},
        7731,
        {"Bytes": secret},
    ):
        for told in problems_of(shape, value) if shape.sensitive else ():
            assert "s3cret" not in told
            assert "7731" not in told


def test_sensitivity_reaches_what_is_inside() -> None:
    """An address is sensitive in its parts, tags of a private network in names and values."""
    tags = MODELS["privatenetworks"].shapes["TagMap"]
    assert tags.sensitive
    assert problems_of(tags, {"aws:s3cret": "x"}) == [
        "it.key: expected text that matches ^(?!aws:)[^\\x00-\\x1f\\x22]+$"
    ]
    assert problems_of(tags, {"s3cret": 'a"b'}) == [
        "it.value: expected text that matches ^[^\\x00-\\x1f\\x22]*$"
    ]


def test_no_more_than_twenty_problems_are_collected() -> None:
    shape = MODELS["firehose"].shapes["TagDeliveryStreamInputTagList"]
    assert len(problems_of(shape, [{"Key": 1}] * 50)) == MOST_PROBLEMS


def test_a_message_names_field_value_and_domain() -> None:
    shape = MODELS["lookoutmetrics"].shapes["CreateAnomalyDetectorRequest"]
    given = {
        "AnomalyDetectorName": "has space",
        "AnomalyDetectorConfig": {"AnomalyDetectorFrequency": "PT7M"},
        "KmsKeyArn": "arn",
    }
    problems = Problems()
    shape.read(given, "", problems)
    assert problems.told() == (
        "AnomalyDetectorName: expected text that matches ^[a-zA-Z0-9][a-zA-Z0-9\\-_]*, got 'has space'; "
        "AnomalyDetectorConfig.AnomalyDetectorFrequency: expected one of P1D, PT10M, PT1H, PT5M, got 'PT7M'; "
        "KmsKeyArn: expected 20 to 2048 characters, got 3"
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_not_finite_is_never_written(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        MODELS["lookoutmetrics"].shapes["Score"].write(value)


def test_unreal_times_and_texts_are_refused() -> None:
    epoch = MODELS["lookoutmetrics"].shapes["Timestamp"]
    for wrong in (1e18, -1e18, 10**400, float("nan"), "2026-01-01T00:00:00Z", True):
        assert problems_of(epoch, wrong), wrong
    iso = MODELS["privatenetworks"].shapes["Timestamp"]
    assert problems_of(iso, "2026-11-23T18:00:00Z") == []
    for wrong in (
        "2026-11-23",
        "2026-11-23T18:00:00",
        "0001-01-01T00:00:00+23:00",
        "2026-13-01T00:00:00Z",
        5,
    ):
        assert problems_of(iso, wrong), wrong


@given(st.recursive(st.none(), lambda inner: st.lists(inner, min_size=1, max_size=1), max_leaves=3))
@settings(max_examples=5, deadline=None, database=None, derandomize=True)
def test_json_without_a_shape_is_taken_when_it_is_shallow(value: Any) -> None:
    opaque = MODELS["firehose"].shapes["SplunkDestinationConfiguration"]
    assert problems_of(opaque, {"x": value}) == []


def test_json_without_a_shape_is_bounded() -> None:
    opaque = MODELS["firehose"].shapes["SplunkDestinationConfiguration"]
    deep: Any = 1
    for _ in range(500):
        deep = [deep]
    for wrong in (deep, float("inf"), "\x00", {"\ud800": 1}):
        assert problems_of(opaque, {"x": wrong}) == ["it: expected JSON of text and finite numbers"]
