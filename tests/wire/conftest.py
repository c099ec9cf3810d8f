"""The ledger of what AWS's clients ran against the real verbs.

With RECORD_AWS_COVERAGE=1 in the environment it becomes the results file from which `masthead aws coverage` writes the
table of the docs:

    RECORD_AWS_COVERAGE=1 pytest tests/wire && masthead aws coverage > docs/aws-coverage.md
"""

import json
import os
from collections.abc import Iterator

import pytest
from wire_matrix import Ledger, results_path

collect_ignore_glob = ["clients/*"]
"""Programs for other environments, with AWS's clients in them."""


@pytest.fixture(scope="session")
def ledger() -> Iterator[Ledger]:
    """What ran in this session."""
    found = Ledger()
    yield found
    if os.environ.get("RECORD_AWS_COVERAGE"):
        results_path().write_text(json.dumps(found.results(), indent=1) + "\n")
