"""Serving: what waits is written together, who is deployed decides, and states in memory follow the log."""
