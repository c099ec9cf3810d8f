"""What people see of transactions: the live feed, simulations, lists, thresholds and verdicts."""
