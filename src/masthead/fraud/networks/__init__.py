"""Graph networks: the article's over a whole graph, and the temporal one without ids."""
