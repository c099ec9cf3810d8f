"""A store of one's own, without a server: what a Python program has of it."""

from dataclasses import replace
from pathlib import Path

import pytest
import small_fraud

from masthead.base.errors import Conflict, InvalidInput
from masthead.fraud import GraphStore


def test_what_a_program_stored_is_there_for_the_next_one(tmp_path: Path) -> None:
    model, events = small_fraud.model(), small_fraud.events()
    relation = model.schema.relations[0].name
    key = events.event(0).keys[0]
    with GraphStore.open(tmp_path / "fraud.db") as store, model.stream(store) as stream:
        first = [stream.score(events.event(place)) for place in range(50)]
        assert stream.label(first[0].id, "fraud")
    with GraphStore.open(str(tmp_path / "fraud.db")) as store, model.stream(store) as stream:
        assert [stream.score(events.event(place)).pred_prob for place in range(50)] == [
            one.pred_prob for one in first
        ]
        expected = [place for place in range(50) if events.event(place).keys[0] == key]
        newest = store.recent(relation, key)
        assert [one.id for one in newest] == [first[place].id for place in reversed(expected)]
        assert len(store.recent(relation, key, limit=1)) == 1
        assert store.recent(relation, key, before=newest[-1].ts) == []
        with pytest.raises(Conflict):
            stream.score(replace(events.event(0), amount=-1.0))


def test_another_engine_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="mysql"):
        GraphStore.open("mysql://here/fraud")
