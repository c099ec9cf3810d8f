"""The durable graph: its tables, the writer, deployments, and what follows a decision."""
