"""Whether every request that the operator makes would be allowed: a check of `groundplane doctor`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from groundplane.cluster.client import Api
from groundplane.core.objects import spec_of
from groundplane.core.roles import HOLD, grant
from groundplane.errors import Denied
from groundplane.runtime import clouds, crds, rights
from groundplane.runtime.findings import Finding, about
from groundplane.runtime.installation import AT_ONCE, Installation, definitions_of


@dataclass(frozen=True)
class _Question:
    group: str
    resource: str  # with its subresource: "vpcs/status"
    verb: str
    name: str = ""
    namespace: str = ""

    @property
    def attributes(self) -> dict[str, str]:
        resource, _, subresource = self.resource.partition("/")
        asked = {
            "group": self.group,
            "resource": resource,
            "subresource": subresource,
            "verb": self.verb,
            "name": self.name,
            "namespace": self.namespace,
        }
        return {name: value for name, value in asked.items() if value}


async def check_rights(installation: Installation) -> list[Finding]:
    """Whether every request that the operator makes would be allowed: those of the table, and those for what definitions declare."""
    api = installation.api
    questions = [*_of_the_table(installation), *await _of_definitions(installation)]
    if installation.account:
        namespace, _, name = installation.account.rpartition("/")
        place = namespace or installation.namespace
        who = f"system:serviceaccount:{place}:{name}"
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{place}", "system:authenticated"]
        path, subject = "subjectaccessreviews", {"user": who, "groups": groups}
    else:
        who, path, subject = await _myself(api), "selfsubjectaccessreviews", {}
    slots = asyncio.Semaphore(AT_ONCE)

    async def is_allowed(question: _Question) -> bool:
        kind = "SubjectAccessReview" if subject else "SelfSubjectAccessReview"
        spec = {**subject, "resourceAttributes": question.attributes}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": kind, "spec": spec}
        async with slots:
            _, said = await api.request("POST", f"/apis/authorization.k8s.io/v1/{path}", body=body, idempotent=True)
        return bool(((said or {}).get("status") or {}).get("allowed"))

    answers = await asyncio.gather(*map(is_allowed, questions))
    missing: dict[tuple[str, str], dict[str, None]] = {}  # each verb once, in order
    for question, allowed in zip(questions, answers, strict=True):
        if not allowed:
            missing.setdefault((question.group, question.resource), {})[question.verb] = None
    if not missing:
        return [Finding("rights", "ok", f"{who} has all {len(questions)} rights")]
    objects = tuple(
        f"{', '.join(verbs)}: {_as_kubectl(group, resource)}" for (group, resource), verbs in missing.items()
    )
    if subject and await _is_no_account(api, place, name):
        mend = "name the operator's: --account [NAMESPACE/]NAME, which the chart calls groundplane, and --namespace"
        return [Finding("rights", "failed", f"there is no ServiceAccount {place}/{name}", mend)]
    first = next(iter(missing))
    mend = f"helm upgrade, or {grant(*first)}"
    return [about("rights", "failed", f"resources to which {who} lacks rights", objects, mend)]


async def _is_no_account(api: Api, namespace: str, name: str) -> bool:
    """Whether it can be seen that there is no such ServiceAccount."""
    with suppress(Denied):
        status, _ = await api.request("GET", f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}")
        return status == 404
    return False


def _of_the_table(installation: Installation) -> list[_Question]:
    found = []
    for concern in rights.CONCERNS:
        if concern.mode in ("", installation.mode) and (
            not concern.part or (concern.part != "objects" and installation.webhooks)
        ):
            places = [installation.namespace] if concern.in_namespace else [""]
            if concern.confined_by and installation.secret_places:
                places = [*installation.secret_places]
            found += [each for place in places for rule in concern.rules for each in _questions(rule, place)]
    active = {kind.name for kind in clouds.kinds() if crds.is_active(kind.name, installation.activations)}
    for rule in rights.managed():
        kept = tuple(each for each in rule.resources if f"{each.partition('/')[0]}.{rule.group}" in active)
        found += _questions(rights.Rule(rule.group, kept, rule.verbs), "")
    return found


def _as_kubectl(group: str, resource: str) -> str:
    """A resource as kubectl writes it: "vpcs.ec2.aws.upbound.io/status"."""
    plural, slash, subresource = resource.partition("/")
    return f"{plural}{f'.{group}' if group else ''}{slash}{subresource}"


def _questions(rule: rights.Rule, namespace: str) -> list[_Question]:
    return [
        _Question(rule.group, resource, verb, name, namespace)
        for resource in rule.resources
        for verb in rule.verbs
        for name in rule.names or ("",)
    ]


async def _of_definitions(installation: Installation) -> list[_Question]:
    try:
        definitions = await definitions_of(installation.cluster)
    except Denied:
        definitions = []  # that right is in the table, and told as missing
    found = []
    for xrd in definitions:
        names = [(spec_of(xrd).get(field) or {}).get("plural") for field in ("names", "claimNames")]
        for plural in filter(None, names):
            group = spec_of(xrd).get("group") or ""
            found += [_Question(group, plural, verb) for verb in HOLD]
            found.append(_Question(group, f"{plural}/status", "update"))
    return found


async def _myself(api: Api) -> str:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    _, said = await api.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=body, idempotent=True)
    return str((((said or {}).get("status") or {}).get("userInfo") or {}).get("username") or "this user")
