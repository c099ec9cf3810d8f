"""The committed results, from which the table of the docs is made, say what ran here. Comes last of this folder."""

import json

import pytest
from wire_matrix import MODELS, Ledger, operations, results_path


def test_the_committed_results_are_those_of_this_run(ledger: Ledger) -> None:
    if not set(operations(*MODELS)) <= set(ledger.rows):
        pytest.skip("the whole matrix did not run")
    committed = json.loads(results_path().read_text())
    newest = {"clients": None}  # another one tomorrow
    assert [{**row, **newest} for row in committed] == [{**row, **newest} for row in ledger.results()]
