"""`masthead fraud`: from tables of transactions to decisions; each kind of command has a file of its own beside this."""

from masthead.cli import (
    fraud_bench,
    fraud_bench_model,
    fraud_champions,
    fraud_data,
    fraud_explain,
    fraud_graph,
    fraud_load,
    fraud_model,
    fraud_pipeline,
    fraud_scripts,
    fraud_serve,
    fraud_simulate,
)
from masthead.cli.grammar import new_room
from masthead.cli.rooms import ROOMS

app = new_room(ROOMS["fraud"])
fraud_data.add(app)
fraud_model.add(app)
fraud_graph.add(app)
fraud_serve.add(app)
fraud_load.add(app)
fraud_champions.add(app)
fraud_explain.add(app)
fraud_bench.add(app)
fraud_bench_model.add(fraud_bench.bench)
fraud_scripts.add(app)
fraud_pipeline.add(app)
fraud_simulate.add(app)
