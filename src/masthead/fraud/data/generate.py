"""Tables of card payments in the form of the contest IEEE-CIS, with collusive rings in them and their truth beside.

Every id is drawn anew before it is written: fresh cards and devices of a ring must not be those of the largest numbers.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
from numpy.typing import NDArray

from masthead.base.errors import InvalidInput
from masthead.fraud.data.population import DAY_S, WIDTH, Population, populate

__all__ = ["SCHEMA", "Generated", "generate", "generating"]

FIRST_ID = 2_987_000
MOST = 20_000_000  # about 10 GB while it is made
_CHARGEBACK_DAYS, _CHARGEBACK_SIGMA, _MATURITY_DAYS = 12, 0.6, 60
_IDENTITY_SHARE, _NO_DEVICE = 0.9, 0.3
_PRODUCTS = ("W", "C", "H", "R", "S")
_NETWORKS = ("visa", "mastercard", "discover", "american express")
_KINDS = ("debit", "credit", "charge card", "debit or credit")
_COUNTRY_CODES = (150, 185, 106)
_SYSTEMS = (
    "Windows 10",
    "iOS 11.2.1",
    "Android 7.0",
    "Mac OS X 10_13",
    "Windows 7",
    "Android 8.0.0",
    "Linux",
)
_BROWSERS = (
    "chrome 63.0",
    "mobile safari 11.0",
    "edge 16.0",
    "firefox 57.0",
    "ie 11.0 for desktop",
    "safari generic",
)

SCHEMA = """\
name = "generated"
hubs = ["ProductCD", "card3", "card4", "card6", "addr2", "P_emaildomain", "R_emaildomain", "id_30", "id_31", "DeviceType"]
counterparties = ["card1", "id_20", "id_19"]
numerics = ["dist1", "C1", "D1", "V1-V16"]
categoricals = ["M1-M9", "ProductCD", "card4", "card6", "DeviceType"]

[transaction]
id = "TransactionID"
time = { column = "TransactionDT", unit = "s", origin = "2017-12-01T00:00:00Z" }
amount = "TransactionAmt"

[label]
column = "isFraud"
delay = "7d"
maturity = "60d"

[entities]
card1 = "card1"
card2 = "card2"
card3 = { columns = ["card3"], aggregate = false }
card4 = { columns = ["card4"], aggregate = false }
card5 = "card5"
card6 = { columns = ["card6"], aggregate = false }
ProductCD = { columns = ["ProductCD"], aggregate = false }
addr1 = "addr1"
addr2 = "addr2"
P_emaildomain = "P_emaildomain"
R_emaildomain = "R_emaildomain"
id_19 = "id_19"
id_20 = "id_20"
id_30 = { columns = ["id_30"], aggregate = false }
id_31 = { columns = ["id_31"], aggregate = false }
DeviceType = { columns = ["DeviceType"], aggregate = false }
DeviceInfo = "DeviceInfo"
"""
"""The schema of the tables, which is written beside them."""


@dataclass(frozen=True, slots=True)
class Generated:
    """What was written."""

    transactions: int
    seed: int
    frauds: int
    rings: int
    identities: int
    files: tuple[str, ...]

    def to_json(self) -> dict[str, object]:
        """Return the JSON form."""
        return {name: getattr(self, name) for name in self.__slots__}


def generate(transactions: int, seed: int, out: Path) -> Generated:
    """Write the tables of so many transactions into a folder and return what was written.

    The same arguments give the same bytes.

    Raises:
        InvalidInput: A number below 1 or beyond 20 million, or a seed below 0.
    """
    found = None
    for done, _, _ in generating(transactions, seed, out):
        found = done
    assert found is not None
    return found


def generating(transactions: int, seed: int, out: Path) -> Iterator[tuple[Generated | None, float, str]]:
    """Yield (what was written at the end, share done, what goes on); see `generate`."""
    if not 1 <= transactions <= MOST:
        raise InvalidInput(f"transactions: expected 1 to {MOST}, got {transactions}")
    if seed < 0:
        raise InvalidInput(f"seed: expected 0 or more, got {seed}")
    yield None, 0.0, "people and rings"
    people = populate(transactions, seed)
    rng = np.random.default_rng([seed, 1])
    ids = np.arange(FIRST_ID, FIRST_ID + transactions)
    out.mkdir(parents=True, exist_ok=True)
    yield None, 0.3, "transactions"
    kept = _identity_rows(people, rng)
    tables = {
        "train_transaction.csv": _transactions(people, ids, rng),
        "train_identity.csv": _identities(people, ids, kept, rng),
        "labels.csv": _labels(people, ids, rng),
        "rings.csv": pa.table({"TransactionID": ids, "ring": people.columns["ring"]}),
    }
    for place, (name, table) in enumerate(tables.items()):
        yield None, 0.5 + 0.1 * place, name
        _write(table, out / name)
    (out / "schema.toml").write_text(SCHEMA, encoding="utf-8")
    ring = people.columns["ring"]
    yield (
        Generated(
            transactions=transactions,
            seed=seed,
            frauds=int((ring != -1).sum()),
            rings=int(ring.max()) + 1,
            identities=len(kept),
            files=(*tables, "schema.toml"),
        ),
        1.0,
        "done",
    )


def _identity_rows(people: Population, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.flatnonzero(rng.random(len(people.columns["t"])) < _IDENTITY_SHARE)


def _transactions(people: Population, ids: NDArray[np.int64], rng: np.random.Generator) -> pa.Table:
    given, n = people.columns, len(ids)
    day = np.floor(given["t"].astype(float) / DAY_S).astype(np.int64)
    columns: dict[str, object] = {
        "TransactionID": ids,
        "isFraud": (given["ring"] != -1).astype(np.int64),
        "TransactionDT": given["t"].astype(np.int64) + DAY_S,
        "TransactionAmt": np.maximum(np.round(given["amount"].astype(float), 2), 0.01),
        "ProductCD": _named(given["product"], _PRODUCTS),
        "card1": _drawn(given["card"], 1000, rng),
        "card2": _drawn(given["bank"], 100, rng),
        "card3": np.array(_COUNTRY_CODES)[given["country"].astype(np.int64)],
        "card4": _named(given["network"], _NETWORKS),
        "card5": _drawn(given["product_line"], 100, rng),
        "card6": _named(given["kind"], _KINDS),
        "addr1": _drawn(given["region"], 100, rng),
        "addr2": _drawn(given["land"], 10, rng),
        "dist1": _some(np.round(rng.lognormal(3, 1.5, n)), 0.4, rng),
        "P_emaildomain": _some(_domains(given["payer"]), 0.95, rng),
        "R_emaildomain": _some(_domains(given["payee"]), 0.9, rng),
        "C1": 1 + rng.poisson(1.2, n),
        "D1": np.maximum(day - given["opened"].astype(np.int64), 0),
    }
    for number in range(1, 10):
        values = ("M0", "M1", "M2") if number == 4 else ("F", "T")
        columns[f"M{number}"] = _some(_named(rng.integers(0, len(values), n), values), 0.6, rng)
    for place in range(WIDTH):
        columns[f"V{place + 1}"] = np.round(people.numbers[:, place], 4)
    return pa.table(columns)


def _identities(
    people: Population, ids: NDArray[np.int64], kept: NDArray[np.int64], rng: np.random.Generator
) -> pa.Table:
    given = people.columns
    model = given["model"].astype(np.int64)
    address, device = _drawn(given["address"], 100, rng), _drawn(given["device"], 1000, rng)
    # Of all transactions 30 % name no device, those without a row here among them.
    named = (1 - _NO_DEVICE) / _IDENTITY_SHARE
    return pa.table(
        {
            "TransactionID": ids[kept],
            "id_19": address[kept],
            "id_20": _some(device[kept], named, rng),
            "id_30": _named(model[kept] % len(_SYSTEMS), _SYSTEMS),
            "id_31": _named(model[kept] % len(_BROWSERS), _BROWSERS),
            "DeviceType": _named(model[kept] % 2, ("desktop", "mobile")),
            "DeviceInfo": _named(
                _drawn(model, 0, rng)[kept], [f"model {number}" for number in range(model.max() + 1)]
            ),
        }
    )


def _labels(people: Population, ids: NDArray[np.int64], rng: np.random.Generator) -> pa.Table:
    """Return when each verdict is known: a chargeback after days to weeks, that there is none after 60 days."""
    t = people.columns["t"].astype(np.int64) + DAY_S
    fraud = people.columns["ring"] != -1
    delay = np.exp(rng.normal(np.log(_CHARGEBACK_DAYS * DAY_S), _CHARGEBACK_SIGMA, len(t)))
    arrived = t + np.where(fraud, delay, _MATURITY_DAYS * DAY_S).astype(np.int64)
    order = np.argsort(arrived, kind="stable")
    return pa.table(
        {"TransactionID": ids[order], "isFraud": fraud[order].astype(np.int64), "arrived_at": arrived[order]}
    )


def _drawn(values: NDArray[np.generic], first: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a number for each distinct value, drawn without regard to the values."""
    distinct, places = np.unique(values, return_inverse=True)
    return first + rng.permutation(len(distinct))[places]


def _named(places: NDArray[np.generic], names: tuple[str, ...] | list[str]) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(places, pa.int32()), pa.array(names, pa.string())).cast(
        pa.string()
    )


def _domains(places: NDArray[np.generic]) -> pa.Array:
    return _named(places, [f"mail{number:02d}.example" for number in range(60)])


def _some(values: object, share: float, rng: np.random.Generator) -> pa.Array:
    """Return the values, of which all but a share are missing."""
    array = values if isinstance(values, pa.Array) else pa.array(values)
    there = rng.random(len(array)) < share
    return pa.compute.if_else(pa.array(there), array, pa.scalar(None, array.type))


def _write(table: pa.Table, path: Path) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write((",".join(table.column_names) + "\n").encode())
        # No value holds a comma or a quote.
        options = pa.csv.WriteOptions(include_header=False, quoting_style="none")
        pa.csv.write_csv(table, file, options)
    os.replace(part, path)
