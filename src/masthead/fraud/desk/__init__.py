"""What people decide and see: lists, thresholds, verdicts' outcomes, feed, simulations."""
