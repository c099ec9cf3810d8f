"""The docs name everything that a user can name, and no link leads nowhere."""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

import masthead
from masthead.access.conditions import OPERATORS
from masthead.access.shipped import SHIPPED
from masthead.access.thing_policies import BUILT_IN, KINDS
from masthead.access.verbs import VERBS
from masthead.alerts.channels import _FIELDS as CHANNELS
from masthead.alerts.rules import AlertRule
from masthead.api.factory import create_api
from masthead.app import Masthead
from masthead.base import errors
from masthead.base.log import JOURNAL_KINDS
from masthead.base.settings import ROLES, Settings, load_settings
from masthead.base.telemetry import REGISTRY
from masthead.cli.main import build
from masthead.metrics.spec import AGGREGATIONS, DetectorSpec
from masthead.metrics.state import REASONS
from masthead.streams.records import DeliveryStream, TopicRule
from masthead.streams.rules import _TYPES
from masthead.streams.values import FUNCTIONS

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("src/**/README.md"))]


@cache
def guide(name: str) -> str:
    return (ROOT / "docs" / name).read_text()


def missing(names: Iterator[str] | list[str], text: str) -> list[str]:
    """Return the names that do not stand in backquotes, or inside some, in a page."""
    quoted = re.sub(r"^```.*?^```$", lambda match: match[0].replace("```", "`"), text, flags=re.M | re.S)
    code = "\n".join(re.findall(r"`([^`]+)`", quoted))
    return [name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", code)]


def test_every_setting_stands_in_operations_with_its_environment_name_and_default() -> None:
    text = guide("operations.md")
    for name, field in Settings.model_fields.items():
        line = next((row for row in text.splitlines() if row.startswith(f"| `{name}` ")), "")
        assert f"`MASTHEAD_{name.upper()}`" in line, name
        default = field.default
        if isinstance(default, bool):
            assert f"`{str(default).lower()}`" in line, name
        elif isinstance(default, int | float):
            assert f"`{default:.12g}`" in line, name
        elif default:
            assert f"`{default}`" in line, name


def commands(command: Any, path: str = "masthead") -> Iterator[tuple[str, Any]]:
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:  # former names, which go on working
            yield from commands(inner, f"{path} {name}")
    if not hasattr(command, "commands"):
        yield path, command


def test_every_command_and_option_stands_in_cli() -> None:
    sections: dict[str, str] = {}
    for part in re.split(r"^#+ ", guide("cli.md"), flags=re.M)[1:]:
        title, _, body = part.partition("\n")
        sections[" ".join(word for word in re.sub("`", "", title).split() if word.islower())] = body
    for path, command in commands(typer.main.get_command(build())):
        assert path in sections, f"{path} has no section in cli.md"
        options = [
            option
            for parameter in command.params
            if parameter.param_type_name == "option" and not parameter.hidden
            for option in [*parameter.opts, *parameter.secondary_opts]
        ]
        assert missing(options, sections[path]) == [], path


def test_cli_names_no_command_that_is_gone() -> None:
    known = {path for path, _ in commands(typer.main.get_command(build()))}
    titles = re.findall(r"^#+ `(masthead [^`]+)`", guide("cli.md"), flags=re.M)
    told = {" ".join(word for word in title.split() if word.islower()) for title in titles}
    assert told == known


def test_every_route_stands_in_api(tmp_path: Path) -> None:
    with Masthead.open(load_settings({}, data=tmp_path / "data")) as product:
        paths = create_api(product).openapi()["paths"]
    known = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    told = set(re.findall(r"^\| `([A-Z]+ /[^`]*)` \|", guide("api.md"), flags=re.M))
    assert told == known


def test_every_action_of_the_api_and_the_console_stands_in_api() -> None:
    assert missing(sorted({deed.action for deed in VERBS.values()}), guide("api.md")) == []


def test_every_error_stands_in_errors() -> None:
    text = guide("errors.md")
    for name in errors.__all__:
        if name[0].isupper() and name != "MastheadError":
            assert f"`{name}`" in text, name
    for status in (400, 401, 403, 404, 409, 413, 429, 500, 503):
        assert f"| {status} |" in text, status


def test_every_function_of_the_rules_stands_in_rules_with_an_example() -> None:
    text = guide("rules.md")
    for name in (*FUNCTIONS, "cast", "regexp_matches", "topic", "timestamp", "clientid", "newuuid"):
        assert re.search(rf"^\| `{name}\(.*\| `.+` \|", text, flags=re.M), name
    assert missing([kind.capitalize() for kind in _TYPES], text) == []


def test_every_counter_stands_in_operations() -> None:
    for module in pkgutil.walk_packages(masthead.__path__, "masthead."):
        if ".migrations" not in module.name and ".console" not in module.name:
            importlib.import_module(module.name)
    names = [
        family.name + ("_total" if family.type == "counter" else "")
        for family in REGISTRY.collect()
        if family.name.startswith("masthead_")
    ]
    assert len(names) > 15
    assert missing(names, guide("operations.md")) == []


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("access.md", [*SHIPPED, *OPERATORS, "Null"]),
        ("alerts.md", list(CHANNELS)),
        ("alerts.md", [one for needed, further in CHANNELS.values() for one in sorted(needed | further)]),
        ("alerts.md", sorted(set(AlertRule.__slots__) - {"created", "updated"})),
        ("metrics.md", list(AGGREGATIONS)),
        ("metrics.md", list(DetectorSpec.__slots__)),
        ("metrics.md", [reason for reason in REASONS if reason]),
        ("rules.md", list(TopicRule.__slots__)),
        ("streams.md", sorted(set(DeliveryStream.__slots__) - {"version"})),
        ("things.md", [*BUILT_IN, *KINDS]),
        ("operations.md", [*ROLES]),
        ("operations.md", [*JOURNAL_KINDS]),
    ],
    ids=lambda given: given if isinstance(given, str) else given[0],
)
def test_every_field_and_kind_stands_in_its_guide(page: str, names: list[str]) -> None:
    assert missing(names, guide(page)) == []


def anchors(text: str) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_between_pages_leads_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(found.read_text()), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_source_that_a_page_quotes_stands_there(page: Path) -> None:
    for path, text in re.findall(r"^```python (src/\S+)\n(.*?)^```$", page.read_text(), flags=re.M | re.S):
        assert text in (ROOT / path).read_text(), f"{page.name}: {path}"


def test_every_page_is_reached_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert f"docs/{page.name}" in text, page.name
