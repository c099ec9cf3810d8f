"""From nothing to the files of a graph: generated card payments, read by their schema, linked by what they share.

Run it cell by cell in an editor, or as a script: `python examples/fraud_data.py`. It writes to a temporary folder.
"""

# %% A thousand card payments, some of them of rings.
import tempfile
from collections import Counter
from pathlib import Path

from masthead.fraud.data.etl import Order, extract
from masthead.fraud.data.events import read_events, read_labels
from masthead.fraud.data.generate import generate
from masthead.fraud.data.schema import Schema

scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name)
made = generate(1000, 7, folder / "cards")
print(f"{made.transactions} transactions, {made.frauds} of them fraud")

# %% What the columns mean stands in one file.
schema = Schema.read(folder / "cards" / "schema.toml")
events = read_events(schema, [folder / "cards"])
labels = read_labels(schema, events, folder / "cards" / "labels.csv")
print(f"{len(schema.relations)} relations, {len(labels)} labels, {events.problems.num_rows} problems")

# %% A device that several cards share is what a graph is for.
relations = [one.name for one in schema.relations]
device, card = events.codes[:, relations.index("id_20")], events.codes[:, relations.index("card1")]
pairs = {(one, other) for one, other in zip(device.tolist(), card.tolist(), strict=True) if one >= 0}
cards_each = Counter(one for one, _ in pairs)
print(f"{sum(count > 2 for count in cards_each.values())} devices pay with more than two cards")

# %% The files of the graph, as the article's training reads them.
done = extract(Order(schema, (folder / "cards",), folder / "graph"))
print(f"{len(done.tables)} tables, {done.test} transactions held out")
print((folder / "graph" / "relation_id_20_edgelist.csv").read_text().splitlines()[0])
scratch.cleanup()
