"""Learn: what every learner shares. It begins with the registry of served models, the endpoints."""
