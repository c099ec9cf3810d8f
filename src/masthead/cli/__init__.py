"""The command line: one file per room, the same verbs for every noun, nothing heavy before a command runs."""
