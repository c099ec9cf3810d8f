"""Two things under one client id, out of the broker's log."""

from hypothesis import given
from hypothesis import strategies as st

from masthead.devices.takeovers import Takeovers, parse_takeover

LINE = (
    '127.0.0.1:40751 - mid:23 - "pump-one" - Replacing old client "127.0.0.1:41263 - mid:19 - \\"pump-one\\"" '
    'since both have the same client ID "pump-one"'
)


def test_a_takeover_names_both_connections_and_the_client_id() -> None:
    assert parse_takeover(LINE) == (19, 23, "pump-one")


def test_a_client_id_cannot_pose_as_another_connection() -> None:
    name = r"\" - mid:9 - \"v"
    inner = name.replace("\\", "\\\\").replace('"', '\\"')
    line = f'1.1.1.1:1 - mid:23 - "{name}" - Replacing old client "1.1.1.1:2 - mid:19 - \\"{inner}\\"" '
    line += f'since both have the same client ID "{name}"'
    assert parse_takeover(line) == (19, 23, '" - mid:9 - "v')


@given(st.text())
def test_any_other_line_is_none(text: str) -> None:
    assert parse_takeover(text) is None


def test_a_thing_that_follows_itself_or_is_not_known_is_not_told_and_the_rest_is_counted() -> None:
    told: list[tuple[str, str, str, int]] = []
    takeovers = Takeovers(lambda client_id, thing, by, count: told.append((client_id, thing, by, count)))
    pattern = LINE.replace("mid:19", "mid:{old}").replace("mid:23", "mid:{new}")
    for old, new in ((19, 23), (23, 19), (23, 29), (30, 31), (40, 19)):
        takeovers.note(pattern.format(old=old, new=new))
    takeovers.note("Server is ready")
    takeovers.tell(takeovers.take(), {19: "a", 23: "b", 29: "a", 30: "c", 31: "c"})
    assert sorted(told) == [("pump-one", "a", "b", 1), ("pump-one", "b", "a", 2)]
    assert not takeovers.take()
