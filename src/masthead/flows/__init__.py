"""Flows: long jobs made of steps. A finished step is never run again, also after kill -9. Knows no capability."""
