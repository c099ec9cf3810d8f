"""The web pages: one file per capability, shared parts in `shell` and `parts`. Reads services, decides nothing."""
