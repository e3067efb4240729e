"""The stand-in's SQS and SNS: what moto takes and forgets, mended.

What this adds to moto 5.2: a queue's RedriveAllowPolicy, and a policy that outlives a change of something else; one kind of
encryption at a time; a topic's settings for delivery feedback, signatures, tracing, archive and throughput; a subscription's
replay policy, and that it waits for its confirmation.
"""

from __future__ import annotations

import importlib
from typing import Any

CONFIRMED = ("email", "email-json", "http", "https")  # whoever is behind the endpoint must say that they want it
FEEDBACK = ("Application", "Firehose", "HTTP", "Lambda", "SQS")
REMEMBERED = (
    "ArchivePolicy",
    "FifoThroughputScope",
    "SignatureVersion",
    "TracingConfig",
    *(f"{service}{outcome}FeedbackRoleArn" for service in FEEDBACK for outcome in ("Success", "Failure")),
    *(f"{service}SuccessFeedbackSampleRate" for service in FEEDBACK),
)


def mend() -> None:
    _mend_queues()
    _mend_topics()


def _mend_queues() -> None:
    queues: Any = importlib.import_module("moto.sqs.models").Queue
    keep, shown = queues._set_attributes, queues.attributes.fget

    def _set_attributes(self: Any, attributes: dict[str, Any], now: float | None = None) -> None:
        given = dict(attributes)
        if "Policy" not in given and hasattr(self, "_policy_json"):
            given["Policy"] = self.policy
        if given.get("KmsMasterKeyId"):
            given["SqsManagedSseEnabled"] = "false"
        elif str(given.get("SqsManagedSseEnabled")).lower() == "true":
            given["KmsMasterKeyId"] = None
        keep(self, given, now)

    def attributes(self: Any) -> dict[str, Any]:
        found: dict[str, Any] = shown(self)
        if allowed := getattr(self, "redrive_allow_policy", None):
            found["RedriveAllowPolicy"] = allowed
        return found

    queues._set_attributes = _set_attributes
    queues.attributes = property(attributes)


def _mend_topics() -> None:
    named: Any = importlib.import_module("moto.core.utils").camelcase_to_underscores
    models: Any = importlib.import_module("moto.sns.models")
    responses: Any = importlib.import_module("moto.sns.responses").SNSResponse
    shown, change = responses.get_topic_attributes, models.SNSBackend.set_subscription_attributes
    subscribe_, leave = models.SNSBackend.subscribe, models.SNSBackend.unsubscribe

    def get_topic_attributes(self: Any) -> Any:
        answer = shown(self)
        topic = self.backend.get_topic(self._get_param("TopicArn"))
        found = {name: getattr(topic, named(name), None) for name in REMEMBERED}
        answer.result["Attributes"] |= {name: value for name, value in found.items() if value}
        return answer

    def set_subscription_attributes(self: Any, arn: str, name: str, value: Any) -> None:
        if name == "ReplayPolicy" and arn in self.subscriptions:
            self.subscriptions[arn].attributes[name] = value
        else:
            change(self, arn, name, value)

    def subscribe(self: Any, topic_arn: str, endpoint: str, protocol: str) -> Any:
        found = subscribe_(self, topic_arn, endpoint, protocol)
        if protocol in CONFIRMED:
            found.attributes["PendingConfirmation"] = True
        return found

    def unsubscribe(self: Any, subscription_arn: str) -> None:
        found = self.subscriptions.get(subscription_arn)
        if found is not None and found.attributes["PendingConfirmation"] is True:
            raise models.SNSInvalidParameter(
                "Invalid parameter: Cannot unsubscribe a subscription that is pending confirmation"
            )
        leave(self, subscription_arn)

    models.SNSBackend.subscribe = subscribe
    models.SNSBackend.unsubscribe = unsubscribe
    responses.get_topic_attributes = get_topic_attributes
    models.SNSBackend.set_subscription_attributes = set_subscription_attributes
