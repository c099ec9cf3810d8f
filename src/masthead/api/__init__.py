"""The native API: JSON over HTTP, one file per room, one error shape, documented at `/docs` without a network."""
