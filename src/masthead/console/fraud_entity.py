"""One entity, say a card or a device: its latest transactions; block it, let it pass, or erase it."""

from nicegui import run, ui

from masthead.base.clock import utc
from masthead.console.fraud_parts import LIVE, entity_name, money, probability, sections, transaction_path
from masthead.console.parts import confirmed, on_this_page, or_missing
from masthead.console.shell import Console, frame, link, watch
from masthead.console.tables import Row, changed_rows, table

_COLUMNS = (
    ("id", "Transaction"),
    ("time", "Time (UTC)"),
    ("amount", "Amount"),
    ("score", "Probability"),
)


def register(console: Console) -> None:
    """Make the page `/ui/fraud/entity?relation=R&value=V`."""

    @ui.page("/fraud/entity")
    def entity_page(relation: str = "", value: str = "", space: str = LIVE) -> None:
        with frame("fraud", entity_name(relation, value), trail=(("Fraud", "/fraud"),)), or_missing():
            sections(console, "", space)
            console.masthead.portal.entity(
                relation, value, space=space, limit=1
            )  # or there is no such relation
            ui.label(f"Relation {relation} of the schema").classes("mh-soft")
            _verbs(console, relation, value, space)
            drawn = table(_COLUMNS, [], key="id", links="id", empty="It has no transactions")

            def update() -> None:
                found = console.masthead.portal.entity(relation, value, space=space)
                changed_rows(drawn, [_row(one, space) for one in found])

            watch(update)


def _row(one: dict[str, object], space: str) -> Row:
    id, ts = str(one["id"]), one["ts"]
    amount, score = one["amount"], one["score"]
    assert isinstance(ts, int)
    return {
        "id": id,
        "time": utc(ts / 1e6).strftime("%Y-%m-%d %H:%M"),
        "amount": money(amount if isinstance(amount, float) else None),
        "score": probability(score if isinstance(score, float) else None) or "history",
        "href": link(transaction_path(id, space)),
    }


def _verbs(console: Console, relation: str, value: str, space: str) -> None:
    portal, fraud = console.masthead.portal, console.masthead.fraud
    with ui.row().classes("items-center w-full mh-card").style("gap: 10px"):
        block = ui.button("Block", icon="block", color="negative", on_click=lambda: put("block"))
        allow = ui.button("Allow", icon="check", color="positive", on_click=lambda: put("allow"))
        off = ui.button("Take off the list", on_click=lambda: remove()).props("flat")
        for button in (block, allow):
            button.props("outline")
        word = ui.label().classes("mh-soft").props("role=status")
        ui.space()
        ui.button("Erase", icon="delete_forever", color="negative", on_click=lambda: erase()).props("flat")

    def put(kind: str) -> None:
        with on_this_page():
            portal.put_listed(kind, relation, value, space=space)
            show()

    def remove() -> None:
        with on_this_page():
            portal.remove_listed(relation, value, space=space)
            show()

    def show() -> None:
        found = [
            one.kind for one in portal.listed(space=space) if (one.relation, one.value) == (relation, value)
        ]
        word.text = f"on the {found[0]} list" if found else "on no list"
        block.visible, allow.visible, off.visible = "block" not in found, "allow" not in found, bool(found)

    async def erase() -> None:
        question = f"Erase every transaction of {entity_name(relation, value)}, with decisions and labels? It cannot be taken back."
        with on_this_page():
            if await confirmed(question, verb="Erase"):
                found = await run.io_bound(fraud.erase, relation, value, space=space)
                assert found is not None
                ui.notify(f"Erased {found['transactions']:,} transactions", type="positive")
                ui.navigate.to("/fraud" if space == LIVE else f"/fraud?space={space}")

    show()
