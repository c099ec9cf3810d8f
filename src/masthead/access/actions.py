"""The actions that a policy can name, so that a mistyped one is told.

Those of AWS's services are spelled as AWS spells them; what has no counterpart there is an action of `masthead`.
An action that is not listed is no error: another version may know it.
"""

from collections.abc import Iterable, Mapping

LOOKOUTMETRICS = """
ActivateAnomalyDetector BackTestAnomalyDetector CreateAlert CreateAnomalyDetector CreateMetricSet
DeactivateAnomalyDetector DeleteAlert DeleteAnomalyDetector DescribeAlert DescribeAnomalyDetectionExecutions
DescribeAnomalyDetector DescribeMetricSet DetectMetricSetConfig GetAnomalyGroup GetDataQualityMetrics GetFeedback
GetSampleData ListAlerts ListAnomalyDetectors ListAnomalyGroupRelatedMetrics ListAnomalyGroupSummaries
ListAnomalyGroupTimeSeries ListMetricSets ListTagsForResource PutFeedback TagResource UntagResource UpdateAlert
UpdateAnomalyDetector UpdateMetricSet
"""

PRIVATE_NETWORKS = """
AcknowledgeOrderReceipt ActivateDeviceIdentifier ActivateNetworkSite ConfigureAccessPoint CreateNetwork
CreateNetworkSite DeactivateDeviceIdentifier DeleteNetwork DeleteNetworkSite GetDeviceIdentifier GetNetwork
GetNetworkResource GetNetworkSite GetOrder ListDeviceIdentifiers ListNetworkResources ListNetworkSites ListNetworks
ListOrders ListTagsForResource Ping StartNetworkResourceUpdate TagResource UntagResource UpdateNetworkSite
UpdateNetworkSitePlan
"""

FIREHOSE = """
CreateDeliveryStream DeleteDeliveryStream DescribeDeliveryStream ListDeliveryStreams ListTagsForDeliveryStream
PutRecord PutRecordBatch StartDeliveryStreamEncryption StopDeliveryStreamEncryption TagDeliveryStream
UntagDeliveryStream UpdateDestination
"""

SAGEMAKER = """
CreateEndpoint DeleteEndpoint DescribeEndpoint InvokeEndpoint InvokeEndpointAsync InvokeEndpointWithResponseStream
ListEndpoints UpdateEndpoint
"""

IOT = """
Connect CreatePolicy CreatePolicyVersion CreateThing CreateTopicRule DeletePolicy DeleteThing DeleteTopicRule
DescribeThing GetPolicy GetTopicRule ListPolicies ListThings ListTopicRules Publish Receive ReplaceTopicRule
Subscribe TestAuthorization UpdateThing
"""

S3 = "DeleteObject GetObject ListBucket PutObject"

MASTHEAD = """
AcknowledgeGroup CancelJob CancelLoad CancelPipeline CreateChannel CreatePipeline CreateSimulation DeleteChannel
DeleteFraudModel DeleteFraudSpace DeleteLoad DeletePipeline DeleteSimulation DescribeClock DescribeJob DescribeLoad DescribePipeline
EraseTransactions ExplainTransaction ExportGroups GetChannel GetChart GetDelivery GetLog GetStatus GetTransaction
LabelTransaction ListChannels ListDeliveries ListForbidden ListFraudLists ListFraudModels ListJobs ListLoads ListLogs
ListPipelines ListReadings ListSeries ListSimulations ListTransactions LoadTransactions MuteGroup RenewThing ResumeLoad
ResumePipeline RetryDelivery RevokeThing ScoreTransaction
TestAlert TestRule TestStream TestThing UpdateFraudLists ValidateDetector
"""

ACTIONS: Mapping[str, tuple[str, ...]] = {
    "lookoutmetrics": tuple(LOOKOUTMETRICS.split()),
    "private-networks": tuple(PRIVATE_NETWORKS.split()),
    "firehose": tuple(FIREHOSE.split()),
    "sagemaker": tuple(SAGEMAKER.split()),
    "iot": tuple(IOT.split()),
    "s3": tuple(S3.split()),
    "masthead": tuple(MASTHEAD.split()),
}
"""Each service's actions, without its name."""


def known_actions() -> Iterable[str]:
    """Return every action, as `service:Action`."""
    return (f"{service}:{name}" for service, names in ACTIONS.items() for name in names)
