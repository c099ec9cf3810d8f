"""Tokens of pages are of use where they were made, and nowhere else."""

import base64
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masthead.aws.tokens import PageTokens
from masthead.base.errors import InvalidInput

TOKENS = PageTokens(b"k" * 32)
KEYS = st.lists(
    st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])) | st.none(), max_size=4
)


@given(KEYS, KEYS)
@settings(database=None, derandomize=True)
def test_a_token_gives_back_the_place_it_was_made_for(filters: list[Any], last: list[Any]) -> None:
    assert TOKENS.read("ListAlerts", filters, TOKENS.make("ListAlerts", filters, last)) == last


def test_a_token_of_another_operation_filter_or_installation_is_refused() -> None:
    token = TOKENS.make("ListAlerts", ["air", datetime(2026, 1, 1, tzinfo=UTC)], [1, "a"])
    for tokens, operation, filters in (
        (TOKENS, "ListTags", ["air", datetime(2026, 1, 1, tzinfo=UTC)]),
        (TOKENS, "ListAlerts", ["water", datetime(2026, 1, 1, tzinfo=UTC)]),
        (TOKENS, "ListAlerts", ["air"]),
        (PageTokens(b"j" * 32), "ListAlerts", ["air", datetime(2026, 1, 1, tzinfo=UTC)]),
    ):
        with pytest.raises(InvalidInput, match="NextToken: expected the token of a"):
            tokens.read(operation, filters, token)


def test_no_altered_byte_passes() -> None:
    token = TOKENS.make("ListAlerts", [], [1, "a"])
    raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    for place in range(len(raw)):
        altered = bytearray(raw)
        altered[place] ^= 1
        with pytest.raises(InvalidInput):
            TOKENS.read("ListAlerts", [], base64.urlsafe_b64encode(bytes(altered)).decode().rstrip("="))


@pytest.mark.parametrize("token", ["", "a", "!", "\u00e9", "A" * 3000, "=", "AAAAAAAAAAA"])
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidInput):
        TOKENS.read("ListAlerts", [], token)
