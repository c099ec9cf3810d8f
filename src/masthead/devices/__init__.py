"""The doors for things: MQTT over TLS, the durable log of readings behind it, and messages back to things."""
