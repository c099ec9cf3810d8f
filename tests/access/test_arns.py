"""Resource names."""

from typing import Any

import pytest

from masthead.access import arns
from masthead.access.arns import Arn
from masthead.base.errors import InvalidInput


def test_each_kind_has_its_form() -> None:
    region, account = "eu-west-1", "000000000000"
    assert [
        arns.detector_arn("air", region),
        arns.metric_set_arn("air", "set", region),
        arns.alert_arn("air", region),
        arns.endpoint_arn("air", region),
        arns.stream_arn("air", region),
        arns.user_arn("ann"),
    ] == [
        f"arn:aws:lookoutmetrics:{region}:{account}:AnomalyDetector:air",
        f"arn:aws:lookoutmetrics:{region}:{account}:MetricSet/air/set",
        f"arn:aws:lookoutmetrics:{region}:{account}:Alert:air",
        f"arn:aws:sagemaker:{region}:{account}:endpoint/air",
        f"arn:aws:firehose:{region}:{account}:deliverystream/air",
        f"arn:aws:iam::{account}:user/ann",
    ]


def test_a_name_is_the_sum_of_its_parts() -> None:
    text = arns.detector_arn("air", "eu-west-1")
    found = Arn.parse(text)
    assert found == Arn("lookoutmetrics", "eu-west-1", "000000000000", "AnomalyDetector:air")
    assert str(found) == text


@pytest.mark.parametrize(
    "text",
    ["", "arn", None, 3, "arn:aws:s:r:000000000000:", "arn:aws-cn:s:r:000000000000:x", "arn:aws::r:000000000000:x",
     "arn:aws:s:R:000000000000:x", "arn:aws:s:r:1:x", "arn:aws:s:r:٠٠٠٠٠٠٠٠٠٠٠٠:x", "ARN:aws:s:r:000000000000:x",
     "arn:aws:s:r:000000000000:" + "x" * 2048],
)  # fmt: skip
def test_what_is_none_is_refused_by_its_field(text: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        Arn.parse(text, "AlertArn")
    assert caught.value.field == "AlertArn"
