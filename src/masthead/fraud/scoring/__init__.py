"""The default scorer: the past of every entity, what is learned from it, and a model at work in memory."""
