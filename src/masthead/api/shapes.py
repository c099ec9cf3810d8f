"""What bodies and answers look like, said once for the documentation: services check the content."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any

from fastapi import Body, Query, Request

from masthead.base import clock
from masthead.base.errors import InvalidInput, shown
from masthead.base.pages import Page, check_limit, decode_token, encode_token

Json = dict[str, Any]
Limit = Annotated[int, Query(description="Items of a page, 1 to 1000.")]
Token = Annotated[str | None, Query(description="`next_token` of the page before.")]


def body(example: Json, about: str = "") -> Any:
    """Return the declaration of a JSON body, with an example that can be sent as it stands."""
    return Body(description=about, openapi_examples={"example": {"value": example}})


async def raw_body(request: Request) -> bytes:
    """Return the body as it was sent, whatever its content type says."""
    return await request.body()


def page(items: Iterable[Any], next_token: str | None = None) -> Json:
    """Return a page's JSON form."""
    return {"items": [one.to_json() for one in items], "next_token": next_token}


def page_by_name(kind: str, items: Iterable[Any], limit: int, token: str | None) -> Json:
    """Return the page of a list that is short enough to be held, by name after the token's."""
    check_limit(limit)
    after = str((decode_token(kind, token) or [""])[0]) if token else ""
    rest = sorted((one for one in items if one.name > after), key=lambda one: str(one.name))
    last = rest[limit - 1].name if len(rest) > limit else None
    return page(rest[:limit], None if last is None else encode_token(kind, [last]))


def page_json(found: Page[Any]) -> Json:
    """Return a service's page as JSON values."""
    return page(found.items, found.next_token)


def read_time(text: str | None, field: str) -> datetime | None:
    """Return the time of a parameter, as `clock.read_time` does; a `+` that nobody escaped arrives as a blank."""
    return clock.read_time(text.replace(" ", "+") if text and text[-6:-5] == " " else text, field)


def only(given: Json, *known: str) -> Json:
    """Return a body whose fields are all known.

    Raises:
        InvalidInput: A field is unknown; it is named.
    """
    for name in given:
        if name not in known:
            raise InvalidInput(
                f"{name}: expected one of {', '.join(known)}, got an unknown field", field=name
            )
    return given


def text(given: Json, field: str, default: str | None = None) -> str:
    """Return a text of a body; without a default it must be there."""
    value = given.get(field, default)
    if not isinstance(value, str):
        raise InvalidInput(f"{field}: expected a text, got {shown(value)}")
    return value


def texts(given: Json, field: str) -> list[str] | None:
    """Return a list of texts of a body, or None."""
    value = given.get(field)
    if value is not None and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
        raise InvalidInput(f"{field}: expected a list of texts, got {shown(value)}")
    return value


def table(given: Json, field: str) -> Json | None:
    """Return an object of a body, or None."""
    value = given.get(field)
    if value is not None and not isinstance(value, dict):
        raise InvalidInput(f"{field}: expected an object, got {shown(value)}")
    return value


def flag(given: Json, field: str, default: bool | None = None) -> bool:
    """Return true or false of a body; without a default it must be there."""
    value = given.get(field, default)
    if not isinstance(value, bool):
        raise InvalidInput(f"{field}: expected true or false, got {shown(value)}")
    return value
