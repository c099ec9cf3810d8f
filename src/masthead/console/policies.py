"""Policies: what things may publish and subscribe to, in the shape of IAM, and a bench to ask one."""

from nicegui import ui

from masthead.access.records import ThingPolicy
from masthead.access.thing_policies import KINDS
from masthead.console.editor import open_editor
from masthead.console.parts import (
    Row,
    as_json,
    changed_rows,
    deleting,
    form,
    from_json,
    show_json,
    table,
    telling_errors,
    title,
)
from masthead.console.shell import Console, frame, watch

_EXAMPLE = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "iot:Publish",
            "Resource": "arn:aws:iot:*:*:topic/sensors/${iot:Connection.Thing.ThingName}/*",
        }
    ],
}


def register(console: Console) -> None:
    """Make the page `/ui/policies`."""

    @ui.page("/policies")
    def policies_page() -> None:
        access = console.masthead.access
        with frame("policies", "Policies"):
            with ui.row().classes("items-center w-full"):
                ui.label("What a thing may publish and subscribe to; denied unless allowed").classes(
                    "mh-soft"
                )
                ui.space()
                ui.button("New policy", icon="add", on_click=lambda: _new_policy(console))
            policies = table(
                (("name", "Name"), ("statements", "Statements"), ("used", "Used by"), ("origin", "Origin")),
                [],
                empty="No policies yet",
                actions={
                    "Show": ("visibility", lambda row: _show(console, row)),
                    "Edit": ("edit", lambda row: _edit(console, row["name"])),
                    "Delete": ("delete", deleting("policy", access.delete_policy)),
                },
            )

            def update() -> None:
                used: dict[str, list[str]] = {}
                for thing in access.list_things():
                    for name in thing.policies:
                        used.setdefault(name, []).append(thing.name)
                changed_rows(
                    policies, [_row(policy, used.get(policy.name, [])) for policy in access.list_policies()]
                )

            watch(update)
            _bench(console)


def _row(policy: ThingPolicy, used: list[str]) -> Row:
    more = f" and {len(used) - 3:,} more" if len(used) > 3 else ""
    statements = policy.document.get("Statement", [])
    return {
        "name": policy.name,
        "statements": len(statements) if isinstance(statements, list) else 1,
        "used": (", ".join(used[:3]) + more) or "no thing",
        "origin": "built in" if policy.built_in else "yours",
    }


def _show(console: Console, row: Row) -> None:
    policy = console.masthead.access.get_policy(row["name"])
    show_json(f"Policy {policy.name}", policy.document)


def _edit(console: Console, name: str) -> None:
    access = console.masthead.access
    open_editor(
        f"Policy {name}",
        access.get_policy(name).document,
        lambda document: access.update_policy(name, document),
        note="Its things are held to the new document within a second.",
    )


def _bench(console: Console) -> None:
    """Draw the place where a policy is asked before a thing depends on it."""
    access = console.masthead.access
    with ui.column().classes("mh-card w-full"):
        title("Test a policy")
        with ui.row().classes("w-full items-end"):
            names = [policy.name for policy in access.list_policies()]
            policy = ui.select(names, value=names[0], label="Policy").style("min-width: 180px")
            action = ui.select(list(KINDS), value="iot:Publish", label="Action").style("min-width: 160px")
            resource = ui.input("Topic, filter or client", value="sensors/B-101/air").style(
                "flex: 1; min-width: 220px"
            )
            thing = ui.input("As the thing", value="B-101").style("min-width: 140px")
            ui.button("Test", icon="play_arrow", on_click=lambda: run())
        answer = ui.label().classes("mh-tone text-weight-medium").props("role=status")

        def run() -> None:
            with telling_errors():
                allowed = access.test_policy(
                    policy.value, action.value, resource.value or "", thing.value or ""
                )
                answer.text = f"{'Allowed' if allowed else 'Denied'}: {action.value} on {resource.value}"
                answer.classes(
                    add="text-positive" if allowed else "text-negative",
                    remove="text-negative" if allowed else "text-positive",
                )

        def follow() -> None:
            now = [one.name for one in access.list_policies()]
            if now != policy.options:
                policy.set_options(now, value=policy.value if policy.value in now else now[0])

        watch(follow)


def _new_policy(console: Console) -> None:
    """Open the dialog that makes a policy."""

    def save() -> None:
        console.masthead.access.create_policy(name.value or "", from_json(document.value, "document"))

    with form("New policy", save):
        name = ui.input("Name").classes("w-full").props("autofocus")
        document = (
            ui.textarea("Document", value=as_json(_EXAMPLE))
            .classes("w-full")
            .props("rows=14 input-class=mh-log")
        )
