"""Masthead sees things coming: it watches streams of readings on your own machine and says what is unusual."""

__version__ = "0.1.0"
