"""Who may do what: things, their certificates and their policies."""
