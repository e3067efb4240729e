"""The reference of the AWS kinds, docs/reference/aws/: one page per service, made from the kind files by `make chart`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from groundplane.aws import actions, catalogue, convert, crds, tags
from groundplane.aws.grammar import LIST, Kind, KindField, SchemaField, siblings
from groundplane.core import goyaml
from groundplane.core.objects import Json, Object

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference" / "aws"
MADE = "<!-- Made by `make chart` from operator/groundplane/aws/kinds/.  Do not edit. -->\n"
INDEX = """# The AWS kinds

{count} kinds of {services} services are built in, each in both generations and from one file: cluster-scoped in `<service>.aws.upbound.io`, and
in namespaces in `<service>.aws.m.upbound.io/v1beta1`. What has no kind of its own is made by the
[Resource](cloudcontrol.md#resource) of `cloudcontrol.aws.upbound.io`, for any type that AWS Cloud Control knows.

{rows}

## What holds for all

- **Spec.** The fields of a page's tables stand in `spec.forProvider`; those that only the creation should use may stand in `spec.initProvider`. Beside them are `managementPolicies`,
  `providerConfigRef`, `writeConnectionSecretToRef` and, cluster-scoped, `deletionPolicy`.
- **Generations.** In a namespace, `providerConfigRef` has a `kind` (`ClusterProviderConfig` if it is left out), and Secrets are in the object's own namespace: neither
  `writeConnectionSecretToRef` nor a field that refers to a Secret has a `namespace`. A page's example has the same thing in either generation: apply one of the two, for both would be one thing in AWS.
- **A list of at most one.** A type such as `[]object, at most 1` is upstream's of old. Where a kind says since when they are objects, they are objects in a namespace, and either is taken cluster-scoped.
- **References.** "From VPC (ec2): `vpcIdRef`, `vpcIdSelector`" means: instead of the field, write `vpcIdRef: {{name: …}}` or `vpcIdSelector: {{matchLabels: …}}`,
  and the operator fills it in from that object, also if it is required.
- **Can change.** `no`: an edit is refused. `at creation`: it is sent by the call that makes the thing, and by no later one. `at deletion`: by the one that removes it.
- **When it is left out.** `(late)`: AWS's value is taken into the spec. `(enforced)`: drift from it is undone. `(at creation)`: sent once, not enforced. `(reset)`: what AWS is set to when the field is taken
  out of a spec whose `managementPolicies` lack `LateInitialize`. Nothing: AWS decides.
- **External name and import.** The annotation `crossplane.io/external-name` is the thing's identity in AWS. To import what exists, set it to what the kind's page says, with
  `managementPolicies: ["Observe"]` first, and take that out when `Synced` is true. What carries another object's tag is not taken over.
- **IAM actions.** What the operator's identity must be allowed for a kind. `groundplane iam-policy rds/Instance` prints it as a policy, and `--composition FILE` for all that a file uses.
- **Polls.** Every ten minutes (`--poll-interval`) each thing is compared with AWS. Where a kind's page says "together", that takes one call for many of an account and region, and what it says of "once an hour" is told
  by `status.atProvider` in between. What seems to be gone, or other than it should be, is looked at by itself before anything is done; so is what changes, and what a look is asked for
  (`crossplane.io/reconcile-requested-at`). Who may not make the shared call loses only the saving.
- **Tags.** Kinds with `tags` get `crossplane-kind`, `crossplane-name`, `crossplane-providerconfig` and `crossplane-uid` (in a namespace also `crossplane-namespace`) beside yours; tags that begin with `aws:` are left out.
- **Accounts.** `providerConfigRef` names a [ProviderConfig](#providerconfigs); without it, the one called `default`.
- **Status.** `status.atProvider` has the fields that are read of AWS, and the outputs that a kind's page names.

## ProviderConfigs

A ProviderConfig says with which credentials AWS is called, as which role, and where. `ProviderConfig` of `aws.upbound.io/v1beta1` is for what is cluster-scoped; `ClusterProviderConfig` of `aws.m.upbound.io/v1beta1` for what is in any
namespace, `ProviderConfig` of that group for what is in its own.

```yaml
apiVersion: v1
kind: Secret
metadata:
  name: aws-shop
  namespace: crossplane-system
stringData:
  credentials: |
    [default]
    aws_access_key_id = AKIAIOSFODNN7EXAMPLE
    aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY
---
apiVersion: aws.upbound.io/v1beta1
kind: ProviderConfig
metadata:
  name: shop
spec:
  credentials:
    source: Secret
    secretRef:
      namespace: crossplane-system
      name: aws-shop
      key: credentials
  assumeRoleChain:
  - roleARN: arn:aws:iam::123456789012:role/shop
```

| `credentials.source` | what it takes |
|---|---|
| `InjectedIdentity`, `IRSA`, `PodIdentity` | the operator's own identity, found as AWS's SDKs find it: of its Pod, of the machine, on a laptop that of AWS's command line |
| `Secret` | `secretRef`: `namespace`, `name` and `key` of INI text as in `~/.aws/credentials`. Section `[default]` is read, or the only one. A ProviderConfig in a namespace reads Secrets of its own alone |
| `WebIdentity` | `webIdentity.roleARN`, with the token of `tokenConfig` (`source: Secret` or `Filesystem`), without that with the operator's own |
| `Upbound` | the same, in `upbound.webIdentity`, with the token that Upbound mounts |
| `Environment`, `Filesystem` | the same INI text, in a variable (`env.name`) or a file (`fs.path`) of the operator: not in namespaces |
| `None` | nothing of its own, for an endpoint that asks for nothing |

- `assumeRoleChain` assumes roles one from the other; each may have `externalID`, `roleSessionName`, `tags` and `transitiveTagKeys`.
- `endpoint` has services called elsewhere: `{{url: {{type: Static, static: "http://localstack:4566"}}, hostnameImmutable: true}}`; `services: [s3, sts]` limits it to those.
- An edit of it, or of its Secret, is followed at once, without a restart, by all that uses it. It is deleted when nothing uses it any more: `status.users` counts.
- `Ready` is true when it can be read: the Secret and its key are there, and what they hold has the form of credentials. Whether AWS takes them is said by what uses it, in `Synced`, and by `groundplane doctor --checks credentials`.

| it, or what uses it, says | |
|---|---|
| `cannot get referenced ProviderConfig: "…" not found` | the generation's own kind of that name is missing: see above which |
| `cannot get credentials: Secret … not found`, `has no key "…"` | create it, or correct `spec.credentials.secretRef`; what waits goes on by itself |
| `section [default] is missing, or has nothing in it` | call the profile that is meant `[default]` |
| `no ARN`, `no service of AWS`, `no URL` | correct the field that is named |
| `InvalidClientTokenId`, `ExpiredToken`, `SignatureDoesNotMatch` | the credentials are wrong, or over: the message says where to store valid ones |
| `AssumeRole: AccessDenied` | let the role trust who calls, and who calls assume it: `groundplane iam-policy --assume-role ARN` |
| `Could not connect to the endpoint URL` | the endpoint, the network, or a region that is misspelt |

The full schemas are in [crds/](../../../crds/), and `groundplane crds --only '*.rds.aws.upbound.io'` prints them.
"""


@cache
def pages() -> dict[Path, str]:
    """Each page and its text."""
    services: dict[str, list[Kind]] = {}
    for kind in catalogue.first_generation():
        services.setdefault(service_of(kind), []).append(kind)
    made = {FOLDER / f"{service}.md": page(service, kinds) for service, kinds in services.items()}
    return {FOLDER / "README.md": index(services)} | made


def service_of(kind: Kind) -> str:
    return kind.group.partition(".")[0]


def index(services: Mapping[str, list[Kind]]) -> str:
    rows = ["| service | kinds |", "|---|---|"]
    for service, kinds in services.items():
        links = ", ".join(f"[{each.kind}]({service}.md#{each.kind.lower()})" for each in kinds)
        rows.append(f"| [{service}]({service}.md) | {links} |")
    count = sum(map(len, services.values()))
    return MADE + INDEX.format(count=count, services=len(services), rows="\n".join(rows))


def page(service: str, kinds: list[Kind]) -> str:
    head = f"# {service}\n\nAWS kinds of `{kinds[0].group}` and `{kinds[0].namespaced.group}`. What the columns mean, and what holds for all: [the AWS kinds](README.md).\n"
    return MADE + head + "".join(map(section, kinds))


def section(kind: Kind) -> str:
    crd = crds.of_kind(kind, docs=True, strict_upstream=False)
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    inputs = schema["properties"]["spec"]["properties"]["forProvider"]["properties"]
    parts = [f"\n## {kind.kind}\n", cell(schema.get("description", "")) + "\n", "\n".join(facts(kind)) + "\n"]
    rows = ["| field | type | required | can change | when it is left out | |", "|---|---|---|---|---|---|"]
    if not kind.is_global:
        rows.append("| `region` | string | yes | no | | The AWS region that it is in. |")
    for name, field in sorted(kind.fields.items()):
        if name != "region":
            words = inputs[name].get("description", "")
            rows.append(
                f"| `{name}` | {type_of(field)} | {demanded(kind, field)} | {change(field)} | {absence(field)} | {notes(name, field, words)} |"
            )
            rows += [
                f"| `{path}` | {type_of(inner)} | {'yes' if inner.required else ''} | | | {notes(path.rpartition('.')[2], inner, '')} |"
                for path, inner in members(name, field)
            ]
    parts.append("\n".join(rows) + "\n")
    if outputs := sorted(kind.at_provider):
        parts.append(f"Outputs in `status.atProvider`: {codes(outputs)}.\n")
    parts.append(f"```yaml\n{goyaml.dumps(example(kind))}---\n{goyaml.dumps(example(kind.namespaced))}```\n")
    return "\n".join(parts)


def facts(kind: Kind) -> Iterator[str]:
    """What is said of a kind above its fields."""
    yield f"- Versions: {codes(kind.versions)} of `{kind.group}`; `v1beta1` of `{kind.namespaced.group}`."
    if kind.objects_since:
        yield f"- What may occur once is an object since `{kind.objects_since}`, and in a namespace."
    yield f"- External name: {identity(kind)}"
    details = [each["name"] for each in crds.connection_details(kind.port)]
    yield f"- Connection keys: {codes(details) if details else 'none'}."
    yield f"- Tags: {'yes' if kind.tags else 'none'}."
    yield f"- Polls: {polls(kind)}"
    yield f"- IAM actions: {rights(kind)}"
    refused = [f"`{path}` ({field.unsupported})" for path, field in every(kind) if field.unsupported]
    if refused:
        yield f"- Refused when set: {'; '.join(refused)}."


def polls(kind: Kind) -> str:
    """How many calls they take."""
    reads = [kind.observe, *(also for also in kind.also.values() if not also.seldom and not also.once)]
    shared = {operation(kind, each.shared.call or each.call): None for each in reads if each.shared}
    rest = kind.observe.shared.rest if kind.observe.shared else None
    shared |= {operation(kind, rest.call): None} if rest else {}
    shared |= dict.fromkeys(actions.actions([tags.TOGETHER]) if shared and kind.is_untagged else ())
    alone = [operation(kind, each.call) for each in reads if not each.shared and not getattr(each, "hourly", ())]
    hourly = [
        *(kind.observe.shared.lacks if kind.observe.shared and not rest else ()),
        *(["tags"] if kind.is_untagged and not shared else []),
    ]
    hourly += [name for also in kind.also.values() for name in also.hourly]
    said = f"together, by {codes(shared)}" if shared else ""
    if alone := alone if not shared else []:
        said = f"one by one, by {codes(alone)}"
    return said + (f"; once an hour {codes(hourly)}" if hourly else "") + "."


def operation(kind: Kind, call: str) -> str:
    service, _, method = call.rpartition(":")
    return f"{service or kind.service}:{actions.operation(method)}"


def rights(kind: Kind) -> str:
    """What `groundplane iam-policy` prints for it, and which fields need more than the calls do."""
    said = [f"{codes(actions.actions(actions.calls(kind)))}."]
    if saving := actions.actions(actions.shared_calls(kind)):
        said.append(f"To save calls {codes(saving)}.")
    for need in kind.needs:
        to = f" ({codes(need.service)})" if need.service else ""
        why = f"With {codes(need.fields)} also" if need.fields else "Also"
        said.append(f"{why} {codes(need.actions)}{to}.")
    return " ".join(said)


def identity(kind: Kind) -> str:
    """Where the external name comes from, and what it is to import a thing."""
    rule = kind.external_name
    if rule.mode == "assigned":
        assert rule.from_ is not None
        return (
            f"AWS chooses it. To import, set it to what `{rule.from_.text}` of AWS's `{kind.create.call}` is."
            + parts_of(rule.separator)
        )
    if rule.mode == "composite":
        return f"made of the spec, `{rule.format}`. To import, write the spec of what exists; the name follows from it."
    first = f"`{rule.field}` or " if rule.field else ""
    rules = f" {rule.rule[0].upper()}{rule.rule[1:]}." if rule.rule else ""
    return f"{first}`metadata.name`, unless the annotation says another. To import, set it to the thing's name.{rules}"


def parts_of(separator: str) -> str:
    return f" Its parts are joined by `{separator}`." if separator else ""


def every(kind: Kind) -> Iterator[tuple[str, SchemaField]]:
    for name, field in sorted(kind.fields.items()):
        yield name, field
        yield from members(name, field)


def members(parent: str, field: SchemaField) -> Iterator[tuple[str, SchemaField]]:
    marks = LIST if field.is_many else ""
    for name, inner in sorted(field.fields.items()):
        path = f"{parent}{marks}.{name}"
        yield path, inner
        yield from members(path, inner)


def type_of(field: SchemaField) -> str:
    if isinstance(field, KindField) and field.secret:
        return "a Secret's key"
    return field.type + (", at most 1" if field.single else "")


def demanded(kind: Kind, field: KindField) -> str:
    if field.required_since and field.required_since != kind.versions[0]:
        return f"since `{field.required_since}`"
    return "yes" if field.required or field.required_since else ""


def change(field: KindField) -> str:
    if field.unsupported or field.idle:
        return ""
    if field.immutable:
        return "no"
    if field.update or field.secret:
        return "yes"
    if field.create and field.observe is None:
        return "at creation"
    return "at deletion" if field.delete else ""


def absence(field: KindField) -> str:
    """What it means that a field is not there."""
    said = []
    if "default" in field.model_fields_set:
        said.append(f"{value(field.default)} (enforced)")
    if "initial" in field.model_fields_set:
        said.append(f"{value(field.initial)} (at creation)")
    if field.late:
        said.append("AWS's (late)")
    if "unset" in field.model_fields_set and field.unset is not None:
        said.append(f"{value(field.unset)} (reset)")
    return ", ".join(said)


def value(given: Json) -> str:
    if given == "$name":
        return "`metadata.name`"
    return f"`{cell(json.dumps(given))}`"


def notes(name: str, field: SchemaField, words: str) -> str:
    said = [cell(words)] if words else []
    if field.unsupported:
        said.append(f"**Refused**: {cell(field.unsupported)}.")
    if field.idle:
        said.append(f"Has no effect: {cell(field.idle)}.")
    if field.reference is not None:
        service, _, kind = field.reference.to.partition("/")
        said.append(f"From {kind} ({service}): {codes(siblings(name, field))}.")
    if isinstance(field, KindField) and field.conflicts:
        said.append(f"Not beside {codes(field.conflicts)}.")
    if isinstance(field, KindField) and field.generate:
        said.append(f"Made by the operator if `{field.generate}` is true.")
    return " ".join(said)


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def example(kind: Kind) -> Object:
    """A manifest of the kind in its own generation."""
    inputs = {name: given for name, given in kind.example.items() if name != "region" or not kind.is_global}
    metadata: Object = {"name": "orders"}
    secret: Object = {"name": f"orders-{kind.file.replace('_', '-')}", "namespace": "my-team"}
    if kind.is_namespaced:
        metadata["namespace"] = "my-team"
        del secret["namespace"]
        inputs = {name: namespaced(kind, name, given) for name, given in inputs.items()}
    spec: Object = {"forProvider": inputs}
    if kind.connection or kind.create.connection:
        spec["writeConnectionSecretToRef"] = secret
    return {"apiVersion": f"{kind.group}/{kind.versions[0]}", "kind": kind.kind, "metadata": metadata, "spec": spec}


def namespaced(kind: Kind, name: str, given: Json) -> Json:
    """An input of the example as the generation in namespaces writes it."""
    field = kind.fields.get(name)
    if field is None:
        return given
    if field.secret and isinstance(given, dict):
        return {key: inner for key, inner in given.items() if key != "namespace"}
    return convert.shaped(given, field) if kind.shape == "object" else given
