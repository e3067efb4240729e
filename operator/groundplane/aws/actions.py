"""What of IAM the kinds need: the actions behind their calls, and a policy that allows exactly these.

Source: AWS's Service Authorization Reference (2026-09), for the actions whose name is not their call's, and for what a call needs beside its own.
Nothing of boto3 is loaded: names of operations follow from the methods' names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from groundplane.aws import tags
from groundplane.aws.grammar import OF_ROLES, READING, Kind, Need

VERSION = "2012-10-17"
LONGEST = 6144  # characters of a managed policy, without blanks
PREFIXES = {
    "cloudcontrol": "cloudformation",
    "resourcegroupstaggingapi": "tag",
}  # of actions, where it isn't the client's name
WORDS = {"db": "DB", "mfa": "MFA", "ssh": "SSH"}  # of methods' names, as operations spell them
SPELT = {"IdConnect": "IDConnect"}  # parts of operations' names
ACTIONS: dict[str, tuple[str, ...]] = {  # of an operation, where it isn't one of its own name
    "s3:HeadBucket": ("s3:ListBucket",),
    "s3:ListBuckets": ("s3:ListAllMyBuckets",),
    "s3:ListObjectVersions": ("s3:ListBucketVersions",),
    "s3:DeleteObjects": ("s3:DeleteObject", "s3:DeleteObjectVersion"),
    "s3:DeleteBucketTagging": ("s3:PutBucketTagging",),
    "s3:GetBucketAccelerateConfiguration": ("s3:GetAccelerateConfiguration",),
    "s3:GetBucketCors": ("s3:GetBucketCORS",),
    "s3:PutBucketCors": ("s3:PutBucketCORS",),
    "s3:DeleteBucketCors": ("s3:PutBucketCORS",),
    "s3:GetBucketEncryption": ("s3:GetEncryptionConfiguration",),
    "s3:PutBucketEncryption": ("s3:PutEncryptionConfiguration",),
    "s3:DeleteBucketEncryption": ("s3:PutEncryptionConfiguration",),
    "s3:GetBucketLifecycleConfiguration": ("s3:GetLifecycleConfiguration",),
    "s3:PutBucketLifecycleConfiguration": ("s3:PutLifecycleConfiguration",),
    "s3:DeleteBucketLifecycle": ("s3:PutLifecycleConfiguration",),
    "s3:GetBucketNotificationConfiguration": ("s3:GetBucketNotification",),
    "s3:PutBucketNotificationConfiguration": ("s3:PutBucketNotification",),
    "s3:DeleteBucketOwnershipControls": ("s3:PutBucketOwnershipControls",),
    "s3:GetBucketReplication": ("s3:GetReplicationConfiguration",),
    "s3:GetObjectLockConfiguration": ("s3:GetBucketObjectLockConfiguration",),
    "s3:PutObjectLockConfiguration": ("s3:PutBucketObjectLockConfiguration",),
    "s3:GetPublicAccessBlock": ("s3:GetBucketPublicAccessBlock",),
    "s3:PutPublicAccessBlock": ("s3:PutBucketPublicAccessBlock",),
    "s3:DeletePublicAccessBlock": ("s3:PutBucketPublicAccessBlock",),
    "sts:GetCallerIdentity": (),  # anybody may
}


def calls(kind: Kind) -> list[str]:
    """Every call that is made for a kind, as `service:method`, sorted."""
    made = [kind.observe.call, kind.create.call, kind.delete.call, *kind.calls]
    made += [each.call for each in kind.create.instead.values()]
    made += [each.call for each in kind.also.values()]
    made += [kind.find.call] if kind.find else []
    for update in kind.update.values():
        made += [update.call, *(each.call for each in (update.remove, update.unset) if each)]
    if kind.tags is not None:
        style = tags.STYLES[kind.tags.style]
        resource = kind.tags.resource.replace("-", "_")
        made += [each.format(resource=resource) for each in (style.add, style.remove, style.read)]
    return _named(kind, made)


def reads(kind: Kind) -> list[str]:
    """Those that change nothing: what is made to look at its things, as `service:method`, sorted."""
    return [call for call in calls(kind) if call.partition(":")[2].startswith(READING)]


def shared_calls(kind: Kind) -> list[str]:
    """Those by which polls travel together, where they are others: without a right to them, each is made alone."""
    shared = [each.shared.call for each in (kind.observe, *kind.also.values()) if each.shared]
    shared += [kind.observe.shared.rest.call] if kind.observe.shared and kind.observe.shared.rest else []
    shared += [tags.TOGETHER] if kind.observe.shared is not None and kind.is_untagged else []
    return sorted({*_named(kind, shared)} - {*calls(kind)})


def _named(kind: Kind, made: Iterable[str]) -> list[str]:
    return sorted({call if ":" in call else f"{kind.service}:{call}" for call in made if call})


def operation(method: str) -> str:
    """
    >>> operation("create_db_instance"), operation("create_open_id_connect_provider"), operation("restore_db_cluster_from_s3")
    ('CreateDBInstance', 'CreateOpenIDConnectProvider', 'RestoreDBClusterFromS3')
    """
    name = "".join(WORDS.get(word, word.capitalize()) for word in method.split("_"))
    for part, spelt in SPELT.items():
        name = name.replace(part, spelt)
    return name


def of_operation(service: str, name: str) -> tuple[str, ...]:
    """The actions that an operation needs, by botocore's names of both.

    >>> of_operation("s3", "HeadBucket"), of_operation("cloudcontrol", "GetResource")
    (('s3:ListBucket',), ('cloudformation:GetResource',))
    """
    return ACTIONS.get(f"{service}:{name}", (f"{PREFIXES.get(service, service)}:{name}",))


def actions(made: Iterable[str]) -> list[str]:
    """The actions behind calls, `service:method`, sorted."""
    found: set[str] = set()
    for call in made:
        service, _, method = call.partition(":")
        found.update(of_operation(service, operation(method)))
    return sorted(found)


def policy(kinds: Iterable[Kind], roles: Iterable[str] = ()) -> dict[str, Any]:
    """The least policy for these kinds: a statement for each service, and one that only saves calls; and for assuming `roles`, by their ARNs."""
    plain: dict[str, set[str]] = {}
    shared: set[str] = set()
    bounded: dict[str, set[str]] = {}  # by action: the services that a role may be passed to
    for kind in kinds:
        shared.update(actions(shared_calls(kind)))
        for action in [*actions(calls(kind)), *_unbounded(kind.needs)]:
            plain.setdefault(action.partition(":")[0], set()).add(action)
        for need in kind.needs:
            for action in set(need.actions) & set(OF_ROLES):
                bounded.setdefault(action, set()).update(need.service)
    statements = [_statement(sid(service), sorted(names)) for service, names in sorted(plain.items())]
    if saving := sorted(shared.difference(*plain.values())):
        statements.append(_statement("SharedReads", saving))
    for action, services in sorted(bounded.items()):
        condition = {"StringEquals": {OF_ROLES[action]: sorted(services)}}
        statements.append(_statement(sid(action.partition(":")[2]), [action]) | {"Condition": condition})
    if assumed := sorted(set(roles)):
        statements.append(_statement("AssumeRole", ["sts:AssumeRole", "sts:TagSession"], assumed))
    return {"Version": VERSION, "Statement": statements}


def reading_policy(kinds: Iterable[Kind]) -> dict[str, Any]:
    """What it takes to look at the things of these kinds, and no more."""
    plain: dict[str, set[str]] = {}
    for kind in kinds:
        for action in actions(reads(kind)):
            plain.setdefault(action.partition(":")[0], set()).add(action)
    statements = [_statement(sid(service), sorted(names)) for service, names in sorted(plain.items())]
    return {"Version": VERSION, "Statement": statements}


def _unbounded(needs: Iterable[Need]) -> Iterator[str]:
    return (action for need in needs for action in need.actions if action not in OF_ROLES)


def _statement(name: str, allowed: list[str], on: list[str] | None = None) -> dict[str, Any]:
    return {"Sid": name, "Effect": "Allow", "Action": allowed, "Resource": on or "*"}


def sid(service: str) -> str:
    """Letters and digits, as IAM wants them.

    >>> sid("secretsmanager")
    'Secretsmanager'
    """
    return service[:1].upper() + service[1:]
