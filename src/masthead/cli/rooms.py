"""The groups of commands and what each is for, in one place, so that the help of all loads the code of none."""

ROOMS = {
    "things": "Things: devices with a certificate each, and what they may publish and hear.",
    "policies": "Policies: IAM-shaped documents that say what a thing may publish and subscribe to.",
    "rules": "Topic rules: SQL over messages, and the actions that take what it selects.",
    "streams": "Delivery streams: records to objects, partitioned by the time in which they happened.",
    "alerts": "Alert rules: who hears of which anomalies, through which channel.",
    "channels": "Named channels: what an alert rule may speak to by name, before it exists.",
    "detectors": "Detectors: data sets that are watched, and the anomalies found in them.",
    "endpoints": "Endpoints: models that answer, under which names, and what is counted of their calls.",
    "jobs": "Jobs: activations that learn a history, and back-tests; they go on after a crash.",
    "keys": "Keys: what programs show, with policies, limits and an end.",
    "console": "Console: a one-time link to sign in with.",
    "fraud": "Transactions: generate, train, evaluate, and score them on their graph.",
    "metrics": "Measures: score files without a server, look at data before it is used.",
    "objects": "Objects by address, s3://bucket/key.",
    "aws": "AWS clients: what they need to know of Masthead.",
    "demo": "The product at work on published readings, in a folder of its own.",
}
"""Name of the group, which is also the module that holds it -> its help."""
