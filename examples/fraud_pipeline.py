"""The whole way on one machine: files, pipeline, endpoint, decisions, what flows back, and the graph by itself.

Run it cell by cell in an editor, or as a script: `python examples/fraud_pipeline.py`. It writes to a temporary folder; a server
does the same over HTTP, and each cell names the command that does.
"""

# %% Card payments in the form of the contest IEEE-CIS. (masthead fraud generate)
import tempfile
import time
from pathlib import Path

from masthead.app import Masthead
from masthead.base.settings import Settings
from masthead.fraud.data.events import read_events
from masthead.fraud.data.generate import generate
from masthead.fraud.data.neptune import export
from masthead.fraud.data.schema import Schema
from masthead.fraud.networks.graph_files import read_graph
from masthead.fraud.networks.graph_training import Options, train_graph_model

scratch = tempfile.TemporaryDirectory()
folder = Path(scratch.name)
cards = folder / "cards"
made = generate(3_000, 7, cards)
tables = [cards / "train_transaction.csv", cards / "train_identity.csv"]
print(f"{made.transactions} transactions, {made.frauds} frauds")

# %% From files to an endpoint that answers, in steps that survive a crash. (masthead fraud pipeline start --config FILE)
house = Masthead.open(Settings(data=folder / "data"))
begun = house.pipelines.start(
    {
        "schema": str(cards / "schema.toml"),
        "data": [str(path) for path in tables],
        "labels": str(cards / "labels.csv"),
        "endpoint": {"name": "cards"},
    }
)
house.pipelines.run_here(begun["id"])  # a server would have begun by itself
while (run := house.pipelines.get(begun["id"]))["state"] in ("waiting", "running"):
    time.sleep(0.1)
print(f"{run['state']}: {', '.join(step['name'] for step in run['steps'] if step['state'] == 'done')}")

# %% A new payment is decided, durably. (masthead fraud score, POST /fraud/transactions)
payment = {"TransactionID": "new-1", "TransactionDT": 15_600_000, "TransactionAmt": 250, "card1": "4711"}
decision = house.fraud.score(payment)
print(f"{decision['id']}: {decision['action']}")

# %% What an analyst says flows back, and why it was decided so stays to be asked. (masthead fraud label, explain)
house.fraud.label("new-1", "fraud", "analyst")
again = house.fraud.score({**payment, "TransactionID": "new-2", "TransactionDT": 15_603_600})
print("the second one is riskier:", again["pred_prob"] > decision["pred_prob"])
(reason, *_) = house.fraud.explanation("new-2")["reasons"]
print(f"because of {reason['text']}")

# %% The same transactions as Amazon Neptune loads them, and back from there. (masthead fraud export, load)
schema = Schema.read(cards / "schema.toml")
export(schema, read_events(schema, tables), folder / "neptune")
load = house.loads.start([str(folder / "neptune")], space="copy", worker="caller")
for _ in house.loads.doing(load["id"]):
    pass
print(f"{house.loads.get(load['id'])['output']['loaded']} loaded from Neptune's form")

# %% The files of the graph that the pipeline left teach a graph network. (masthead fraud graph train, predict)
graph = read_graph(next((folder / "data" / "runs").glob("*/process/graph")))
outcome = train_graph_model(graph, Options(n_epochs=3, seed=7))
scores = outcome.model.score(graph)
print(f"{len(scores)} nodes scored, {graph.held_out.sum()} of them held out")
house.close()
scratch.cleanup()
