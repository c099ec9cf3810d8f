"""Models of transactions: what is deployed, its thresholds to change, its outcomes and drift, its card; retrained and promoted."""

from decimal import Decimal
from typing import Any, cast

from nicegui import run, ui

from masthead.access.visit import Refused, SignedOut
from masthead.base.errors import InvalidInput, MastheadError, shown
from masthead.console.fraud_card import open_card
from masthead.console.fraud_drift import drift_part
from masthead.console.fraud_outcomes import outcomes_part
from masthead.console.fraud_parts import LIVE, probability, rate, sections
from masthead.console.parts import confirmed, form, iso_time, look_again, title
from masthead.console.shell import Console, frame, watch
from masthead.console.tables import Row, Table, changed_rows, table
from masthead.fraud.live.terms import Terms
from masthead.learn.records import Endpoint

_DEPLOYED = (
    ("name", "Name"),
    ("model", "Model"),
    ("role", "Role"),
    ("review", "Review from"),
    ("block", "Block from"),
    ("by", "Thresholds"),
    ("released", "Released unreviewed"),
    ("subject", "Takes from"),
)
_MODELS = (
    ("name", "Model"),
    ("created", "Made (UTC)"),
    ("rows", "Learned from"),
    ("auc", "AUC"),
    ("ap", "AP"),
    ("deployed", "Deployed as"),
)


def register(console: Console) -> None:
    """Make the page `/ui/fraud/models`."""

    @ui.page("/fraud/models")
    def models_page() -> None:
        with frame("fraud", "Models", trail=(("Fraud", "/fraud"),)):
            sections(console, "Models", LIVE)
            title("Deployed")
            deployed = _deployed_table(console)
            outcomes_part(console)
            drift_part(console)
            title("Models")
            ui.label(
                "AUC and AP (average precision) on later data than was learned from, as a stream; of a graph network on "
                "the rows that it was measured on"
            ).classes("mh-soft")
            models = table(
                _MODELS,
                [],
                empty="No model was deployed yet",
                actions={
                    "Card": ("description", lambda row: open_card(console, row["name"])),
                    "Delete": ("delete", lambda row: _delete(console, row["name"])),
                },
            )

            def update() -> None:
                found = console.masthead.fraud.deployments()
                changed_rows(deployed, [_deployed(console, one) for one in found])
                changed_rows(models, [_model(console, one) for one in console.masthead.fraud.models()])

            watch(update)


def _deployed_table(console: Console) -> Table:
    return table(
        _DEPLOYED,
        [],
        empty="No model is deployed: masthead fraud deploy NAME --model DIR does it",
        actions={
            "Thresholds": ("tune", lambda row: _thresholds(console, row["name"])),
            "Card": ("description", lambda row: open_card(console, row["model"])),
            "Retrain": ("model_training", lambda row: _retrain(console, row["name"])),
            "Promote its challenger": ("upgrade", lambda row: _promote(console, row["name"])),
            "Undeploy": ("delete", lambda row: _undeploy(console, row["name"])),
        },
    )


def _deployed(console: Console, one: Endpoint) -> Row:
    terms = Terms.of(one.source)
    return {
        "name": one.name,
        "model": one.source["model"],
        "role": _role(one),
        **_cuts(console, one),
        "released": f"{100 * terms.release_share:g} %" if terms.release_share else "none",
        "subject": terms.subject or "requests only",
    }


def _role(one: Endpoint) -> str:
    if one.source.get("graph"):
        return "graph network: answers requests, decides nothing"
    role = "scores along" if one.source["shadow"] else "decides"
    role += f", challenges {one.source['challenges']}" if one.source.get("challenges") else ""
    return role + ("" if one.source["space"] == LIVE else f" in {one.source['space']}")


def _cuts(console: Console, one: Endpoint) -> Row:
    """Return the cells of thresholds; a graph network has none, and those of a damaged model are not known."""
    if one.source.get("graph"):
        return {"review": "", "block": "", "by": "none"}
    try:
        cuts = console.masthead.portal.thresholds(one.name)
    except MastheadError as error:
        _passed_on(error)
        return {"review": "", "block": "", "by": "unknown: its model is damaged"}
    return {
        "review": probability(cuts["review"]),
        "block": probability(cuts["block"]),
        "by": "set by hand" if cuts["by_hand"] else "the model's",
    }


def _passed_on(error: MastheadError) -> None:
    """Raise again what is no damage but tells who looks that they may not."""
    if isinstance(error, Refused | SignedOut):
        raise error


def _model(console: Console, one: dict[str, Any]) -> Row:
    row: Row = {"name": one["id"], "deployed": ", ".join(one["deployed"]) or "nowhere"}
    try:
        card = console.masthead.portal.card(one["id"])
    except MastheadError as error:
        _passed_on(error)
        gone = "undeploy and delete it" if one["deployed"] else "delete it"
        told = f"Damaged: {error.message}. Deploy it again from an intact folder, or {gone}"
        return {**row, "created": "", "rows": told, "auc": "", "ap": ""}
    return {**row, "created": iso_time(card.get("created")), **_figures(card)}


def _figures(card: dict[str, Any]) -> Row:
    if card.get("kind") == "fraud-graph":
        found = card.get("metrics") or {}
        learned, ap = f"{card['rows']:,} nodes of type {card['target']}", found.get("ap")
    else:
        found = card.get("validation") or {}
        learned = f"{card.get('rows', 0):,} transactions, {card.get('positives', 0):,} frauds"
        ap = found.get("average_precision")
    return {"rows": learned, "auc": rate(found.get("roc_auc")), "ap": rate(ap)}


def _thresholds(console: Console, name: str) -> None:
    """Open the dialog that sets from where a deployment reviews and blocks."""
    portal = console.masthead.portal
    now = portal.thresholds(name)

    def save() -> None:
        chosen = {field: _chosen(drawn, now[field], field) for field, drawn in fields.items()}
        if all(chosen[field] == now[field] for field in fields):
            return
        portal.set_thresholds(name, **chosen)
        ui.notify(f"{name}: the next decision is made with these thresholds")

    def back() -> None:
        portal.set_thresholds(name)
        ui.notify(f"{name}: the next decision is made with the model's own thresholds")
        dialog.close()
        look_again()

    with form(f"Thresholds of {name}", save) as (dialog, _):
        ui.label("Probabilities from which a transaction is reviewed, and from which it is blocked").classes(
            "mh-soft"
        )
        fields = {
            field: ui.input(text, value=_told(now[field]))
            .props("type=number min=0 max=1 step=0.01")
            .classes("w-full")
            for field, text in (("review", "Review from"), ("block", "Block from"))
        }
        own = " and ".join(_told(value) for value in now["own"].values())
        if now["by_hand"]:
            ui.button(f"The model's own, {own}", icon="restart_alt", on_click=back).props("flat no-caps")
        else:
            ui.label("They are the model's own.").classes("mh-soft")


def _told(value: float) -> str:
    """Return a threshold as its field shows it: six digits tell which it is.

    >>> _told(0.014753982123), _told(0.00003), _told(1.0)
    ('0.014754', '0.00003', '1')
    """
    return f"{Decimal(f'{value:.6g}'):f}"


def _chosen(drawn: ui.input, now: float, field: str) -> float:
    """Return what a field says; left as it was shown, it is the exact value and not the digits shown."""
    text = str("" if drawn.value is None else drawn.value).strip()
    if text == _told(now):
        return now
    try:
        return float(text)
    except ValueError:
        got = shown(text) if text else "nothing"
        raise InvalidInput(f"{field}: expected a probability from 0 to 1, got {got}", field=field) from None


async def _retrain(console: Console, name: str) -> None:
    question = f"Train a new model from what is stored? It will challenge {name} and decide nothing until it proves better."
    if await confirmed(question, verb="Retrain"):
        found = cast(dict[str, Any], await run.io_bound(console.masthead.pipelines.retrain, name))
        ui.navigate.to(f"/fraud/pipelines?run={found['id']}")


async def _promote(console: Console, name: str) -> None:
    question = f"Let the challenger of {name} decide from now on, whether or not it has proved better?"
    if await confirmed(question, verb="Promote"):
        found = cast(dict[str, Any], await run.io_bound(console.masthead.fraud.promote, name))
        ui.notify(f"{name}: {found['models']['challenger']} decides")


async def _undeploy(console: Console, name: str) -> None:
    if await confirmed(f"Undeploy {name}? Its model and its decisions stay.", verb="Undeploy"):
        console.masthead.fraud.undeploy(name)
        ui.notify(f"Undeployed {name}")


async def _delete(console: Console, id: str) -> None:
    question = f"Delete the model {id}? Its decisions stay, but nobody can tell their reasons any more."
    if await confirmed(question, verb="Delete"):
        console.masthead.fraud.delete_model(id, force=True)
        ui.notify(f"Deleted the model {id}")
