"""How tests prove who they are: a key of an opened installation, or the one that a first start wrote down."""

import configparser
from pathlib import Path

from masthead.access.keys import NewKey, Policies
from masthead.app import Masthead


def header_of(made: NewKey) -> dict[str, str]:
    """Return the header that shows a key."""
    return {"x-api-key": f"{made.key.id}.{made.secret}"}


def key_header(masthead: Masthead, policies: Policies = ("admin",)) -> dict[str, str]:
    """Return the header of a new key; by default one that may do everything."""
    return header_of(masthead.keys.create_key("test", policies))


def first_key_header(data: Path) -> dict[str, str]:
    """Return the header of the key in a data folder's `credentials`."""
    found = configparser.ConfigParser()
    found.read(data / "credentials")
    section = found["masthead"]
    return {"x-api-key": f"{section['aws_access_key_id']}.{section['aws_secret_access_key']}"}


def session_of(masthead: Masthead, policies: Policies = ("admin",)) -> str:
    """Return the token of a session of the console, with a new key."""
    made = masthead.keys.create_key("person", policies)
    session = masthead.keys.open_session(masthead.keys.make_link(made.key.id))
    assert session is not None
    return session
