"""The path of a transaction: how long, how many, how durable; `masthead fraud bench` as a script, which prints its JSON.

python benchmarks/fraud_path.py latency --history 500000 --hub 400000 --runs 5 [--http]
python benchmarks/fraud_path.py throughput | explain | store | crash --kills 20 --history 500000
"""

import sys

from masthead.cli.main import run

if __name__ == "__main__":
    sys.exit(run(["fraud", "bench", *sys.argv[1:], "--json"]))
