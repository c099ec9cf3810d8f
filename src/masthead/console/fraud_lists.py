"""Block and allow lists: entities that are judged by hand; and erasing what is stored of a customer."""

from nicegui import run, ui

from masthead.console.fraud_parts import LIVE, entity_name, entity_path, require_space, sections
from masthead.console.parts import confirmed, form, on_this_page, or_missing, short_time, title
from masthead.console.shell import Console, frame, link, watch
from masthead.console.tables import Row, changed_rows, table


def register(console: Console) -> None:
    """Make the page `/ui/fraud/lists`."""

    @ui.page("/fraud/lists")
    def lists_page(space: str = LIVE) -> None:
        with frame("fraud", "Lists", trail=(("Fraud", "/fraud"),)), or_missing():
            sections(console, "Lists", space)
            require_space(console, space)
            with ui.row().classes("items-center w-full"):
                ui.label(
                    "Blocked or let pass from the next transaction on, whatever the model says; the decision says so"
                ).classes("mh-soft")
                ui.space()
                ui.button("New entry", icon="add", on_click=lambda: _new(console, space))
            drawn = table(
                (
                    ("entity", "Entity"),
                    ("state", "List"),
                    ("note", "Note"),
                    ("created", "Since (UTC)"),
                ),
                [],
                links="entity",
                empty="Nobody is on a list",
                actions={
                    "Take off": (
                        "delete",
                        lambda row: console.masthead.portal.remove_listed(
                            row["relation"], row["value"], space=space
                        ),
                    )
                },
            )
            watch(
                lambda: changed_rows(
                    drawn, [_row(one, space) for one in console.masthead.portal.listed(space=space)]
                )
            )
            _erase(console, space)


def _row(one: object, space: str) -> Row:
    from masthead.fraud.store.desk_records import Listed

    assert isinstance(one, Listed)
    return {
        "name": f"{one.relation} {one.value}",
        "entity": entity_name(one.relation, one.value),
        "state": one.kind,
        "note": one.note,
        "created": short_time(one.created),
        "relation": one.relation,
        "value": one.value,
        "href": link(entity_path(one.relation, one.value, space)),
    }


def _new(console: Console, space: str) -> None:
    """Open the dialog that puts an entity on a list."""
    with on_this_page():
        relations = [one.name for one in console.masthead.fraud.schema(space).relations]

        def save() -> None:
            console.masthead.portal.put_listed(
                kind.value, relation.value, value.value or "", note=note.value or "", space=space
            )

        with form("New entry", save):
            kind = ui.select(["block", "allow"], value="block", label="List").classes("w-full")
            relation = ui.select(relations, value=relations[0], label="Relation").classes("w-full")
            value = ui.input("Value").classes("w-full")
            note = ui.input("Note").classes("w-full")


def _erase(console: Console, space: str) -> None:
    """Draw the place where everything of one customer is erased."""
    relations = [one.name for one in console.masthead.fraud.schema(space).relations]
    with ui.column().classes("mh-card w-full"):
        title("Erase a customer")
        ui.label(
            "Takes away every transaction of an entity with its decisions and labels, from the file too. Backups, your own "
            "files, runs and loads that read them, and messages on NATS (for a week) still hold it."
        ).classes("mh-soft")
        with ui.row().classes("w-full items-end"):
            relation = ui.select(relations, value=relations[0], label="Relation").style("min-width: 160px")
            value = ui.input("Value").style("flex: 1; min-width: 160px")
            ui.button("Erase", icon="delete_forever", color="negative", on_click=lambda: erase()).props(
                "outline"
            )

    async def erase() -> None:
        verb = console.masthead.fraud.erase
        with on_this_page():
            question = f"Erase every transaction of {relation.value} {value.value}? It cannot be taken back."
            if value.value and await confirmed(question, verb="Erase"):
                found = await run.io_bound(verb, relation.value, value.value, space=space)
                assert found is not None
                ui.notify(f"Erased {found['transactions']:,} transactions", type="positive")
