"""Amazon resource names of what Masthead serves, made of names alone. Pure.

An account has twelve digits and a partition a name; ours are always the same, since the service models refuse any
other. The region is the client's own word: one Masthead is one place.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference-arns.html and the Service Authorization Reference.
"""

import re
from dataclasses import dataclass

from masthead.base.errors import InvalidInput, shown

ACCOUNT = "000000000000"
PARTITION = "aws"
_MOST = 2048  # characters; the services' own `Arn` has no bound
_SERVICE = re.compile(r"[a-z0-9-]{1,63}")
_REGION = re.compile(r"[a-z0-9-]{0,32}")
_ACCOUNT = re.compile(r"[0-9]{12}|")


@dataclass(frozen=True, slots=True)
class Arn:
    """A resource name in its parts; `resource` is all that follows the account and may hold colons."""

    service: str
    region: str
    account: str
    resource: str

    @classmethod
    def parse(cls, text: object, field: str = "arn") -> "Arn":
        """Return the parts of a name.

        Raises:
            InvalidInput: It is no ARN of the partition `aws`.

        >>> Arn.parse("arn:aws:sagemaker:eu-west-1:000000000000:endpoint/air").resource
        'endpoint/air'
        """
        parts = text.split(":", 5) if isinstance(text, str) and len(text) <= _MOST else []
        if (
            len(parts) != 6
            or parts[:2] != ["arn", PARTITION]
            or not parts[5]
            or not _SERVICE.fullmatch(parts[2])
            or not _REGION.fullmatch(parts[3])
            or not _ACCOUNT.fullmatch(parts[4])
        ):
            raise InvalidInput(
                f"{field}: expected arn:{PARTITION}:SERVICE:REGION:ACCOUNT:RESOURCE, got {shown(text)}",
                field=field,
            )
        return cls(*parts[2:])

    def __str__(self) -> str:
        return f"arn:{PARTITION}:{self.service}:{self.region}:{self.account}:{self.resource}"


def compose(service: str, region: str, resource: str) -> str:
    """Return the name of a resource of this installation.

    >>> compose("firehose", "us-east-1", "deliverystream/air")
    'arn:aws:firehose:us-east-1:000000000000:deliverystream/air'
    """
    return str(Arn(service, region, ACCOUNT, resource))


def detector_arn(name: str, region: str) -> str:
    """Return the name of a detector."""
    return compose("lookoutmetrics", region, f"AnomalyDetector:{name}")


def metric_set_arn(detector: str, metric_set: str, region: str) -> str:
    """Return the name of a detector's data set."""
    return compose("lookoutmetrics", region, f"MetricSet/{detector}/{metric_set}")


def alert_arn(name: str, region: str) -> str:
    """Return the name of an alert rule."""
    return compose("lookoutmetrics", region, f"Alert:{name}")


def endpoint_arn(name: str, region: str) -> str:
    """Return the name of an endpoint that answers with a model."""
    return compose("sagemaker", region, f"endpoint/{name}")


def stream_arn(name: str, region: str) -> str:
    """Return the name of a delivery stream."""
    return compose("firehose", region, f"deliverystream/{name}")


def user_arn(name: str) -> str:
    """Return the name under which a key acts; IAM knows no region."""
    return str(Arn("iam", "", ACCOUNT, f"user/{name}"))
