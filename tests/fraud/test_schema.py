"""A schema says what it was told, and what it cannot use it names with key, value and line."""

import re
from pathlib import Path

import pytest

from masthead.base.errors import InvalidInput
from masthead.fraud.data.schema import Relation, Schema

SMALL = """
name = "small"
hubs = ["kind"]
counterparties = ["card"]
numerics = ["C1-C3", "id_09-id_11"]
[transaction]
id = "no"
time = { column = "at", unit = "s", origin = "2017-12-01T00:00:00+01:00" }
[label]
delay = "36h"
[entities]
card = "card"
client = { columns = ["card", "opened"] }
kind = { columns = ["kind"], aggregate = false }
[derive]
opened = { op = "day_minus", column = "D1" }
"""


def test_a_schema_says_what_its_file_says() -> None:
    schema = Schema.parse(SMALL)
    assert schema.relations == (
        Relation("card", ("card",)),
        Relation("client", ("card", "opened")),
        Relation("kind", ("kind",), aggregate=False, hub=True),
    )
    assert schema.numerics == ("C1", "C2", "C3", "id_09", "id_10", "id_11")
    assert (schema.label_delay_us, schema.maturity_us) == (129_600_000_000, 5_184_000_000_000)
    assert schema.time.origin is not None
    assert schema.time.origin.isoformat() == "2017-11-30T23:00:00+00:00"
    assert schema.columns() == ("no", "at", "card", "D1", "kind", *schema.numerics)


@pytest.mark.parametrize("text", [SMALL, Schema.read("ieee-cis").to_toml()], ids=["small", "ieee-cis"])
def test_a_schema_that_is_written_reads_as_the_same(text: str) -> None:
    schema = Schema.parse(text)
    again = Schema.parse(schema.to_toml())
    assert again == schema
    assert again.digest() == schema.digest()


def test_schemas_that_mean_something_else_have_another_digest() -> None:
    assert Schema.parse(SMALL.replace('"36h"', '"37h"')).digest() != Schema.parse(SMALL).digest()


def test_the_built_in_schema_has_the_relations_of_the_article() -> None:
    schema = Schema.read("ieee-cis")
    assert len(schema.relations) == 51
    assert {"id_01", "id_11"} <= set(schema.numerics)
    assert len(schema.numerics) > 350


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "small"', 'nme = "small"', r"nme: expected one of name.*near: name.*line 2"),
        ('id = "no"', "", r"transaction\.id: expected a name, got None .*line 6"),
        ('unit = "s"', 'unit = "week"', r"transaction\.time\.unit: expected one of ns.*'week'.*line 8"),
        ("2017-12-01T00", "yesterday", r"transaction\.time\.origin: expected a moment"),
        ('"36h"', '"soon"', r"label\.delay: expected a number and us.*'soon'.*line 10"),
        ('hubs = ["kind"]', 'hubs = ["kin"]', r"hubs: expected names of \[entities\].*'kin'.*line 3"),
        ('"day_minus"', '"plus"', r"derive\.opened\.op: expected day_minus or lower, got 'plus'.*line 16"),
        ("false }", '"no" }', r"entities\.kind\.aggregate: expected true or false, got 'no'.*line 14"),
        ('card = "card"', "card = 7", r"entities\.card: expected a column"),
        ('numerics = ["C1-C3", "id_09-id_11"]', "numerics = 4", r"numerics: expected a list of texts, got 4"),
        ("[entities]", "[entities", r"schema: expected TOML"),
    ],
)
def test_a_schema_that_cannot_be_used_names_key_value_and_line(old: str, new: str, message: str) -> None:
    assert old in SMALL
    with pytest.raises(InvalidInput) as caught:
        Schema.parse(SMALL.replace(old, new))
    assert re.search(message, caught.value.message), caught.value.message


def test_a_schema_that_is_nowhere_is_no_schema(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="schema: expected a TOML file or ieee-cis"):
        Schema.read(tmp_path / "none.toml")
