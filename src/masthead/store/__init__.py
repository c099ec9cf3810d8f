"""Where things are kept: the database, objects and tables. Every engine passes the same suite."""
