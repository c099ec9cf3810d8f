"""Each verb of Masthead as policies see it: its action, and the resources that it is about.

Where AWS has an action for the same deed, it is that one, so that one policy governs every face; else it is one of
`masthead`. A resource is a template: `{name}` is a parameter of the verb, `*` when it is not given; `{endpoint|name}` the first of two
that is given; a resource with `{name?}` is left out when it is not given; `{group}` stands for the detector of a group.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from masthead.access.arns import Arn, compose

Values = Mapping[str, Any]
_FIELD = re.compile(r"\{(\w+)(?:\|(\w+))?(\?)?\}")
_READS = ("Describe", "Explain", "Export", "Get", "Invoke", "List", "Read", "Score", "Test", "Validate")
_CHANGES = frozenset({"masthead:TestAlert"})  # a message goes out


@dataclass(frozen=True, slots=True)
class Deed:
    """A verb's action and the templates of its resources, `service:resource`; none: the action is about `*`."""

    action: str
    resources: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Return whether it changes something, so that the audit has a line for each."""
        verb = self.action.partition(":")[2]
        return self.action in _CHANGES or not verb.startswith(_READS)

    @property
    def fields(self) -> frozenset[str]:
        """Return the names of the parameters in its resources."""
        return frozenset(
            name for one in self.resources for *names, _ in _FIELD.findall(one) for name in names if name
        )

    def arns(
        self, values: Values, region: str, detector_of: Callable[[str], str] = lambda group: "*"
    ) -> tuple[str, ...]:
        """Return the names of what it is about.

        Args:
            values: The verb's parameters; what is no text counts as not given.
            region: Of the caller.
            detector_of: Returns the detector of a group, `*` when there is no such group.

        >>> Deed("firehose:PutRecord", ("firehose:deliverystream/{name}",)).arns({"name": "air"}, "us-east-1")
        ('arn:aws:firehose:us-east-1:000000000000:deliverystream/air',)
        """
        found = []
        for template in self.resources:
            if any(mark and name not in values for name, _, mark in _FIELD.findall(template)):
                continue

            def filled(match: re.Match[str]) -> str:
                given = (values.get(name) for name in match.groups()[:2] if name)
                text = next((one for one in given if isinstance(one, str) and one), "*")
                return detector_of(text) if match[1] == "group" and text != "*" else text

            found.append(_arn(_FIELD.sub(filled, template), region))
        return tuple(found)


def _arn(resource: str, region: str) -> str:
    service, _, rest = resource.partition(":")
    if service == "sagemaker":  # an endpoint that is called as its detector has `-` for `_`
        rest = rest.replace("_", "-")
    return str(Arn(service, "", "", rest)) if service == "s3" else compose(service, region, rest)


_DETECTOR = "lookoutmetrics:AnomalyDetector:{name}"
_OF = "lookoutmetrics:AnomalyDetector:{detector}"
_GROUP = "lookoutmetrics:AnomalyDetector:{group}"
_ALERT = "lookoutmetrics:Alert:{name}"
_STREAM = "firehose:deliverystream/{name}"
_THING, _POLICY, _RULE = "iot:thing/{name}", "iot:policy/{name}", "iot:rule/{name}"
_CHANNEL = "masthead:channel/{name}"
_OBJECT, _LOG, _JOB = "s3:{bucket}/{key}", "masthead:log/{kind}/{name}", "masthead:job/{id}"
_ENDPOINT = "sagemaker:endpoint/{name}"
_PIPELINE, _LOAD = "masthead:pipeline/{id}", "masthead:load/{id}"
_SPACE = "masthead:fraud/{space}"

VERBS: Mapping[str, Deed] = {
    # Detectors and what they found
    "metrics.create_detector": Deed("lookoutmetrics:CreateAnomalyDetector", (_DETECTOR,)),
    "metrics.list_detectors": Deed("lookoutmetrics:ListAnomalyDetectors"),
    "metrics.get_detector": Deed("lookoutmetrics:DescribeAnomalyDetector", (_DETECTOR,)),
    "metrics.update_detector": Deed("lookoutmetrics:UpdateAnomalyDetector", (_DETECTOR,)),
    "metrics.set_dataset": Deed("lookoutmetrics:UpdateMetricSet", ("lookoutmetrics:MetricSet/{name}/*",)),
    "metrics.delete_detector": Deed("lookoutmetrics:DeleteAnomalyDetector", (_DETECTOR,)),
    "metrics.validate": Deed(
        "masthead:ValidateDetector", ("lookoutmetrics:AnomalyDetector:{name|detector}",)
    ),
    "metrics.activate": Deed("lookoutmetrics:ActivateAnomalyDetector", (_DETECTOR,)),
    "metrics.deactivate": Deed("lookoutmetrics:DeactivateAnomalyDetector", (_DETECTOR,)),
    "metrics.backtest": Deed("lookoutmetrics:BackTestAnomalyDetector", (_DETECTOR,)),
    "metrics.data_quality": Deed("lookoutmetrics:GetDataQualityMetrics", (_DETECTOR,)),
    "metrics.executions": Deed("lookoutmetrics:DescribeAnomalyDetectionExecutions", (_DETECTOR,)),
    "metrics.series": Deed("masthead:ListSeries", (_OF,)),
    "metrics.chart": Deed("masthead:GetChart", (_OF,)),
    "metrics.export_groups": Deed("masthead:ExportGroups", (_OF,)),
    "metrics.list_groups": Deed("lookoutmetrics:ListAnomalyGroupSummaries", (_OF,)),
    "metrics.get_group": Deed("lookoutmetrics:GetAnomalyGroup", (_GROUP,)),
    "metrics.group_series": Deed("lookoutmetrics:ListAnomalyGroupTimeSeries", (_GROUP,)),
    "metrics.related": Deed("lookoutmetrics:ListAnomalyGroupRelatedMetrics", (_GROUP,)),
    "metrics.acknowledge_group": Deed("masthead:AcknowledgeGroup", (_GROUP,)),
    "metrics.mute_group": Deed("masthead:MuteGroup", (_GROUP,)),
    "metrics.give_feedback": Deed("lookoutmetrics:PutFeedback", (_GROUP,)),
    "metrics.feedback": Deed("lookoutmetrics:GetFeedback", (_GROUP,)),
    "metrics.group_values": Deed("lookoutmetrics:ListAnomalyGroupTimeSeries", (_GROUP,)),
    "metrics.sample_rows": Deed("lookoutmetrics:GetSampleData"),
    "metrics.detect": Deed("lookoutmetrics:DetectMetricSetConfig"),
    "metrics.deploy": Deed("sagemaker:CreateEndpoint", (_DETECTOR, "sagemaker:endpoint/{endpoint|name}")),
    # Who hears of it
    "alerts.create_rule": Deed("lookoutmetrics:CreateAlert", (_ALERT, _OF)),
    "alerts.list_rules": Deed("lookoutmetrics:ListAlerts"),
    "alerts.get_rule": Deed("lookoutmetrics:DescribeAlert", (_ALERT,)),
    "alerts.update_rule": Deed(
        "lookoutmetrics:UpdateAlert", (_ALERT, "lookoutmetrics:AnomalyDetector:{detector?}")
    ),
    "alerts.delete_rule": Deed("lookoutmetrics:DeleteAlert", (_ALERT,)),
    "alerts.test_rule": Deed("masthead:TestAlert", (_ALERT,)),
    "alerts.create_channel": Deed("masthead:CreateChannel", (_CHANNEL,)),
    "alerts.list_channels": Deed("masthead:ListChannels"),
    "alerts.get_channel": Deed("masthead:GetChannel", (_CHANNEL,)),
    "alerts.delete_channel": Deed("masthead:DeleteChannel", (_CHANNEL,)),
    "alerts.deliveries": Deed("masthead:ListDeliveries", ("lookoutmetrics:Alert:{rule}",)),
    "alerts.get_delivery": Deed("masthead:GetDelivery", ("masthead:delivery/{key}",)),
    "alerts.retry": Deed("masthead:RetryDelivery", ("masthead:delivery/{key}",)),
    "alerts.counts": Deed("masthead:ListDeliveries"),
    # Things, their policies, rules and streams
    "access.create_thing": Deed("iot:CreateThing", (_THING,)),
    "access.list_things": Deed("iot:ListThings"),
    "access.get_thing": Deed("iot:DescribeThing", (_THING,)),
    "access.update_thing": Deed("iot:UpdateThing", (_THING,)),
    "access.delete_thing": Deed("iot:DeleteThing", (_THING,)),
    "access.revoke_thing": Deed("masthead:RevokeThing", (_THING,)),
    "access.renew_thing": Deed("masthead:RenewThing", (_THING,)),
    "access.test_thing": Deed("masthead:TestThing", (_THING,)),
    "access.forbidden": Deed("masthead:ListForbidden", ("iot:thing/{thing}",)),
    "access.shared_client_ids": Deed("masthead:ListForbidden", ("iot:thing/{thing}",)),
    "access.expiring": Deed("iot:ListThings"),
    "access.create_policy": Deed("iot:CreatePolicy", (_POLICY,)),
    "access.list_policies": Deed("iot:ListPolicies"),
    "access.get_policy": Deed("iot:GetPolicy", (_POLICY,)),
    "access.update_policy": Deed("iot:CreatePolicyVersion", (_POLICY,)),
    "access.delete_policy": Deed("iot:DeletePolicy", (_POLICY,)),
    "access.test_policy": Deed("iot:TestAuthorization", (_POLICY,)),
    "access.compiled_permissions": Deed("iot:TestAuthorization"),
    "streams.create_rule": Deed("iot:CreateTopicRule", (_RULE,)),
    "streams.list_rules": Deed("iot:ListTopicRules"),
    "streams.get_rule": Deed("iot:GetTopicRule", (_RULE,)),
    "streams.update_rule": Deed("iot:ReplaceTopicRule", (_RULE,)),
    "streams.delete_rule": Deed("iot:DeleteTopicRule", (_RULE,)),
    "streams.test_rule": Deed("masthead:TestRule", (_RULE,)),
    "streams.create_stream": Deed("firehose:CreateDeliveryStream", (_STREAM,)),
    "streams.list_streams": Deed("firehose:ListDeliveryStreams"),
    "streams.get_stream": Deed("firehose:DescribeDeliveryStream", (_STREAM,)),
    "streams.stream_state": Deed("firehose:DescribeDeliveryStream", (_STREAM,)),
    "streams.update_stream": Deed("firehose:UpdateDestination", (_STREAM,)),
    "streams.delete_stream": Deed("firehose:DeleteDeliveryStream", (_STREAM,)),
    "streams.test_stream": Deed("masthead:TestStream", (_STREAM,)),
    # Readings and objects
    "ingest": Deed("iot:Publish", ("iot:topic/{topic}",)),
    "last_readings": Deed("masthead:ListReadings"),
    "objects.list": Deed("s3:ListBucket", ("s3:{bucket}",)),
    "objects.get": Deed("s3:GetObject", (_OBJECT,)),
    "objects.put": Deed("s3:PutObject", (_OBJECT,)),
    "objects.delete": Deed("s3:DeleteObject", (_OBJECT,)),
    # Models that answer
    "list_endpoints": Deed("sagemaker:ListEndpoints"),
    "get_endpoint": Deed("sagemaker:DescribeEndpoint", (_ENDPOINT,)),
    "endpoints.delete": Deed("sagemaker:DeleteEndpoint", (_ENDPOINT,)),
    "endpoints.invoke": Deed("sagemaker:InvokeEndpoint", (_ENDPOINT,)),
    # Transactions
    "fraud.deploy": Deed("sagemaker:CreateEndpoint", (_ENDPOINT, "sagemaker:endpoint/{challenges?}")),
    "fraud.deployments": Deed("sagemaker:ListEndpoints"),
    "fraud.undeploy": Deed("sagemaker:DeleteEndpoint", (_ENDPOINT,)),
    "fraud.drift": Deed("sagemaker:DescribeEndpoint", (_ENDPOINT,)),
    "fraud.promote": Deed("sagemaker:UpdateEndpoint", (_ENDPOINT, "sagemaker:endpoint/{challenger?}")),
    "fraud.models": Deed("masthead:ListFraudModels"),
    "fraud.delete_model": Deed("masthead:DeleteFraudModel", ("masthead:fraud-model/{id}",)),
    "fraud.score": Deed("masthead:ScoreTransaction", (_SPACE,)),
    "fraud.get": Deed("masthead:GetTransaction", (_SPACE,)),
    "fraud.explanation": Deed("masthead:ExplainTransaction", (_SPACE,)),
    "fraud.graph": Deed("masthead:ExplainTransaction", (_SPACE,)),
    "fraud.reproduction": Deed("masthead:ExplainTransaction", (_SPACE,)),
    "fraud.rings": Deed("masthead:ListTransactions", (_SPACE,)),
    "fraud.outcomes": Deed("masthead:ListTransactions", (_SPACE,)),
    "fraud.find": Deed("masthead:ListTransactions", (_SPACE,)),
    "fraud.stats": Deed("masthead:ListTransactions", (_SPACE,)),
    "fraud.label": Deed("masthead:LabelTransaction", (_SPACE,)),
    "loads.start": Deed("masthead:LoadTransactions", (_SPACE,)),
    "loads.list": Deed("masthead:ListLoads"),
    "loads.get": Deed("masthead:DescribeLoad", (_LOAD,)),
    "loads.problems": Deed("masthead:DescribeLoad", (_LOAD,)),
    "loads.resume": Deed("masthead:ResumeLoad", (_LOAD,)),
    "loads.cancel": Deed("masthead:CancelLoad", (_LOAD,)),
    "loads.delete": Deed("masthead:DeleteLoad", (_LOAD,)),
    "fraud.erase": Deed("masthead:EraseTransactions", (_SPACE,)),
    "fraud.spaces": Deed("masthead:ListSimulations"),
    "fraud.delete_space": Deed("masthead:DeleteFraudSpace", ("masthead:fraud/{name}",)),
    "fraud.create_simulation": Deed("masthead:CreateSimulation"),
    "fraud.delete_simulation": Deed("masthead:DeleteSimulation", ("masthead:fraud/{name}",)),
    "fraud.schema": Deed("masthead:ListTransactions", (_SPACE,)),
    "portal.feed": Deed("masthead:ListTransactions", (_SPACE,)),
    "portal.newest": Deed("masthead:ListTransactions", (_SPACE,)),
    "portal.timeline": Deed("masthead:ListTransactions", (_SPACE,)),
    "portal.entity": Deed("masthead:ListTransactions", (_SPACE,)),
    "portal.latencies": Deed("masthead:ListTransactions"),
    "portal.verdict": Deed("masthead:GetTransaction", (_SPACE,)),
    "portal.give_verdict": Deed("masthead:LabelTransaction", (_SPACE,)),
    "portal.listed": Deed("masthead:ListFraudLists", (_SPACE,)),
    "portal.put_listed": Deed("masthead:UpdateFraudLists", (_SPACE,)),
    "portal.remove_listed": Deed("masthead:UpdateFraudLists", (_SPACE,)),
    "portal.thresholds": Deed("sagemaker:DescribeEndpoint", (_ENDPOINT,)),
    "portal.set_thresholds": Deed("sagemaker:UpdateEndpoint", (_ENDPOINT,)),
    "portal.card": Deed("masthead:ListFraudModels"),
    "portal.simulations": Deed("masthead:ListSimulations"),
    "portal.start_simulation": Deed("masthead:CreateSimulation"),
    "portal.stop_simulation": Deed("masthead:DeleteSimulation", ("masthead:fraud/{name}",)),
    "portal.delete_simulation": Deed("masthead:DeleteSimulation", ("masthead:fraud/{name}",)),
    "pipelines.start": Deed("masthead:CreatePipeline"),
    "pipelines.retrain": Deed("masthead:CreatePipeline"),
    "pipelines.list": Deed("masthead:ListPipelines"),
    "pipelines.get": Deed("masthead:DescribePipeline", (_PIPELINE,)),
    "pipelines.log": Deed("masthead:DescribePipeline", (_PIPELINE,)),
    "pipelines.resume": Deed("masthead:ResumePipeline", (_PIPELINE,)),
    "pipelines.cancel": Deed("masthead:CancelPipeline", (_PIPELINE,)),
    "pipelines.delete": Deed("masthead:DeletePipeline", (_PIPELINE,)),
    # Masthead itself
    "flows.list": Deed("masthead:ListJobs"),
    "flows.get": Deed("masthead:DescribeJob", (_JOB,)),
    "cancel_job": Deed("masthead:CancelJob", (_JOB,)),
    "journal.names": Deed("masthead:ListLogs", ("masthead:log/{kind}",)),
    "journal.read": Deed("masthead:GetLog", (_LOG,)),
    "devices_state": Deed("masthead:GetStatus"),
    "clock": Deed("masthead:DescribeClock"),
}
"""By room and verb; what is not listed here, no key may do."""
