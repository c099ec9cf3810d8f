"""`masthead keys`: who programs act as, what they may do, how often, and from where."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masthead.base.errors import InvalidInput, shown
from masthead.base.units import parse_duration_s
from masthead.cli.documents import read_document
from masthead.cli.grammar import answer, new_room
from masthead.cli.installation import AsJson, Data, installation, warn
from masthead.cli.output import print_json, print_table
from masthead.cli.rooms import ROOMS

if TYPE_CHECKING:
    from masthead.access.policy import Decision

app = new_room(ROOMS["keys"])

KeyId = Annotated[str, typer.Argument(metavar="KEY_ID", show_default=False)]
COLUMNS = (
    ("Id", "id"),
    ("Name", "name"),
    ("Policies", "policies"),
    ("Plan", "plan"),
    ("Created", "created"),
    ("Last used", "last_used"),
    ("Expires", "expires"),
    ("State", "state"),
)


@app.command("create")
def create(
    name: Annotated[str, typer.Option("--name", metavar="N", help="Who it acts as. [default: its id]")] = "",
    policies: Annotated[
        list[str] | None,
        typer.Option(
            "--policy",
            metavar="NAME|FILE",
            help="A shipped policy or a document; repeatable. Without: nothing.",
        ),
    ] = None,
    rate: Annotated[float | None, typer.Option("--rate", metavar="R", help="Requests a second.")] = None,
    burst: Annotated[int | None, typer.Option("--burst", metavar="B", help="Requests at once.")] = None,
    quota: Annotated[
        str | None,
        typer.Option("--quota", metavar="N/day|week|month", help="Requests in a UTC day, week or month."),
    ] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="90d", help="How long it lives.")
    ] = None,
    allow: Annotated[
        list[str] | None, typer.Option("--allow", metavar="CIDR", help="Only from here; repeatable.")
    ] = None,
    deny: Annotated[
        list[str] | None, typer.Option("--deny", metavar="CIDR", help="Not from here; repeatable.")
    ] = None,
    origins: Annotated[
        list[str] | None,
        typer.Option("--origin", metavar="URL", help="A web page that may use it; repeatable."),
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Create a key; prints its secret once."""
    chosen = _policies(policies or [])
    limits: dict[str, Any] = {"rate": rate, "burst": burst, **_quota(quota)}
    limits |= {"allow": allow or [], "deny": deny or [], "origins": origins or []}
    limits["expires_s"] = parse_duration_s(expires, "expires") if expires else None
    with installation(data) as masthead:
        made = masthead.keys.create_key(name, chosen, **limits)
    if not chosen:
        warn(f"without a policy the key may do nothing; masthead keys policy {made.key.id} --set NAME|FILE")
    found = {"id": made.key.id, "secret": made.secret, **made.key.to_json()}
    if as_json:
        print_json(found)
        return
    answer(
        {name: found[name] for name in ("id", "secret", "name", "policies", "plan", "expires")}, as_json=False
    )
    print("the secret is not shown again")


@app.command("list")
def list_keys(as_json: AsJson = False, data: Data = None) -> None:
    """List every key, the oldest first; never a secret."""
    with installation(data) as masthead:
        rows = [key.to_json() for key in masthead.keys.list_keys()]
    if as_json:
        print_json(rows)
    else:
        print_table(COLUMNS, rows, empty="There is no key yet.")


@app.command("revoke")
def revoke(key_id: KeyId, as_json: AsJson = False, data: Data = None) -> None:
    """Refuse a key for ever; running servers follow within a second. Doing it twice changes nothing."""
    with installation(data) as masthead:
        found = masthead.keys.revoke_key(key_id)
    if as_json:
        print_json(found.to_json())
    else:
        print(f"revoked key {key_id}")


@app.command("policy")
def policy(
    key_id: KeyId,
    chosen: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME|FILE", help="Have these policies instead; repeatable."),
    ] = None,
    test: Annotated[
        tuple[str, str] | None,
        typer.Option("--test", metavar="ACTION RESOURCE", help="Say what the policies decide."),
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option("--context", metavar="K=V", help="A condition key of the tested request; repeatable."),
    ] = None,
    as_json: AsJson = False,
    data: Data = None,
) -> None:
    """Print a key's policies, replace them, or try them on a request."""
    if chosen and test:
        raise InvalidInput("test: expected --set or --test, got both")
    if context and not test:
        raise InvalidInput("context: expected --test ACTION RESOURCE beside it")
    given, known = _policies(chosen or []), _context(context or [])
    with installation(data) as masthead:
        if test:
            _tell(masthead.keys.test_policy(key_id, *_request(*test), known), as_json=as_json)
            return
        found = masthead.keys.set_policies(key_id, given) if given else masthead.keys.get_key(key_id)
    if as_json:
        print_json([one.to_json() for one in found.policies])
        return
    for one in found.policies:
        print(f"{one.name}:")
        print_json(one.document)
    if not found.policies:
        print("It has no policy, so it may do nothing.")


def _tell(found: "Decision", *, as_json: bool) -> None:
    if as_json:
        print_json(found.to_json())
    else:
        print(f"{found.word}: {found.statement or 'no statement allows it'}")


def _request(action: str, resource: str) -> tuple[str, str]:
    service, _, name = action.partition(":")
    if not service or not name or not action.isascii():
        raise InvalidInput(f"test: expected SERVICE:ACTION, got {shown(action)}")
    if resource != "*" and not resource.startswith("arn:"):
        raise InvalidInput(f"test: expected an ARN or *, got {shown(resource)}")
    return action, resource


def _policies(given: list[str]) -> list[str | tuple[str, object]]:
    """Return shipped policies by name, and files as (name without its ending, document)."""
    from masthead.access.policy import Policy
    from masthead.access.shipped import SHIPPED

    found: list[str | tuple[str, object]] = []
    for text in given:
        if text in SHIPPED:
            found.append(text)
            continue
        path = Path(text)
        if text != "-" and not path.is_file():
            raise InvalidInput(f"policy: expected {', '.join(SHIPPED)}, or a file, got {shown(text)}")
        document = read_document(path)
        for line in Policy.parse(document).warnings:
            warn(f"{path.name}: {line}")
        found.append(("stdin" if text == "-" else path.stem, document))
    return found


def _quota(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    from masthead.access.key_checks import parse_quota

    count, window = parse_quota(text)
    return {"quota": count, "window": window}


def _context(texts: list[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InvalidInput(f"context: expected KEY=VALUE, got {shown(text)}")
        found.setdefault(key, []).append(value)
    return found
