"""A table of four transactions in which every kind of value occurs: quotes, gaps, sentinels, numbers as texts."""

from pathlib import Path

from masthead.fraud.data.schema import Schema

SCHEMA = Schema.parse("""
name = "small"
numerics = ["V1", "V2"]
categoricals = ["M1"]
missing = ["-1"]
[transaction]
id = "no"
time = { column = "at", unit = "s", origin = "2020-01-01T00:00:00Z" }
amount = "amount"
[label]
column = "fraud"
[entities]
card = "card"
device = "device"
client = { columns = ["card", "opened"] }
mail = "mail_low"
[derive]
opened = { op = "day_minus", column = "D1" }
mail_low = { op = "lower", column = "mail" }
""")
EVENTS = (
    "no,at,amount,card,mail,D1,V1,V2,M1,fraud\n"
    'a-1,86401,12.50,"x, ""y""",A@B.c,3,0.1,1e300,T,1\n'
    "007,1,0,13926.0,,,,NaN,F,0\n"
    "c,2.5,-5,-1,nan,7.0,-1,2,,\n"
    'd,3,,1e5,"a b",0,1,inf,T,false\n'
)
SIDE = "no,device,V1\n007,k1,9\nd,,3\nnobody,k2,1\n"


def write_data(folder: Path) -> Path:
    """Return the folder with the table in two files, joined by the transaction's number."""
    folder.mkdir()
    (folder / "events.csv").write_text(EVENTS)
    (folder / "side.csv").write_text(SIDE)
    return folder
