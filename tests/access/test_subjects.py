"""Topics, subjects and patterns."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masthead.access.subjects import (
    covers,
    intersection,
    matches,
    patterns_for,
    subject_for,
    topic_for,
    without_covered,
)
from masthead.base.errors import InvalidInput

# What nats-server 2.15.1 was seen to do; tests/wire/test_mqtt.py asks it again.
SEEN = [
    ("x/y", "x.y"),
    ("x.y/z", "x//y.z"),
    ("/x", "/.x"),
    ("x/", "x./"),
    ("x//y", "x./.y"),
    ("//", "/././"),
    ("/", "/./"),
    ("x/./y", "x.//.y"),
    (".", "//"),
    ("x./y", "x//.y"),
    ("x/.y", "x.//y"),
    ("..", "////"),
    ("é/ü", "é.ü"),
    ("x/y//", "x.y././"),
]

levels = st.lists(st.text(st.sampled_from("ab.é$*>"), max_size=4), min_size=1, max_size=5)
tokens = st.sampled_from(["a", "b", "*"])
patterns = st.builds(
    lambda body, tail: ".".join([*body, *tail]),
    st.lists(tokens, min_size=1, max_size=4),
    st.sampled_from([[], [">"]]),
)
subjects = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=6).map(".".join)


@pytest.mark.parametrize(("topic", "subject"), SEEN)
def test_a_topic_becomes_the_subject_that_the_broker_uses(topic: str, subject: str) -> None:
    assert subject_for(topic) == subject
    assert topic_for(subject) == topic


@given(levels)
def test_every_topic_comes_back(parts: list[str]) -> None:
    topic = "/".join(parts)
    if topic:
        assert topic_for(subject_for(topic)) == topic


@pytest.mark.parametrize(
    "topic", ["", "a b", "a\tb", "a\r\nPING", "a/+", "a/#", "a\x00", "x" * 2000, "\ud800"]
)
def test_what_the_broker_could_not_carry_is_refused(topic: str) -> None:
    with pytest.raises(InvalidInput, match="topic: expected"):
        subject_for(topic)


def test_a_filter_with_a_last_wildcard_means_its_parent_too() -> None:
    assert patterns_for("a/#") == ("a", "a.>")
    assert patterns_for("#") == (">",)
    assert patterns_for("+/b") == ("*.b",)


@pytest.mark.parametrize("topic_filter", ["a+", "a/#/b", "#a", "a/>", "*/a"])
def test_a_wildcard_inside_a_level_is_no_filter(topic_filter: str) -> None:
    with pytest.raises(InvalidInput, match="filter: expected"):
        patterns_for(topic_filter)


@given(patterns, patterns, subjects)
def test_the_intersection_means_what_both_mean(one: str, other: str, subject: str) -> None:
    both = intersection(one, other)
    assert (both is not None and matches(both, subject)) == (
        matches(one, subject) and matches(other, subject)
    )


@given(patterns, patterns, subjects)
def test_a_pattern_that_covers_another_matches_whatever_the_other_does(
    wide: str, narrow: str, subject: str
) -> None:
    if covers(wide, narrow) and matches(narrow, subject):
        assert matches(wide, subject)


@given(st.lists(patterns, max_size=5), subjects)
def test_dropping_covered_patterns_changes_nothing(found: list[str], subject: str) -> None:
    kept = without_covered(found)
    assert any(matches(one, subject) for one in kept) == any(matches(one, subject) for one in found)
