"""What lies in the database of transactions: the log that only grows, links of entities behind it, and what is asked of both."""
