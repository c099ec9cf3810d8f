"""One transaction: what was decided and why, the graph around it, and the word of an analyst."""

from collections.abc import Mapping
from typing import Any

from nicegui import ui
from nicegui.events import GenericEventArguments, KeyEventArguments

from masthead.console.charts import theme
from masthead.console.fraud_charts import ego_graph, node_kind
from masthead.console.fraud_parts import (
    LIVE,
    action_text,
    block_cut,
    entity_path,
    money,
    probability,
    sections,
    transaction_path,
)
from masthead.console.parts import facts, iso_time, on_this_page, or_missing, title
from masthead.console.shell import Console, frame, is_dark, link
from masthead.console.tables import table

_VERDICTS = {
    "f": ("fraud", "Fraud", "gpp_bad", "negative"),
    "l": ("legit", "Legitimate", "verified_user", "positive"),
    "u": ("unsure", "Unsure", "help_outline", "primary"),
}
_KNOWN = ("id", "time", "amount", "decision", "label", "labels")
Json = Mapping[str, Any]


def register(console: Console) -> None:
    """Make the page `/ui/fraud/transactions/ID`."""

    @ui.page("/fraud/transactions/{id:path}")  # an id may hold slashes, and nothing stands below it
    def transaction_page(id: str, space: str = LIVE) -> None:
        with frame("fraud", f"Transaction {id}", trail=(("Fraud", _overview(space)),)), or_missing():
            sections(console, "", space)
            found = console.masthead.fraud.get(id, space=space)
            _verdicts(console, id, space)
            with ui.row().classes("w-full items-stretch").style("gap: 16px"):
                _decision(console, found)
                _reasons(console, id, space)
            _graph(console, id, space)
            _fields(found, space)


def _overview(space: str) -> str:
    return "/fraud" if space == LIVE else f"/fraud?space={space}"


def _verdicts(console: Console, id: str, space: str) -> None:
    """Draw the buttons, and take the same words from the keyboard."""
    portal, fraud = console.masthead.portal, console.masthead.fraud
    with ui.row().classes("items-center w-full mh-card").style("gap: 10px"):
        ui.label("What is it?").classes("text-weight-medium")
        for key, (verdict, text, icon, colour) in _VERDICTS.items():
            ui.button(
                f"{text} ({key})", icon=icon, color=colour, on_click=lambda said=verdict: say(said)
            ).props("outline")
        word = ui.label().classes("mh-soft").props("role=status")

    def say(verdict: str) -> None:
        with on_this_page():
            portal.give_verdict(id, verdict, space=space)
            show()
            ui.notify(f"{id}: {verdict}. " + ("Noted." if verdict == "unsure" else "Later scores know it."))

    def show() -> None:
        label, said = fraud.get(id, space=space)["label"], portal.verdict(id, space=space)
        known = "nothing is known of it yet" if label == "unknown" else f"known as {label}"
        word.text = known + (f", an analyst's last word: {said}" if said else "")

    def pressed(event: KeyEventArguments) -> None:
        plain = not (event.modifiers.ctrl or event.modifiers.alt or event.modifiers.meta)
        if event.action.keydown and not event.action.repeat and plain and event.key.name in _VERDICTS:
            say(_VERDICTS[event.key.name][0])

    ui.keyboard(on_key=pressed)
    show()


def _decision(console: Console, found: Json) -> None:
    decision = found["decision"] or {}
    rows = [("Time (UTC)", iso_time(found["time"])), ("Amount", money(found.get("amount")) or "unknown")]
    if decision:
        rows += [
            ("Probability of fraud", probability(decision["pred_prob"])),
            ("Review from", probability(decision["threshold"])),
            ("Block from", probability(block_cut(console, decision)) or "not known any more"),
            ("Action", action_text(decision)),
            ("Model", str(decision["model"])),
        ]
    else:
        rows.append(("Decision", "none: it was loaded as history"))
    for one in found["labels"]:
        rows.append((f"Label by {one['source']}", f"{one['value']}, {iso_time(one['arrived_at'])}"))
    with ui.column().classes("mh-card mh-half"):
        title("Decision")
        facts(rows)


def _reasons(console: Console, id: str, space: str) -> None:
    found = console.masthead.fraud.explanation(id, space=space)
    with ui.column().classes("mh-card mh-half").style("gap: 6px"):
        title("Why")
        if not found["reasons"]:
            ui.label(f"No reasons: {found['note'] or 'nothing weighs'}").classes("mh-soft")
        for one in found["reasons"]:
            with ui.row().classes("w-full items-baseline no-wrap").style("gap: 10px"):
                weight = ui.label(f"{one['contribution']:+.2f}").classes("mh-tone text-weight-medium")
                weight.style("min-width: 52px").classes(
                    "text-negative" if one["contribution"] > 0 else "text-positive"
                )
                ui.label(one["text"]).style("overflow-wrap: anywhere")
        if found["paths"]:
            ui.label("Paths to frauds that were known then").classes("text-weight-medium q-mt-sm")
            for path in found["paths"]:
                ui.link(path["text"], transaction_path(str(path["fraud"]), space)).classes("mh-link").style(
                    "overflow-wrap: anywhere"
                )


def _graph(console: Console, id: str, space: str) -> None:
    dark = is_dark()
    found = console.masthead.fraud.graph(id, space=space)

    def go(event: GenericEventArguments) -> None:
        data: Any = event.args.get("data")
        if event.args.get("dataType") != "node" or not isinstance(data, dict):
            return
        if "transaction" in data:
            ui.navigate.to(transaction_path(str(data["transaction"]), space))
        else:
            ui.navigate.to(entity_path(str(data["relation"]), str(data["value"]), space))

    with ui.column().classes("mh-card w-full").style("gap: 8px"):
        title("The graph around it")
        ui.label(
            "As it was known at the decision. Click a transaction or an entity to go there; drag and zoom as you like."
        ).classes("mh-soft")
        chart = ui.echart(ego_graph(found, dark=dark), theme=theme(dark=dark))
        # Not `on_point_click`: that expects a value, which nodes and edges have none of.
        chart.on("componentClick", go, ["data", "dataType"])
        chart.style("height: 460px").props("role=img")
        with ui.expansion("The same as a table").classes("w-full"):
            columns = (("what", "What"), ("kind", "Kind"), ("time", "Time (UTC)"), ("linked", "Linked to"))
            table(
                columns,
                _nodes(found, space),
                key="key",
                links="what",
                page=20,
                empty="Nothing is linked to it",
            )


def _nodes(found: Json, space: str) -> list[dict[str, Any]]:
    """Return the graph's table twin."""
    names = {one["id"]: one.get("text") or str(one["transaction"]) for one in found["nodes"]}
    linked: dict[str, list[str]] = {}
    for edge in found["edges"]:
        linked.setdefault(edge["transaction"], []).append(names[edge["entity"]])
        linked.setdefault(edge["entity"], []).append(names[edge["transaction"]])
    return [
        {
            "key": one["id"],
            "what": names[one["id"]],
            "kind": node_kind(one) if one["kind"] == "transaction" else f"{one['degree']:,} transactions",
            "time": iso_time(one.get("time")),
            "linked": ", ".join(linked.get(one["id"], [])[:6]),
            "href": link(
                transaction_path(str(one["transaction"]), space)
                if one["kind"] == "transaction"
                else entity_path(one["relation"], one["value"], space)
            ),
        }
        for one in found["nodes"]
    ]


def _fields(found: Json, space: str) -> None:
    rows = [(name, str(value)) for name, value in found.items() if name not in _KNOWN]
    with ui.expansion("All fields").classes("w-full mh-card"):
        facts(rows)
