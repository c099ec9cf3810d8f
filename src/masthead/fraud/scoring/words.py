"""What relations, entities and columns are called in sentences."""

import json
import re
from types import MappingProxyType

__all__ = ["SPANS", "column_text", "data_noun", "entity_text", "noun_of", "plural", "plural_of", "spelled"]

_NOUNS = MappingProxyType(
    {
        "card1": "card",
        "card4": "card network",
        "card6": "card type",
        "addr1": "billing region",
        "addr2": "billing country",
        "P_emaildomain": "payer's mail domain",
        "R_emaildomain": "recipient's mail domain",
        "ProductCD": "product",
        "dist1": "first distance",
        "dist2": "second distance",
        "id_19": "address",
        "id_20": "device",
        "id_30": "operating system",
        "id_31": "browser",
        "id_33": "screen size",
        "DeviceInfo": "device model",
        "DeviceType": "device type",
    }
)
"""What the columns of IEEE-CIS are; other relations are called as their schema calls them."""
_KINDS = (
    (re.compile(r"card[1-9]"), "card attribute"),
    (re.compile(r"id_\d\d"), "identity attribute"),
    (re.compile(r"C\d{1,2}"), "count"),
    (re.compile(r"D\d{1,2}"), "time span"),
    (re.compile(r"M\d"), "match"),
    (re.compile(r"V\d{1,3}"), "derived value"),
)
"""Of IEEE-CIS's columns whose meaning was never published it is known at least what kind they are of."""
_OWN = MappingProxyType({"missing": "missing relations", "new": "new entities"})
_PAST = MappingProxyType(
    {
        "count": "transactions so far",
        "since_last": "time since the last one",
        "since_first": "time since the first one",
        "burst": "a day's transactions against the usual",
        "amount_difference": "amount against its usual",
        "amount_deviations": "amount against its usual, in deviations",
        "frauds": "confirmed frauds",
        "fraud_rate": "share of fraud",
        "since_fraud": "time since the last fraud",
    }
)
_WINDOWED = MappingProxyType(
    {
        "count": "transactions",
        "amount": "mean amount",
        "frauds": "frauds told",
        "labels": "outcomes told",
        "fraud_share": "share of fraud among outcomes told",
    }
)
SPANS = MappingProxyType({"1h": "1 h", "1d": "24 h", "7d": "7 days", "30d": "30 days"})


def noun_of(relation: str) -> str:
    """Return what people call an entity of a relation.

    >>> noun_of("id_20"), noun_of("merchant_id"), noun_of("card2")
    ('device', 'merchant', 'card attribute card2')
    """
    return _known(relation) or relation.removesuffix("_id").replace("_", " ") or relation


def plural_of(relation: str) -> str:
    """Return what people call several entities of a relation.

    >>> plural_of("id_19"), plural_of("country"), plural_of("card")
    ('addresses', 'countries', 'cards')
    """
    return plural(noun_of(relation))


def plural(noun: str) -> str:
    """Return several of a noun."""
    if noun.endswith(("s", "x", "ch")):
        return f"{noun}es"
    return f"{noun[:-1]}ies" if noun.endswith("y") and noun[-2:-1] not in "aeiou" else f"{noun}s"


def spelled(key: str) -> str:
    """Return a key as people read it: the parts of a composite one in a row.

    >>> spelled("8812"), spelled('["a-b","7"]')
    ('8812', 'a-b, 7')
    """
    if key.startswith("["):
        try:
            return ", ".join(map(str, json.loads(key)))
        except ValueError:
            return key
    return key


def entity_text(relation: str, key: str) -> str:
    """Return what people call an entity; a word with which one ends and the other begins is said once.

    >>> entity_text("id_20", "1fab"), entity_text("DeviceInfo", "model 363"), entity_text("DeviceInfo", "models")
    ('device 1fab', 'device model 363', 'device model models')
    """
    noun, value = noun_of(relation), spelled(key)
    first, _, rest = value.partition(" ")
    return f"{noun} {rest if rest and noun.split()[-1] == first.lower() else value}"


def data_noun(column: str) -> str:
    """Return what people call a column of the data, or a count over all relations.

    >>> data_noun("V2"), data_noun("ProductCD"), data_noun("new"), data_noun("age")
    ('derived value V2', 'product', 'new entities', 'column age')
    """
    return _OWN.get(column) or _known(column) or f"column {column}"


def column_text(column: str) -> str:
    """Return what people call a column that a model sees.

    >>> column_text("addr2.since_last"), column_text("id_20.frauds_7d")
    ('billing country: time since the last one', 'device: frauds told in 7 days')
    >>> column_text("id_20.distinct_card1"), column_text("age"), column_text("amount")
    ('device: cards', 'age', 'amount')
    """
    relation, dot, what = column.rpartition(".")
    if not dot:
        return _OWN.get(column) or _known(column) or column
    return f"{noun_of(relation)}: {_past_text(what)}"


def _past_text(what: str) -> str:
    if what.startswith("distinct_"):
        other = what.removeprefix("distinct_")
        several = plural_of(other.removesuffix("_share"))
        return f"{several} per transaction" if other.endswith("_share") else several
    told, _, span = what.rpartition("_")
    if told in _WINDOWED and span in SPANS:
        return f"{_WINDOWED[told]} in {SPANS[span]}"
    return _PAST.get(what, what.replace("_", " "))


def _known(name: str) -> str | None:
    if name in _NOUNS:
        return _NOUNS[name]
    return next((f"{kind} {name}" for pattern, kind in _KINDS if pattern.fullmatch(name)), None)
