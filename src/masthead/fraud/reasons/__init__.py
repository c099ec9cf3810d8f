"""Looking back at a decision: reasons, paths, graphs, rings."""
