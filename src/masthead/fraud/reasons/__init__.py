"""Looking back at a decision: explanations, paths to frauds, the graph around it, rings."""
