"""A model card as a person reads it: what the model is, what it learned from, what it is worth, what its cuts cost."""

from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui

from masthead.console.charts import theme
from masthead.console.fraud_charts import cost_curve
from masthead.console.fraud_parts import money, probability, rate
from masthead.console.parts import as_json, facts, iso_time, page_dialog, title
from masthead.console.shell import Console, is_dark
from masthead.console.tables import Row, table

_LONG = ("calibration", "chosen", "directions", "files", "layout", "reference")  # only machines read them
_SCORERS = {
    "lightgbm": "Trees (LightGBM) on columns of the transaction and of the past of what it shares",
    "gnn": "A temporal graph network on columns of the transaction and of the past of what it shares",
}
_SETTINGS = {
    "trees": "Trees",
    "epochs": "Epochs",
    "n_epochs": "Epochs",
    "learning_rate": "Learning rate",
    "lr": "Learning rate",
    "num_leaves": "Leaves of a tree, at most",
    "min_data_in_leaf": "Rows in a leaf, at least",
    "feature_fraction": "Columns that a tree sees, share",
    "bagging_fraction": "Rows that a tree sees, share",
    "lambda_l2": "Regularisation (L2)",
    "hidden": "Width of the network",
    "n_hidden": "Width of the network",
    "n_layers": "Layers",
    "embedding_size": "Numbers in an entity's vector",
    "dropout": "Dropout",
    "weight_decay": "Weight decay",
    "seed": "Seed",
}
_CURVE = (
    ("threshold", "Flagged from"),
    ("alerts", "Flagged a day"),
    ("precision", "Precision"),
    ("recall", "Recall"),
    ("missed", "Missed a day"),
    ("cost", "Cost a day"),
)
_CURVE_NOTE = (
    "What a day costs if everything from a probability on is blocked: missed frauds, and the friction of blocking who "
    "is honest. Between the two cuts people look first. Costs beyond about twice those of flagging nothing are not drawn."
)
_STREAMED = "each label known only once it had arrived, as in live traffic: expect this"
_TRANSDUCTIVE = "all labels known at once, as papers often report it: it mostly flatters"
_MEMBERS = {"own": "trees on own features", "trees": "trees with neighbours", "network": "the network"}
_HELD = {
    "test": "On {} nodes that were held out",
    "validation": "On the {} nodes that said when to stop, since no others were held out",
}

Json = Mapping[str, Any]
Facts = Sequence[tuple[str, str]]


def open_card(console: Console, id: str) -> None:
    """Open the card of a model."""
    card = console.masthead.portal.card(id)
    width = "width: min(900px, 94vw); max-width: 94vw; gap: 14px"
    with page_dialog(f"Model {id}", width=width) as (dialog, _):
        title(f"Model {id}").style("overflow-wrap: anywhere")
        if card.get("kind") == "fraud-graph":
            _graph_network(card)
        else:
            _scorer(card)
        with ui.expansion("Settings").classes("w-full"):
            facts(settings(card))
        with ui.expansion("All of it as JSON").classes("w-full"):
            kept = {name: value for name, value in card.items() if name not in _LONG}
            ui.code(as_json(kept), language="json").classes("w-full")
        with ui.row().classes("w-full justify-end"):
            ui.button("Close", on_click=dialog.close)


def _scorer(card: Json) -> None:
    facts(scorer_facts(card))
    _part("What it is worth", f"On the latest {_share_of_window(card)} of its window, which it had not seen")
    table(
        (("name", "Labels"), ("ap", "Average precision"), ("auc", "ROC AUC"), ("means", "What it means")),
        [_worth(card, "validation"), _worth(card, "transductive")],
        empty="",
    )
    cuts = card.get("thresholds") or {}
    if not cuts:
        return
    _part("Thresholds")
    facts(threshold_facts(cuts))
    if cuts.get("curve"):
        _curve(cuts)


def _part(heading: str, note: str = "") -> None:
    title(heading).classes("q-mt-sm")
    if note:
        ui.label(note).classes("mh-soft")


def scorer_facts(card: Json) -> Facts:
    """Return what a scorer is and what it learned from."""
    windows, rows, frauds = card.get("windows") or {}, card.get("rows", 0), card.get("positives", 0)
    kind = _SCORERS.get(str(card.get("scorer")), str(card.get("scorer", "unknown")))
    embedded = (card.get("embeddings") or {}).get("kept")
    found = [
        ("What it is", kind + (", and a network's state" if embedded else "")),
        ("Schema", str((card.get("schema") or {}).get("name", "unknown"))),
        ("Made (UTC)", iso_time(card.get("created"))),
        ("Learned from", _span(windows.get("train_from"), windows.get("train_until"))),
        (
            "Transactions",
            f"{rows:,}, of them {frauds:,} frauds" + (f" ({100 * frauds / rows:.2f} %)" if rows else ""),
        ),
        ("Labels", f"those that had arrived by {iso_time(windows.get('labels_until')) or 'the end'}"),
    ]
    if left := card.get("excluded_immature"):
        found.append(("Left out", f"{left:,} transactions whose outcome was not certain yet"))
    return found


def _span(start: str | None, end: str | None) -> str:
    return f"{iso_time(start) or 'the first'} to {iso_time(end) or 'the last'}"


def _share_of_window(card: Json) -> str:
    windows = card.get("windows") or {}
    start = iso_time(windows.get("validation_from"))
    return f"part, from {start} on," if start else "part"


def _worth(card: Json, kind: str) -> Row:
    found = card.get(kind) or {}
    streamed = kind == "validation"
    return {
        "name": "streamed" if streamed else "transductive",
        "ap": rate(found.get("average_precision")) or "not known",
        "auc": rate(found.get("roc_auc")) or "not known",
        "means": _STREAMED if streamed else _TRANSDUCTIVE,
    }


def threshold_facts(cuts: Json) -> Facts:
    """Return both cuts with what they come to, and what they were weighed by."""
    costs = cuts.get("costs") or {}
    found = [
        (f"{name.capitalize()} from", f"{probability(cuts[name])}{_comes_to(cuts, cuts[name])}")
        for name in ("review", "block")
    ]
    if costs:
        told = (
            f"a missed fraud {100 * costs['loss_rate']:.0f} % of its amount, blocking who is honest "
            f"{money(costs['friction'])}, a review {money(costs['review'])}; at most {costs['capacity']:,} reviews a day"
        )
        found.append(("Weighed by", told))
    return found


def _comes_to(cuts: Json, cut: float) -> str:
    one = next((each for each in cuts.get("curve", ()) if each["threshold"] == cut), None)
    if one is None:
        return ""
    return (
        f": {one['alerts_per_day']:,.3g} transactions a day, {100 * one['precision']:.0f} % of them fraud, which is "
        f"{100 * one['recall']:.0f} % of all frauds"
    )


def _curve(cuts: Json) -> None:
    rows, dark = [_curve_row(one) for one in cuts["curve"]], is_dark()
    told = ["\n".join(f"{text}: {row[name]}" for name, text in _CURVE) for row in rows]
    _part("What other thresholds would cost", _CURVE_NOTE)
    options = cost_curve(cuts["curve"], (cuts["review"], cuts["block"]), told, dark=dark)
    ui.echart(options, theme=theme(dark=dark)).style("height: 320px").classes("w-full").props("role=img")
    with ui.expansion("The same as a table").classes("w-full"):
        table(_CURVE, rows, key="place", page=10, empty="")


def _curve_row(one: Mapping[str, float]) -> Row:
    return {
        "place": f"{one['threshold']!r} {one['alerts_per_day']!r}",
        "threshold": probability(one["threshold"]),
        "alerts": f"{one['alerts_per_day']:,.4g}",
        "precision": rate(one["precision"]),
        "recall": rate(one["recall"]),
        "missed": money(one["missed"]),
        "cost": money(one["cost"]),
    }


# --------------------------------------------------------------------------------------- graph networks


def _graph_network(card: Json) -> None:
    facts(graph_facts(card))
    metrics = card.get("metrics") or {}
    held = _HELD.get(str(card.get("measured_on")), "On {} nodes")
    _part("What it is worth", held.format(f"{metrics.get('n_test', 0):,}"))
    facts(metric_facts(metrics, (card.get("options") or {}).get("threshold")))
    rows = [
        {"name": _member(name), "ap": rate(one.get("ap")) or "not known", "auc": rate(one.get("roc_auc"))}
        for name, one in (card.get("members") or {}).items()
    ]
    if rows:
        _part(
            "What its parts would reach alone or together", f"It scores by {_member('+'.join(card['blend']))}"
        )
        table((("name", "Scored by"), ("ap", "Average precision"), ("auc", "ROC AUC")), rows, empty="")
    _part("The graph that it learned from")
    table((("name", "Nodes or edges"), ("count", "Many")), graph_rows(card), empty="", key="key")


def _member(name: str) -> str:
    return " and ".join(_MEMBERS.get(each, each) for each in name.split("+"))


def graph_facts(card: Json) -> Facts:
    """Return what a graph network is and what it learned from."""
    target = card.get("target", "")
    return [
        ("What it is", "A relational graph network: it answers with a probability and decides nothing"),
        ("Made (UTC)", iso_time(card.get("created"))),
        ("Learned from", f"{card.get('rows', 0):,} labelled nodes of type {target}"),
        ("Chosen by", f"{card.get('validation_rows', 0):,} others, which said when to stop"),
        ("Features of a node", ", ".join(card.get("columns", ())[:12]) or "none"),
    ]


def metric_facts(metrics: Json, cut: float | None) -> Facts:
    """Return the measures of a graph network."""
    names = {
        "ap": "Average precision",
        "roc_auc": "ROC AUC",
        "precision": "Precision",
        "recall": "Recall",
        "f1": "F1",
        "accuracy": "Accuracy",
    }
    found = [(text, rate(metrics.get(name)) or "not known") for name, text in names.items()]
    if counts := metrics.get("confusion"):
        told = (
            f"{counts['tp']:,} frauds found and {counts['fn']:,} missed, {counts['fp']:,} others called fraud and "
            f"{counts['tn']:,} not"
        )
        found.append((f"From {probability(cut)} on" if cut is not None else "At its cut", told))
    return found


def graph_rows(card: Json) -> list[Row]:
    """Return the types of nodes and the relations with how many there are; a card of earlier did not count them."""
    nodes = card.get("nodes") or dict.fromkeys(card.get("types", ()))
    relations = dict.fromkeys(str(one["name"])[1:] for one in card.get("directions", ()))
    edges = card.get("edges") or relations
    return [
        {
            "key": f"{kind} {name}",
            "name": f"{kind} {name}",
            "count": "not told" if count is None else f"{count:,}",
        }
        for kind, counts in (("nodes of type", nodes), ("edges of relation", edges))
        for name, count in counts.items()
    ]


def settings(card: Json) -> Facts:
    """Return what was chosen before it learned, in words."""
    given = {**card, **(card.get("configuration") or {}), **(card.get("options") or {})}
    found = [(text, f"{given[name]:g}") for name, text in _SETTINGS.items() if _is_number(given.get(name))]
    versions = card.get("versions") or {}
    return [*found, *((f"Version of {name}", str(value)) for name, value in versions.items())]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
