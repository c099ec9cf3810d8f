"""Which services are served: one translator each, a module or package of this room with `OPERATIONS`.

A service whose translator is not part of this installation is still routed and authenticated; each of its operations
answers UnknownOperationException. That is the place into which `privatenetworks` comes.
"""

import importlib
import importlib.util
from collections.abc import Mapping

from masthead.aws.models import SERVICES
from masthead.aws.operations import Operation


def translators() -> dict[str, Mapping[str, Operation]]:
    """Return the served operations by service, as boto3 calls it."""
    found: dict[str, Mapping[str, Operation]] = {}
    for name in SERVICES:
        module = f"masthead.aws.{name.replace('-', '_')}"
        if importlib.util.find_spec(module) is not None:
            found[name] = importlib.import_module(module).OPERATIONS
    return found
