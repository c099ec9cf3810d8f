"""The table of what AWS's clients have run: it is made from results of tests, and what nobody ran is told."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from masthead.aws.coverage import Row, page, problems, read_results
from masthead.cli.main import run

PAGE = Path(__file__).parents[2] / "docs" / "aws-coverage.md"


def test_the_page_of_the_docs_is_what_the_results_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["aws", "coverage", "--check"]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out == "71 operations: docs/aws-coverage.md and the results agree\n"
    assert run(["aws", "coverage"]) == 0
    assert capsys.readouterr().out == PAGE.read_text()


def test_every_operation_of_every_model_has_run_by_every_client_through_every_door() -> None:
    rows = read_results()
    assert problems(rows) == []
    counted = {state: sum(row.state == state for row in rows) for state in ("served", "refused", "later")}
    assert counted == {"served": 42, "refused": 3, "later": 26}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda row: replace(row, clients=(), state=""), "firehose PutRecord: no test ran it"),
        (lambda row: replace(row, clients=row.clients[-1:]), "expected 2 releases of boto3"),
        (lambda row: replace(row, doors=("loopback",)), "expected it in process and loopback, got loopback"),
        (lambda row: replace(row, state="later"), "the results say later, the translators do not"),
        (lambda row: replace(row, operation="PutAll"), "firehose PutAll: no model has it"),
    ],
)
def test_a_row_that_is_not_true_is_a_problem(change: Callable[[Row], Row], told: str) -> None:
    rows = [change(row) if row.operation == "PutRecord" else row for row in read_results()]
    assert any(told in one for one in problems(rows))


def test_an_absent_row_and_one_that_stands_twice_are_problems() -> None:
    rows = read_results()
    assert problems(rows[1:]) == [f"{rows[0].service} {rows[0].operation}: no row"]
    assert problems([*rows, rows[0]]) == ["rows: expected 71, got 72"]


def test_a_row_that_no_test_ran_says_so_on_the_page() -> None:
    row = Row("firehose", "PutRecord", "", "", (), (), (), ())
    assert "| `PutRecord` | **no test ran it** |" in page([row])
