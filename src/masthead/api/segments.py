"""Routes whose parameters are one segment of the path as it was sent: an id may hold a slash, sent as `%2F`."""

from urllib.parse import quote, unquote

from fastapi.routing import APIRoute
from starlette.routing import Match
from starlette.types import Scope

__all__ = ["SegmentRoute"]


class SegmentRoute(APIRoute):
    """A route that reads the path before its escapes are resolved, so that `a%2Fgraph` is an id and `a/graph` is not."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Return whether a request is meant, and its parameters with their escapes resolved."""
        if scope["type"] != "http":
            return Match.NONE, {}
        raw = scope.get("raw_path")
        path = raw.decode("latin-1") if raw else quote(scope["path"])
        match, found = super().matches({**scope, "path": path})
        if match is not Match.NONE:
            earlier = scope.get("path_params", {})
            found["path_params"] = {
                name: unquote(value) if name not in earlier else value
                for name, value in found["path_params"].items()
            }
        return match, found
