"""Topic rules: what each part of the language means, and where a mistake is."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from masthead.base.errors import InvalidInput
from masthead.streams.rules import MAX_DEPTH, parse_rule
from masthead.streams.topics import check_readings, compile_filter
from masthead.streams.values import Message

MESSAGE = Message("air/b-101/gas", "b-101", 1_648_164_600.5, 7, 3)
PAYLOAD: dict[str, Any] = {
    "CO": 4.8,
    "n": 3,
    "s": "Abc",
    "digits": "12",
    "yes": True,
    "nothing": None,
    "list": [1, 2, {"deep": "x"}],
    "room": {"name": "hall", "end": 9},
    "odd name": 1,
}


def value_of(expression: str) -> Any:
    result = parse_rule(f"SELECT {expression} AS v FROM '#'").select(PAYLOAD, MESSAGE)
    assert result is not None
    return result.get("v", "undefined")


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("CO", 4.8),
        ("room.name", "hall"),
        ("room.end", 9),
        ("list[2].deep", "x"),
        ("list[9]", "undefined"),
        ("none.where[0]", "undefined"),
        ('"odd name"', 1),
        ("'it''s'", "it's"),
        ("1 + 2 * 3 - 4 / 2", 5),
        ("(1 + 2) * 3", 9),
        ("7 / 2", 3.5),
        ("-7 % 3", -1),
        ("1 / 0", "undefined"),
        ("5.5 % 0", "undefined"),
        ("- -n", 3),
        ("n + nothing", "undefined"),
        ("n + missing", "undefined"),
        ("digits + 1", "121"),
        ("digits * 2", 24),
        ("s + n", "Abc3"),
        ("n = 3", True),
        ("n = '3'", True),
        ("n <> 3.0", False),
        ("s = 'abc'", False),
        ("s < 'B'", True),
        ("digits > 9", True),
        ("nothing = null", True),
        ("yes = 1", False),
        ("missing = 1", "undefined"),
        ("missing <> 1", "undefined"),
        ("s > 1", "undefined"),
        ("list > 1", "undefined"),
        ("n = 3 AND CO > 4", True),
        ("n = 4 OR CO > 4", True),
        ("missing = 1 OR yes", True),
        ("missing = 1 AND yes", "undefined"),
        ("missing = 1 AND false", False),
        ("NOT yes", False),
        ("NOT NOT yes", True),
        ("NOT missing", "undefined"),
        ("n IN (1, 2, 3)", True),
        ("n NOT IN (1, 2, 3)", False),
        ("n IN (3)", True),
        ("2 IN list", True),
        ("2 IN (list)", True),
        ("2 IN [1, 2]", True),
        ("2 IN n", "undefined"),
        ("missing IN (1)", "undefined"),
        ("CASE WHEN n > 2 THEN 'many' ELSE 'few' END", "many"),
        ("CASE n WHEN 1 THEN 'one' WHEN 3 THEN 'three' END", "three"),
        ("CASE WHEN n > 9 THEN 'many' END", "undefined"),
        ("topic()", "air/b-101/gas"),
        ("topic(2)", "b-101"),
        ("topic(9)", "undefined"),
        ("timestamp()", 1_648_164_600_500),
        ("clientid()", "b-101"),
        ("upper(s)", "ABC"),
        ("lower(s)", "abc"),
        ("length(s)", 3),
        ("concat(s, '-', n, yes)", "Abc-3true"),
        ("substring(s, 1)", "bc"),
        ("substring(s, 0, 2)", "Ab"),
        ("substring(s, -5, 1)", "A"),
        ("abs(-CO)", 4.8),
        ("round(2.5)", 3),
        ("round(-2.5)", -2),
        ("floor(CO)", 4),
        ("ceil(CO)", 5),
        ("sqrt(16)", 4),
        ("sqrt(-1)", "undefined"),
        ("power(2, 10)", 1024),
        ("power(10, 1000)", "undefined"),
        ("cast('4.5' AS Decimal)", 4.5),
        ("cast(CO AS Int)", 4),
        ("cast(n AS String)", "3"),
        ("cast('TRUE' AS Boolean)", True),
        ("cast(yes AS Int)", 1),
        ("cast(s AS Int)", "undefined"),
        ("isNull(nothing)", True),
        ("isUndefined(missing)", True),
        ("isUndefined(nothing)", False),
        ("regexp_matches(s, 'b.$')", True),
        ("regexp_matches(list, 'b')", "undefined"),
        ("true", True),
        ("null", None),
        ("1e400", None),
    ],
)
def test_an_expression_has_the_value_that_the_language_gives_it(expression: str, expected: Any) -> None:
    if expression == "1e400":
        with pytest.raises(InvalidInput, match="64 bits"):
            value_of(expression)
        return
    found = value_of(expression)
    assert (found, type(found)) == (expected, type(expected)) or found == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT value, type FROM '#'", {}),
        ("SELECT * FROM '#'", {"a": 1, "b": {"c": 2}}),
        ("select *, topic(1) as t from '#'", {"a": 1, "b": {"c": 2}, "t": "air"}),
        ("SELECT a, b.c, missing FROM 'air/+/gas'", {"a": 1, "c": 2}),
        ("SELECT *, a + 1 AS a FROM '#'", {"a": 2, "b": {"c": 2}}),
        ("SELECT upper('x') FROM '#'", {"upper": "X"}),
        ("SELECT a FROM '#' WHERE a = 1", {"a": 1}),
        ("SELECT a FROM '#' WHERE a = 2", None),
        ("SELECT a FROM '#' WHERE missing", None),
        ("SELECT a FROM '#' WHERE a", None),
    ],
)
def test_a_statement_selects(sql: str, expected: dict[str, Any] | None) -> None:
    payload = {"a": 1, "b": {"c": 2}}
    assert parse_rule(sql).select(payload, MESSAGE) == expected
    assert payload == {"a": 1, "b": {"c": 2}}


@pytest.mark.parametrize(
    ("sql", "place", "part"),
    [
        ("", None, "SELECT"),
        ("INSERT INTO x", 1, "SELECT"),
        ("SELECT FROM 'a'", 8, "a value"),
        ("SELECT * FROM air", 15, "single quotes"),
        ("SELECT * FROM 'air/#/x'", 15, "last one"),
        ("SELECT * FROM 'a' WHERE", 24, "a value"),
        ("SELECT * FROM 'a' WHERE a = ", 29, "a value"),
        ("SELECT * FROM 'a' GROUP BY b", 19, "the end"),
        ("SELECT a + 1 FROM 'a'", 8, "AS"),
        ("SELECT a AS 1 FROM 'a'", 13, "name after AS"),
        ("SELECT * FROM 'a' -- note", 19, "comments"),
        ("SELECT /* x */ * FROM 'a'", 8, "comments"),
        ("SELECT (SELECT 1) AS x FROM 'a'", 9, "SELECT inside"),
        ("SELECT sin(1) FROM 'a'", 8, "a function"),
        ("SELECT abs(1, 2) FROM 'a'", 8, "1 to 1 arguments"),
        ("SELECT topic(0) FROM 'a'", 14, "level"),
        ("SELECT timestamp(1) FROM 'a'", 8, "no arguments"),
        ("SELECT a[-1] FROM 'a'", 10, "an index"),
        ("SELECT a. FROM 'a'", 11, "after '.'"),
        ("SELECT cast(a AS Date) FROM 'a'", 18, "Boolean"),
        ("SELECT a FROM 'a' WHERE 1 < 2 < 3", 31, "AND or OR"),
        ("SELECT a FROM 'a' WHERE 'open", 25, "'text'"),
        ("SELECT a FROM 'a' WHERE a ; b", 27, "operator"),
        ("SELECT regexp_matches(a, '(') AS r FROM 'a'", 26, "regular"),
        ("SELECT regexp_matches(a, b) AS r FROM 'a'", 8, "'pattern'"),
        ("SELECT CASE a END AS r FROM 'a'", 15, "WHEN"),
    ],
)
def test_a_mistake_is_refused_with_its_place(sql: str, place: int | None, part: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_rule(sql)
    assert refusal.value.field == "sql"
    assert part in refusal.value.message
    assert place is None or f"place {place}" in refusal.value.message


def test_a_new_uuid_is_the_same_at_a_replay_and_another_elsewhere() -> None:
    rule = parse_rule("SELECT newuuid() AS a, newuuid() AS b FROM '#'")
    first, again = rule.select({}, MESSAGE), rule.select({}, MESSAGE)
    other = rule.select({}, Message("air/b-101/gas", "b-101", MESSAGE.arrived, 7, 4))
    assert first == again
    assert first is not None
    assert other is not None
    assert len({*first.values(), *other.values()}) == 4


@pytest.mark.parametrize("opening", ["(", "CASE WHEN ", "abs(", "1 IN (", "cast("])
def test_nesting_is_bounded(opening: str) -> None:
    with pytest.raises(InvalidInput, match=f"at most {MAX_DEPTH} nested"):
        parse_rule(f"SELECT {opening * 300} 1")


@pytest.mark.parametrize("chain", [" AND 1", " OR 1", "+1", "*1", "-1"])
def test_a_long_chain_needs_no_depth(chain: str) -> None:
    rule = parse_rule(f"SELECT 1{chain * 1500} AS v FROM '#'")
    assert rule.select({}, MESSAGE) is not None


@pytest.mark.parametrize("prefix", ["NOT ", "- "])
def test_repeated_signs_need_no_depth(prefix: str) -> None:
    assert parse_rule(f"SELECT {prefix * 2000}1 AS v FROM '#'").select({}, MESSAGE) is not None


WORDS = [
    *[
        "SELECT",
        "FROM",
        "WHERE",
        "AS",
        "AND",
        "OR",
        "NOT",
        "IN",
        "CASE",
        "WHEN",
        "THEN",
        "ELSE",
        "END",
        "true",
        "null",
        "a",
        "b.c",
        "a[0]",
        "1",
        "2.5",
        "'x'",
        "'a/#'",
        "*",
        "+",
        "-",
        "/",
        "%",
    ],
    *[
        "(",
        ")",
        ",",
        "=",
        "<>",
        "<=",
        "abs(",
        "topic(",
        "cast(",
        "regexp_matches(",
        "newuuid()",
        "[",
        "]",
        ".",
        '"',
        "'",
        ";",
        "é",
    ],
]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join) | st.text(max_size=60))
@example("SELECT " + "9" * 5000 + " AS x FROM 'a'")
def test_random_text_is_parsed_or_refused(sql: str) -> None:
    for text in (sql, f"SELECT {sql} FROM 'a'", f"SELECT * FROM 'a' WHERE {sql}"):
        try:
            rule = parse_rule(text)
        except InvalidInput:
            continue
        rule.select(PAYLOAD, MESSAGE)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    json_values,
    json_values,
    st.sampled_from(["+", "-", "*", "/", "%", "=", "<>", "<", "<=", ">", ">=", "AND", "OR", "IN"]),
)
def test_every_operator_takes_every_value(left: Any, right: Any, operator: str) -> None:
    sql = f"SELECT (a {operator} b) AS v, concat(a, b) AS w, power(a, b) AS x, substring(a, b) AS y FROM '#'"
    for function in [
        "upper",
        "lower",
        "length",
        "abs",
        "round",
        "floor",
        "ceil",
        "sqrt",
        "isnull",
        "isundefined",
    ]:
        sql = sql.replace(" FROM", f", {function}(a) AS {function} FROM")
    for kind in ("String", "Int", "Decimal", "Boolean"):
        sql = sql.replace(" FROM", f", cast(a AS {kind}) AS {kind} FROM")
    assert parse_rule(sql).select({"a": left, "b": right}, MESSAGE) is not None


@pytest.mark.parametrize(
    ("text", "topic", "expected"),
    [
        ("a/b", "a/b", True),
        ("a/+", "a/b", True),
        ("a/+", "a/b/c", False),
        ("a/+", "a/", True),
        ("+/+", "/b", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("a.b", "axb", False),
        ("a/#", "a/x\ny", True),
    ],
)
def test_a_filter_takes_the_topics_that_mqtt_says(text: str, topic: str, expected: bool) -> None:
    assert compile_filter(text)(topic) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a+",
        "a/b#",
        "#/a",
        "a/#/b",
        "a/+b",
        "a\0",
        "a b",
        "a/*",
        "a/>",
        "$SYS/#",
        "\ud800",
        "x" * 70_000,
        5,
    ],
)
def test_a_filter_that_no_reading_can_match_is_refused(text: object) -> None:
    with pytest.raises(InvalidInput, match=r"source\.topic: expected"):
        check_readings(text, "source.topic")


@pytest.mark.parametrize("text", ["#", "+", "/air", "a//b", "a/", "a.b/$x", "a*/>b", "é/+/#"])
def test_a_filter_of_topics_that_things_may_publish_to_is_taken(text: str) -> None:
    assert check_readings(text) == text
