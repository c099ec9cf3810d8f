"""The ledger of what AWS's clients ran against the real verbs."""

import pytest
from wire_matrix import Ledger


@pytest.fixture(scope="session")
def ledger() -> Ledger:
    """What ran in this session."""
    return Ledger()
