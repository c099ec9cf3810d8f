"""Readings in, objects out: topic rules, delivery buffers partitioned by event time. No sockets."""
