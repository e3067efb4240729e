"""Where no webhook answers: a policy of the API server's own, which refuses to delete whatever is labelled as in use.

It knows the label only, so it can't name the usage, and can't note that a deletion was tried.  The leader brings it, or takes it away where
the webhook server is on, which does both.
"""

from __future__ import annotations

from groundplane.core import usages
from groundplane.core.objects import Key, Object, key_of
from groundplane.errors import Denied, NoSuchKind
from groundplane.ports import Cluster
from groundplane.reconcile.difference import merge_patch
from groundplane.runtime import logs

API_VERSION = "admissionregistration.k8s.io/v1"
NAME = "groundplane-no-usages"
POLICIES, BINDINGS = "validatingadmissionpolicies", "validatingadmissionpolicybindings"
MANAGER = "groundplane"
MESSAGE = (
    f"{usages.DENIED}: a usage protects it. Delete the usage first, or what uses it: kubectl get {usages.WHERE} -A."
    f" If none names it, take the label {usages.IN_USE} off."
)

log = logs.get_logger(__name__)


def objects() -> list[Object]:
    """The policy and its binding."""
    policy: Object = {
        "apiVersion": API_VERSION,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": NAME},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "matchPolicy": "Equivalent",
                "objectSelector": {"matchLabels": {usages.IN_USE: "true"}},
                "resourceRules": [
                    {
                        "apiGroups": ["*"],
                        "apiVersions": ["*"],
                        "operations": ["DELETE"],
                        "resources": ["*"],
                    }
                ],
            },
            "validations": [{"expression": "false", "message": MESSAGE, "reason": "Forbidden"}],
        },
    }
    binding: Object = {
        "apiVersion": API_VERSION,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": NAME},
        "spec": {"policyName": NAME, "validationActions": ["Deny"]},
    }
    return [policy, binding]


async def bring(cluster: Cluster) -> None:
    """Have the policy in place; a cluster that has no such policies, or refuses, is told of in the log.

    Raises:
        NotLeader, Unavailable: it may not be in place.
    """
    try:
        for obj in objects():
            live = await cluster.get(key_of(obj), live=True)
            if live is None or merge_patch(live, obj):
                await cluster.apply(obj, manager=MANAGER)
    except (NoSuchKind, Denied) as error:
        log.warning("usages protect nothing: their policy could not be brought", error=str(error))


async def take_away(cluster: Cluster) -> None:
    """Webhooks answer now, in better words.

    Raises:
        NotLeader, Unavailable: it may be in place still.
    """
    try:
        for obj in objects():
            await cluster.delete(Key(obj["apiVersion"], obj["kind"], "", NAME))
    except NoSuchKind:
        return
    except Denied as error:
        log.warning(
            "the policy of usages could not be taken away: what it says hides what the webhook says", error=str(error)
        )
