"""Alerts: who hears of what, in which words, by which way, and whether it arrived."""
