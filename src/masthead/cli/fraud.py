"""`masthead fraud`: from tables of transactions to decisions; each kind of command has a file of its own beside this."""

from masthead.cli import fraud_bench_model, fraud_data, fraud_graph, fraud_model
from masthead.cli.grammar import new_room
from masthead.cli.rooms import ROOMS

app = new_room(ROOMS["fraud"])
bench = new_room("Figures, measured here and now.")
fraud_data.add(app)
fraud_model.add(app)
fraud_graph.add(app)
fraud_bench_model.add(bench)
app.add_typer(bench, name="bench")
