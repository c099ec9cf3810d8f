"""What a label may say, and who may say it: one vocabulary for files, tables of an engine, messages and calls."""

from collections.abc import Callable
from pathlib import Path

import pytest
import small_fraud
from small_table import SCHEMA

from masthead.base.errors import InvalidInput
from masthead.fraud.data.canonical import FAULTS, Files, canonical, shape_of
from masthead.fraud.data.etl import Order, extract
from masthead.fraud.data.events import read_events, read_labels
from masthead.fraud.data.tables import match, read_names
from masthead.fraud.data.values import LABEL_SOURCES, VERDICTS, read_source, read_value, verdict_of
from masthead.fraud.live.graph_store import GraphStore
from masthead.store.engine import Database
from masthead.store.tables import connect

WORDS = {"fraud": 1, "true": 1, "1": 1, "legit": 0, "legitimate": 0, "false": 0, "0": 0}


def test_each_word_means_the_same_wherever_a_label_is_read() -> None:
    assert VERDICTS == WORDS
    for word, verdict in WORDS.items():
        for spelled in (word, word.upper(), f" {word} "):
            assert verdict_of(spelled) == read_value(spelled) == verdict
    for nothing in (None, "", float("nan")):
        assert verdict_of(nothing) == -1
        with pytest.raises(InvalidInput, match="value: expected fraud or legit"):
            read_value(nothing)
    for read in (verdict_of, read_value):
        with pytest.raises(InvalidInput, match="'maybe'"):
            read("maybe")


@pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")  # Ibis asks DuckDB by an old name
def test_tables_and_files_of_labels_take_each_word(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    table = "no,at,card,fraud\n" + "".join(f"{word},{place},c,{word}\n" for place, word in enumerate(WORDS))
    (tmp_path / "data/events.csv").write_text(table)
    path = tmp_path / "data/events.csv"
    shape = shape_of(SCHEMA, frozenset(match(read_names(path), SCHEMA.columns())))
    rows = canonical(connect(), shape, Files((path,), ())).to_pyarrow()
    assert not any(rows[FAULTS].to_pylist()), "the engine itself understands each"
    events = read_events(SCHEMA, [path])
    assert dict(zip(events.ids, events.inline_label.tolist(), strict=True)) == WORDS
    assert events.problems.num_rows == 0
    extract(Order(SCHEMA, (tmp_path / "data",), tmp_path / "out"))
    tags = (line.split(",") for line in (tmp_path / "out/tags.csv").read_text().splitlines()[1:])
    assert {word: int(value) for word, value in tags} == WORDS
    (tmp_path / "labels.csv").write_text(
        "no,value,arrived_at\n" + "".join(f"{word},{word},9\n" for word in WORDS)
    )
    labels = read_labels(SCHEMA, events, tmp_path / "labels.csv")
    assert dict(zip(labels.ids, labels.value.tolist(), strict=True)) == WORDS


def test_who_says_a_label_is_one_of_three_in_memory_and_on_a_store(database: Database) -> None:
    assert [read_source(one) for one in LABEL_SOURCES] == ["chargeback", "analyst", "import"]
    model, store = small_fraud.model(), GraphStore(database)
    with store.stream(model) as durable:
        tells: tuple[Callable[..., object], ...] = (model.stream().label, durable.label)
        for tell in tells:
            for source in LABEL_SOURCES:
                tell("1", "legitimate", source=source)
            with pytest.raises(InvalidInput, match="source: expected one of chargeback, analyst, import"):
                tell("1", "legit", source="gossip")
    store.close()
