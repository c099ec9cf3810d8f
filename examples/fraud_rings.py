"""Card payments with collusive rings in them: from tables to decisions in Python, each step as the command line has it.

Run it cell by cell in an editor, or as a script: `python examples/fraud_rings.py`. It writes to a temporary folder.
"""

# %% Generate: tables in the form of the contest IEEE-CIS, and the truth beside them. (masthead fraud generate)
import csv
import tempfile
from itertools import islice
from pathlib import Path

from masthead.fraud.data.etl import Order, extract
from masthead.fraud.data.generate import generate
from masthead.fraud.data.schema import Schema
from masthead.fraud.scoring.model import FraudModel

DAY_S = 86_400
holder = tempfile.TemporaryDirectory()
folder = Path(holder.name)
cards = folder / "cards"
made = generate(6_000, 7, cards)
print(f"{made.transactions} transactions, {made.frauds} frauds, {made.rings} rings")
schema = Schema.read(cards / "schema.toml")
tables = [cards / "train_transaction.csv", cards / "train_identity.csv"]
labels = cards / "labels.csv"

# %% ETL: the files of the graph, for graph networks. (masthead fraud etl)
graph = extract(Order(schema, tuple(tables), folder / "graph"))
edges = sum(count for name, count in graph.tables.items() if name.startswith("relation_"))
print(f"{graph.tables['features']} nodes, {graph.test} held out, {edges} edges")

# %% Train on the first 130 days, with the labels that had arrived by the 140th. (masthead fraud train)
model = FraudModel.train(
    schema,
    tables,
    labels,
    train_until=131 * DAY_S,
    labels_until=141 * DAY_S,
    seed=7,
    out=folder / "model",
)
print(f"{model.card['rows']} transactions taught, {model.card['excluded_immature']} were too young to")

# %% Evaluate on the last 40 days, streamed: each transaction sees what was known at its time. (masthead fraud evaluate)
found = model.evaluate(tables, labels, test_from=141 * DAY_S, test_until=182 * DAY_S).metrics
print(f"{found['n']} streamed, {found['positives']} frauds among them")
print(f"area under the curve {found['roc_auc']:.2f}, average precision {found['average_precision']:.2f}")

# %% Score: the model at work, one transaction after the other. (masthead fraud score)
stream = FraudModel.load(folder / "model").stream()
with tables[0].open() as file:
    for row in islice(csv.DictReader(file), 1_000):
        decision = stream.score(row)
print(f"{decision.id}: {decision.action}, in {'less' if decision.latency_ms < 50 else 'more'} than 50 ms")
holder.cleanup()
