"""Transactions on their graph: from events to a score in real time, with reasons and feedback."""
