"""The grammar of `kinds/*.yaml`: what a kind file may say, each key with its meaning and an example.

A kind file holds everything that is particular to one AWS kind: its calls, identity, states, error
codes, and its fields with their types and where they go.  `catalogue.py` loads the files, `engine.py` does what
they say.  Field names, types and flags are upstream's (provider-upjet-aws 75a4c57; v1beta1 shapes).

Two little languages are used inside:

* a *path* is JMESPath over the thing as AWS describes it: `Endpoint.Address`;
* a *template* is any text with a `$`: `$external_name`, `$spec.role`, `arn:${partition}:s3:::${external_name}`.
  The first of several names that has a value: `${spec.name|name}`; a pipe of JMESPath has blanks around it.  A text one of whose
  names has no value has none itself, unless the last alternative is empty: `/${spec.path|}`; behind a comma, a variable and its
  comma are left out together: `${spec.bucket}${,spec.owner}`.  Known names: external_name, uid, name, region, partition, suffix, account,
  `spec.<path>`, `secret.<name>`, `item.<path>`, `part.<number>` of the external name; `entry.<path>` or `entry` in the calls of an
  update of mode entries and in a list, `parent` in a list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Literal

import jmespath
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, model_validator

from groundplane import ports
from groundplane.core.objects import Json

DOMAIN = "aws.upbound.io"
NAMESPACED_DOMAIN = "aws.m.upbound.io"
LIST = "[]"
KEYS = "$keys"  # in the arguments of a shared read
READING = ("describe_", "get_", "list_", "head_")  # how the names of calls begin that change nothing
OF_ROLES = {
    "iam:PassRole": "iam:PassedToService",
    "iam:CreateServiceLinkedRole": "iam:AWSServiceName",
}  # and what bounds them


class Path:
    """A compiled JMESPath; `search` of None is None."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._search = jmespath.compile(text).search

    def search(self, item: Json) -> Json:
        return self._search(item)

    def __repr__(self) -> str:
        return f"Path({self.text!r})"


def _path(value: object) -> Path:
    if not isinstance(value, str):
        raise ValueError("a path must be a text")
    try:
        return Path(value)
    except jmespath.exceptions.JMESPathError as error:
        raise ValueError(f"not JMESPath: {error}") from error


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


PathText = Annotated[Path, PlainValidator(_path)]
Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]
Compare = Literal[
    "exact",
    "ci",
    "list",
    "set",
    "version",
    "policy",
    "json",
    "json-list",
    "json-text",
    "window",
    "cidr",
    "kms",
    "arn",
    "time",
    "subset",
    "any",
]
Shape = Literal["list", "object", "either"]  # of a field that may occur once
Type = Literal[
    "string", "number", "boolean", "object", "[]string", "[]number", "[]object", "map[string]", "[]map[string]"
]


class Strict(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        populate_by_name=True,
        arbitrary_types_allowed=True,
        defer_build=True,  # `Kind` is built when the first file is read, and all below it with it
    )


class Call(Strict):
    """A call of AWS: `{call: delete_vpc, with: {VpcId: $external_name}}`."""

    call: str = ""
    """A method of the service's client, `create_vpc`; of another service's, `secretsmanager:get_secret_value`."""
    with_: dict[str, Json] = Field(default_factory=dict, alias="with")
    """Its arguments, which may be templates: `{VpcId: $external_name}`.  One without a value is left out."""


class Create(Call):
    instead: dict[str, Call] = Field(default_factory=dict)
    """The call to make instead if a spec field is set; the first counts: `{snapshotIdentifier: {call: restore_db_cluster_from_snapshot}}`."""
    repeatable: bool = False
    """Whether the same call once more makes no second thing, but answers with the first, as by its name: `true`."""
    token: str = ""
    """The parameter that takes an idempotency token, which is made of metadata.uid: `ClientToken`."""
    connection: dict[str, PathText] = Field(default_factory=dict)
    """Connection details that only the create's answer has, key: path: `{password: AccessKey.SecretAccessKey}`."""


class Shared(Call):
    """A read that answers for many things of an account and region, so that looks at what has settled travel together.

    It only confirms: what it shows otherwise than it was, or doesn't show, is looked at by the read itself.  Its arguments know one
    variable, the list of all keys that are asked for: `{with: {Filters: [{Name: vpc-id, Values: $keys}]}, in: Vpcs, key: VpcId}`.
    Without `call` it is the read's own call; without `$keys` it lists whatever there is, page by page.
    """

    in_: PathText = Field(alias="in")
    """From the answer to what it lists: `Vpcs`."""
    key: PathText
    """From an entry of the list to its key, or keys: `VpcId`."""
    of: str = "$external_name"
    """A template for the key of the thing at hand: `$spec.routeTableId`."""
    answer: PathText | None = None
    """From the entries of that key to what the read's own call would answer; without it they are the list of that name: `{Role: [0]}`."""
    where: dict[str, Json] = Field(default_factory=dict)
    """Member: template; the answer is a list called `found`, and its first entry whose members are these is what the read's own call would
    answer: `{PolicyName: $external_name}`."""
    most: int = 200
    """How many keys a call takes: `100`."""
    lacks: Names = ()
    """The fields, or `tags`, that it doesn't tell, and the status keeps; they are read once an hour: `[description]`."""
    rest: Shared | None = None
    """Another one that tells, of the same key, all that this one lacks: its `answer` joins the thing, and nothing is kept.  Where it
    can't be made, they are read once an hour: `{call: list_roles, in: Roles, key: RoleName, answer: "[0].{Description: Description}"}`."""

    @property
    def is_listing(self) -> bool:
        """Whether it lists all there is."""
        return KEYS not in str(self.with_)


class Read(Call):
    """A call that reads, and what is taken from its answer."""

    item: PathText
    """From the answer to the thing, or to a list to choose from by `where`: `Vpcs[0]`."""
    where: dict[str, Json] = Field(default_factory=dict)
    """Member: template; the first entry whose members are these is the thing: `{RuleId: $external_name}`."""
    absent: Names = ()
    """The error codes that say "not there"; nothing else does: `[InvalidVpcID.NotFound]`."""
    paginate: bool = False
    """Whether the answer comes in pages, which are joined before `item` is looked up: `true`."""
    shared: Shared | None = None
    """How it is read for many things at once: `{with: {Filters: [{Name: vpc-id, Values: $keys}]}, in: Vpcs, key: VpcId}`."""


class Observe(Read):
    """The read that tells whether the thing is there: it is if `item` gives anything."""


class Also(Read):
    """A further read; its result joins the item under the entry's name.  What is absent is null."""

    when: Names = ()
    """The read is made only if one of these spec fields is set: `[managedPolicyArns]`."""
    once: str = ""
    """The atProvider field whose known value makes another read needless: `dhcpOptionsId`."""
    hourly: Names = ()
    """The fields that it tells; where polls find nothing else changed, the status keeps them, and they are read once an hour: `[enableDnsSupport]`."""
    seldom: bool = False
    """It only informs: read once an hour, and when a look is asked for, into the atProvider field of the entry's name, which keeps
    its value in between; what can't be read for want of rights, or isn't there to be asked, is left out: `true`."""


class Find(Call):
    """How to look for what an interrupted create made."""

    items: PathText
    """From the answer to the list of external names: `Vpcs[].VpcId`."""
    named: bool = False
    """It finds by a name that somebody else's may have, too: a thing is ours if it carries our tag; another one's is refused before a create: `true`."""
    absent: Names = ()
    """The error codes that mean "nothing": `[ResourceNotFoundException]`."""


class Listing(Call):
    """How the things of a kind are listed, for who takes them over (`groundplane import`) or looks for what was left behind.

    The operator itself never lists.  Its templates know two more variables: `$parent`, and `$entry`, what the list has of a thing.
    """

    of: str = ""
    """The kind that the things belong to; the call is made for each of its things, whose external name is `$parent`: `iam/Role`."""
    items: PathText
    """From the answer, of which all pages are read, to the entries; what AWS made for itself is left out: `Vpcs[?!IsDefault].VpcId`."""
    name: str = "$entry"
    """A template for the external name, where the spec doesn't make it: `$entry.PolicyName`."""
    format: str = ""
    """What the name stands in, as `${name}`, if the list has more than that: `alias/${name}`."""
    fields: dict[str, str] = Field(default_factory=dict)
    """The forProvider fields that the observe call needs, by template: `{role: $parent, policyArn: $entry.PolicyArn}`."""
    own: PathText | None = None
    """In the observed item: whether it is AWS's own, or on its way out: `KeyManager == 'AWS'`."""
    asked: bool = False
    """Listed only where the kind is named, not with all others: AWS makes one with each of something else, or another kind tells the same: `true`."""


class Update(Call):
    """How changed fields of a group become calls.  Without `call` the kind's hooks send them."""

    mode: Literal["patch", "full", "each", "attribute", "recreate", "entries"] = "patch"
    """What a call carries.  `patch`: the changed fields; `full`: all of the group; `recreate`: all that a create
    takes; `each`: one field a call, what is switched off first; `attribute`: one field a call, as name and value;
    `entries`: the entries of a list that are new or changed, all in the field's parameter (at most `most` a call), or one a call as
    `$entry` if the field has none; those that are too many go by `remove`, first."""
    remove: Call | None = None
    """Mode entries: the call that takes an entry away, with its parameter as `list` or with `$entry`:
    `{call: detach_role_policy, with: {RoleName: $external_name, PolicyArn: $entry}}`."""
    list_: str = Field(default="", alias="list")
    """Mode entries: the remove call's parameter for many entries; without it, one is removed a call: `Parameters`."""
    most: int = 0
    """Mode entries: how many entries a call takes: `20`."""
    name: str = "AttributeName"
    """Mode attribute: the parameter that takes the field's name: `AttributeName`."""
    value: str = "AttributeValue"
    """Mode attribute: the parameter that takes the field's value: `AttributeValue`."""
    unset: Call | None = None
    """The call instead, when an empty value is desired: `{call: delete_role_permissions_boundary, with: {…}}`."""
    new_external_name: PathText | None = Field(default=None, alias="newExternalName")
    """In the answer: the name that the thing has from now on: `NewAssociationId`."""


class Delete(Call):
    """The call that removes the thing.  Without `call` nothing is sent: it has no end of its own (`done`)."""

    done: PathText | None = None
    """In the item: whether it counts as gone, for what AWS always shows: `Status != 'Enabled'`; without a call: "`true`"."""
    absent: Names = ()
    """The error codes that say that it is gone already: `[InvalidVpcID.NotFound]`."""
    busy: Names = ()
    """The codes that mean "later": dependants, a state that must pass: `[DependencyViolation]`."""
    skip: str = ""
    """The spec field that leaves the thing alone in AWS: `skipDestroy`."""


class Ready(Strict):
    """States.  One that is in no list is a transition: condition Ready stays as it was."""

    path: PathText
    """To the state in the item: `DBInstanceStatus`."""
    in_: Names = Field(alias="in")
    """Ready; the first is the usual one, the others are named in the condition: `[available, stopped]`."""
    creating: Names = ()
    """Not usable for the first time yet: `[creating]`."""
    deleting: Names = ()
    """AWS is at it, no delete call is needed: `[deleting]`."""
    gone: Names = ()
    """Shown, but not there any more: `[terminated]`."""
    failed: Names = ()
    """Not usable, and won't be by waiting: `[storage-full]`."""
    updatable: Names = ()
    """States beyond those of `in` in which AWS takes updates: `[storage-full]`."""
    fixed: Names = ()
    """States of `in` in which AWS takes none: `[stopped]`."""
    slow: bool = False
    """An update starts a transition, so one group of changes is sent at a time: `true`."""
    message: PathText | None = None
    """To the reason why it failed: `StateReason.Message`."""


class ExternalName(Strict):
    """The thing's identity in AWS, kept in annotation crossplane.io/external-name."""

    mode: Literal["name", "assigned", "composite"]
    """`name`: we choose it; `assigned`: AWS does, hence the create-pending protocol; `composite`: made of the spec."""
    parameter: str = ""
    """Mode name: the parameter of the create call that takes it: `DBInstanceIdentifier`."""
    from_: PathText | None = Field(default=None, alias="from")
    """Mode assigned: where the create's answer has it: `Vpc.VpcId`."""
    field: str = ""
    """Mode name: the forProvider field that comes before metadata.name: `identifier`."""
    format: str = ""
    """Mode composite: a template of spec fields: `$spec.role/$spec.policyArn`."""
    preset: bool = False
    """Mode composite: AWS makes such a thing by itself.  It is ours once our create has put it and the annotation says so: `true`."""
    separator: str = ""
    """Mode assigned: what stands between the parts of a name, `${part.0}` and so on: `|`."""
    canonical: PathText | None = None
    """In the item: how AWS spells it: `DBInstanceIdentifier`, which AWS keeps in lower case."""
    pattern: str = ""
    """A regular expression for the whole name: `[A-Za-z0-9._-]{1,255}`."""
    rule: str = ""
    """That pattern in words, for an error's mend: `1 to 255 letters, digits, dots, hyphens and underscores`."""
    reserved: Names = ()
    """Names that AWS keeps for itself, in lower case: `[default]`."""


class Match(Strict):
    """An error of AWS: `{code: InvalidParameterValue, text: IAM role}`."""

    code: str
    """Its code: `InvalidParameterValue`."""
    text: str = ""
    """A part of its message, whatever the case: `IAM role`."""
    operation: str = ""
    """Only as an answer to this operation: `PutRolePolicy`."""
    young: bool = False
    """Only in the first minutes of the object, when AWS may not know everywhere what it names: `true`."""


class Mend(Match):
    field: str = ""
    """The forProvider field at fault: `instanceClass`."""
    mend: str
    """What to do about it: `use a class that RDS has, such as db.t4g.micro`."""


class Errors(Strict):
    exists: Names = ()
    """The codes that say that the create met a thing of that name: `[EntityAlreadyExists]`."""
    wait: tuple[Match, ...] = ()
    """Errors that are early, not wrong: `[{code: MalformedPolicyDocument, text: Invalid principal}]`."""
    mends: tuple[Mend, ...] = ()
    """Errors that need an edit: `[{code: InvalidVpcID.NotFound, field: vpcId, mend: name a VPC of this account}]`."""


class Tags(Strict):
    """How the kind's tags are read and written; without it the kind has none."""

    style: str
    """The service's way, one of `tags.STYLES`: `ec2`."""
    of: str = ""
    """A template for what the tag calls address, if not the external name: `$item.DBInstanceArn`."""
    inline: PathText | None = None
    """Where the observed item has its tags; without it they are read by a call: `TagList`."""
    resource: str = ""
    """Style ec2: the resource type, `security-group`; style iam: the entity, `role`."""
    parameter: str = ""
    """The tag calls' parameter for the thing, where it isn't the style's: `InstanceProfileName`."""
    at_create: bool = Field(default=True, alias="atCreate")
    """Whether the create call takes tags: `false`."""


class Need(Strict):
    """Rights beyond those of the kind's own calls, which AWS asks for of whoever makes them."""

    actions: Names
    """The actions of IAM: `[iam:PassRole]`."""
    fields: Names = ()
    """The forProvider fields that need them; without one, every create does: `[monitoringRoleArn]`."""
    service: Names = ()
    """The services of AWS that a role is passed to, or made for: `monitoring.rds.amazonaws.com`."""


class ReferenceTo(Strict):
    """What a field may be taken from.  A text alone is `to`: `reference: ec2/VPC`."""

    to: str
    """The service and kind of the managed resource: `iam/Role`."""
    extract: str = "external-name"
    """What is taken of it, a field path or its external name: `status.atProvider.arn`."""
    ref: str = ""
    """The reference's field, where upstream doesn't name it after the field: `managedPolicyArnsRefs`."""
    selector: str = ""
    """The selector's field, likewise: `managedPolicyArnsSelector`."""


def _reference(value: object) -> object:
    return {"to": value} if isinstance(value, str) else value


class SchemaField(Strict):
    """A field's shape, as the CRD has it."""

    type: Type
    """Upstream's type in v1beta1: `[]string`."""
    fields: dict[str, SchemaField] = Field(default_factory=dict)
    """Type object or []object: its members: `{enabled: {type: boolean}}`."""
    required: bool = False
    """A create can't do without it: `true`."""
    single: bool = False
    """Type []object: at most one element; an object in upstream's later API versions.  Either is read: `true`."""
    aws: str = ""
    """Of a member: its path in AWS, where that isn't nearly its name: `NoncurrentVersionTransitions`."""
    compare: Compare | None = None
    """How it is compared, one of `compare`'s ways; unset: lists as sets, objects by the members that the spec sets, all else exactly: `policy`."""
    key: Names = ()
    """Type []object: the members that say which entry of AWS's an entry is; without it, any that has what the spec says: `name`."""
    repeats: bool = False
    """Type []...: an entry that stands there twice counts twice, as the zone of two nodes: `true`.  Else, unless `compare` is `list`, it counts once."""
    reference: Annotated[ReferenceTo | None, BeforeValidator(_reference)] = None
    """The managed resource that it may be taken from, also of a member: `ec2/VPC`."""
    unsupported: str = ""
    """Why it can't be set: whoever sets it is told this: `EC2-Classic is gone`."""
    values: Names = ()
    """The values that AWS's model knows.  One that is merely spelt otherwise is refused, one that is like none may be new, and is sent:
    `[PROVISIONED, PAY_PER_REQUEST]`."""
    closed: bool = False
    """No value will ever be added to `values`: any other is refused before a call: `true`."""
    pattern: str = ""
    """Type string: a regular expression for the whole value; what it does not fit is refused before a call: `cache\\..+`."""
    rule: str = ""
    """That pattern in words, for an error's mend: `node types begin with cache.: cache.t4g.micro`."""
    range: tuple[int, int] | None = None
    """Type number: the least and the most that AWS takes; what is beyond is refused before a call: `[0, 900]`."""
    zone: bool = False
    """Availability zones, by name: one of another region is refused before a call: `true`."""
    exclusive: tuple[tuple[str, ...], ...] = ()
    """Type object or []object: members of which one at most may be set, also by a reference: `[[days, date]]`."""
    needed: bool = False
    """Of a member: AWS takes no entry without it, though no schema says so: `true`."""
    beside: dict[str, Names] = Field(default_factory=dict)
    """The fields beside it, or members of its entry, without which AWS refuses it, and the values that these must have, none: any:
    `{fifoQueue: "true"}`."""
    idle: str = ""
    """Why it may be set and nothing is done about it: `a change of the Secret is noticed without it`."""

    @property
    def comparison(self) -> str:
        is_set = self.type.startswith(LIST) and not self.single
        return self.compare or ("set" if is_set else "exact")

    @property
    def is_many(self) -> bool:
        return self.type.startswith(LIST) and not self.single

    @property
    def is_judged(self) -> bool:
        """Whether its value can be refused before a call."""
        own = self.values or self.exclusive or self.range or self.pattern or self.zone or self.needed or self.beside
        return bool(own or self.key or self.compare in ("cidr", "window", "policy", "json", "json-list", "json-text"))


class KindField(SchemaField):
    """A field of forProvider: its type, its flags, and where its value goes and comes from."""

    create: str = ""
    """The create call's parameter, dotted: `Placement.AvailabilityZone`."""
    observe: PathText | None = None
    """Where the item has its value: `DBSubnetGroup.DBSubnetGroupName`."""
    update: str = ""
    """The update group that sends it, and its parameter if it isn't the create's: `modify.DBPortNumber`."""
    delete: str = ""
    """The delete call's parameter: `SkipFinalSnapshot`."""
    with_: Names = Field(default=(), alias="with")
    """In an update it is sent only beside these fields, never for its own sake; `"*"`: any: `engineVersion`."""
    immutable: bool = False
    """AWS can't change it: `true`."""
    late: bool = False
    """Taken from AWS into the spec when unset: `true`."""
    default: Json = None
    """What unset means, enforced: `true`."""
    blank: bool = False
    """Of a required text: the empty one is a value, too, and sent: `true`."""
    omit: Json = None
    """The value that AWS takes by silence only, and calls that make or remake the thing leave out: `false`."""
    initial: Json = None
    """What a create sends when unset, a template; not enforced later: `Managed by Crossplane`."""
    unset: Json = None
    """What AWS is reset to when the spec has it no more, where nothing is late-initialised (else what the spec leaves out may
    be meant); null: it stays as it is.  A field that is updated says this, or has a `default`, or is `late` or `required`: `""`."""
    required_since: str = Field(default="", alias="requiredSince")
    """The first API version whose schema demands it; the namespaced generation does, too: `v1beta2`."""
    formerly: SchemaField | None = None
    """What a field of that name was in earlier API versions, which share the object; hooks make sense of it: `{type: "[]object", fields: {…}}`."""
    conflicts: Names = ()
    """The fields beside which it can't be set: `[replicateSourceDb]`."""
    shared: Names = ()
    """The kinds that set the same in AWS; whoever is found to change it in turn is told: `[sns/TopicPolicy]`."""
    secret: str = ""
    """Its name among the secrets; the field refers to a Secret's key: `password`."""
    generate: str = ""
    """The boolean field that asks for a generated secret: `autoGeneratePassword`."""

    @property
    def group(self) -> str:
        return self.update.partition(".")[0]

    @property
    def parameter(self) -> str:
        return self.update.partition(".")[2] or self.create


def _output(value: object) -> object:
    return {"type": "string", "from": value} if isinstance(value, str) else value


class Output(SchemaField):
    """A field of status.atProvider beyond the echoed inputs.  A text alone is `from`: `arn: DBInstanceArn`."""

    from_: str = Field(default="", alias="from")
    """A path or a template; empty: the hooks provide it: `${item.Endpoint.Address}:${item.Endpoint.Port}`."""

    @cached_property
    def path(self) -> Path | None:
        """None: it is a template, or the hooks provide it."""
        return None if not self.from_ or "$" in self.from_ else Path(self.from_)


class Kind(Strict):
    """One kind file."""

    kind: str
    """The Kubernetes kind: `SubnetGroup`."""
    group: str
    """Its API group: `rds.aws.upbound.io`."""
    plural: str
    """Its plural: `subnetgroups`."""
    versions: Names = ("v1beta1",)
    """The served versions, the oldest first: `[v1beta1, v1beta2]`."""
    stored: str = ""
    """The version in which objects are stored, if it is not the last: `v1beta1`."""
    objects_since: str = Field(default="", alias="objectsSince")
    """The first version in which `single` fields are objects, as they are in the namespaced generation, too; without it they are
    lists everywhere: `v1beta2`."""
    ready_first: Names = Field(default=(), alias="readyFirst")
    """The versions whose printer column READY stands before SYNCED, as upstream's deprecated ones: `[v1beta1]`."""
    service: str
    """The name of boto3's client: `rds`."""
    is_global: bool = Field(default=False, alias="global")
    """The service has no regions: `true`."""
    asynchronous: bool = False
    """Upstream makes its calls in the background, and tells of them in conditions of their own: `true`."""
    external_name: ExternalName = Field(alias="externalName")
    """Who chooses its identity, and how: `{mode: assigned, from: Vpc.VpcId}`."""
    create: Create
    """The call that makes it: `{call: create_vpc}`."""
    observe: Observe
    """The call that reads it: `{call: describe_vpcs, with: {VpcIds: [$external_name]}, item: "Vpcs[0]"}`."""
    also: dict[str, Also] = Field(default_factory=dict)
    """Further reads by name: `{attached: {call: list_attached_role_policies, item: "AttachedPolicies[].PolicyArn"}}`."""
    find: Find | None = None
    """How an interrupted create is found by our tag; without it, by name, or by a person:
    `{call: describe_vpcs, with: {Filters: [{Name: "tag:crossplane-uid", Values: [$uid]}]}, items: "Vpcs[].VpcId"}`."""
    list_: Listing | None = Field(default=None, alias="list")
    """How all things of the kind are listed: `{call: describe_vpcs, items: "Vpcs[?!IsDefault].VpcId"}`."""
    update: dict[str, Update] = Field(default_factory=dict)
    """Groups of fields that one call changes, in the order in which they are sent: `{modify: {call: modify_db_instance}}`."""
    delete: Delete
    """The call that removes it: `{call: delete_vpc, with: {VpcId: $external_name}}`."""
    ready: Ready | None = None
    """Its states; without it, what is there is ready: `{path: State, in: [available], creating: [pending]}`."""
    tags: Tags | None = None
    """How its tags are kept: `{style: ec2, resource: vpc, inline: Tags}`."""
    errors: Errors = Errors()
    """What its errors mean: `{exists: [EntityAlreadyExists]}`."""
    exclusive: tuple[tuple[str, ...], ...] = ()
    """Fields of which one at most may be set, also by a reference: `[[gatewayId, natGatewayId]]`."""
    fields: dict[str, KindField]
    """The fields of forProvider: `{vpcId: {type: string, create: VpcId, observe: VpcId, immutable: true}}`."""
    at_provider: dict[str, Annotated[Output, BeforeValidator(_output)]] = Field(alias="atProvider")
    """The fields of status.atProvider beyond those: `{arn: DBInstanceArn}`."""
    connection: dict[str, str] = Field(default_factory=dict)
    """Connection details, key: path or template: `{host: Endpoint.Address, password: $secret.password}`."""
    example: dict[str, Json]
    """A forProvider that works; tests and docs use it: `{region: eu-west-1, cidrBlock: 10.0.0.0/16}`."""
    changes: dict[str, Json] = Field(default_factory=dict)
    """Fields of the example and other values for them, tried one by one by the test of its life: `{description: other words}`."""
    untried: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Reason: fields that are updated and whose change the stand-in can't play: `{moto does not keep it: [networkType]}`."""
    calls: Names = ()
    """The calls that the module beside the file makes, beyond those that the file has: `[enable_key, disable_key]`."""
    needs: tuple[Need, ...] = ()
    """Rights that AWS asks for beyond those of the calls: `[{actions: iam:PassRole, fields: roleArn, service: rds.amazonaws.com}]`."""
    doc: str = ""
    """A line for people; empty: the create operation's documentation: `A network of its own.`"""

    @model_validator(mode="after")
    def _fits_together(self) -> Kind:
        for name, field in self.fields.items():
            self._check_field(name, field)
        for path, shape in _every_field(self.fields):
            self._check_shape(f"fields.{path}", shape)
        for name, output in self.at_provider.items():
            if output.reference or output.unsupported or output.required:
                raise ValueError(f"atProvider.{name}: is read, and can't be a reference, required or unsupported")
        for name, also in self.also.items():
            if also.once and also.once not in self.at_provider:
                raise ValueError(f"also.{name}.once: no atProvider field {also.once}")
            if also.seldom and not (name in self.at_provider and self.at_provider[name].from_ == name):
                raise ValueError(f"also.{name}.seldom: no atProvider field {name} that is taken from it")
            self._check_names(f"also.{name}.when", also.when)
        for names in self.exclusive:
            self._check_names("exclusive", names)
        self._check_shared()
        self._check_listing()
        self._check_names("create.instead", tuple(self.create.instead))
        self._check_names("changes", tuple(self.changes))
        self._check_names("untried", tuple(name for names in self.untried.values() for name in names))
        self._check_names("externalName.field", (self.external_name.field,) if self.external_name.field else ())
        self._check_names("delete.skip", (self.delete.skip,) if self.delete.skip else ())
        if not self.delete.call and self.delete.done is None:
            raise ValueError("delete.done: without a call, it must say when the thing counts as gone")
        for name, update in self.update.items():
            self._check_update(name, update)
        for place, need in enumerate(self.needs):
            self._check_names(f"needs.{place}.fields", need.fields)
            if need.service and not set(need.actions) <= set(OF_ROLES):
                raise ValueError(f"needs.{place}.service: is of {' and '.join(OF_ROLES)}")
        if self.find is not None and self.find.named and self.tags is None:
            raise ValueError("find.named: only tags tell whose it is")
        self._check_identity()
        self._check_versions()
        return self

    def _check_names(self, where: str, names: tuple[str, ...], *known: str) -> None:
        for name in names:
            if name not in self.fields and name not in known:
                raise ValueError(f"{where}: no field {name}")

    def _check_shared(self) -> None:
        reads: dict[str, Read] = {"observe": self.observe, **{f"also.{name}": also for name, also in self.also.items()}}
        for name, read in reads.items():
            if read.shared is None:
                continue
            where, shared = f"{name}.shared", read.shared
            if name != "observe" and self.observe.shared is None:
                raise ValueError(f"{where}: the observe call is not shared, so nothing is saved")
            if shared.is_listing and not shared.call and shared.with_:
                raise ValueError(f"{where}.with: has no {KEYS}, without which the call lists all there is")
            if shared.is_listing and "most" in shared.model_fields_set:
                raise ValueError(f"{where}.most: there are no {KEYS} in its arguments")
            if set(re.findall(r"\$\{?[\w.]+", str(shared.with_))) - {KEYS}:
                raise ValueError(f"{where}.with: knows no variable but {KEYS}: the call is made for many things")
            if shared.where and "found" not in str(shared.answer and shared.answer.text):
                raise ValueError(f"{where}.where: chooses from the list `found`, which the answer lacks")
            self._check_names(f"{where}.lacks", shared.lacks, "tags", *self.at_provider)
            if shared.rest and not (name == "observe" and shared.lacks and shared.rest.call and shared.rest.answer):
                raise ValueError(
                    f"{where}.rest: is of observe alone, which lacks something, and has a call and an answer"
                )
        for name, also in self.also.items():
            self._check_names(f"also.{name}.hourly", also.hourly, *self.at_provider)
            ways = [way for way in ("shared", "hourly", "once", "seldom", "when") if getattr(also, way)]
            if self.observe.shared is not None and not ways:
                raise ValueError(
                    f"also.{name}: takes a call for each look, though observe is shared; say shared, hourly, once or seldom"
                )
            if also.hourly and (also.shared or also.seldom or also.once):
                raise ValueError(f"also.{name}.hourly: it is shared, or known between its reads already")

    def _check_listing(self) -> None:
        rule = self.list_
        if rule is None:
            return
        if not rule.call:
            raise ValueError("list.call: names no call")
        self._check_names("list.fields", tuple(rule.fields), "region")
        if rule.format and "${name}" not in rule.format:
            raise ValueError("list.format: has no ${name}")
        if not rule.of and "$parent" in f"{rule.with_}{rule.name}{rule.fields}":
            raise ValueError("list.of: $parent is of no kind")

    def _check_field(self, name: str, field: KindField) -> None:
        if field.group and field.group not in self.update:
            raise ValueError(f"fields.{name}.update: no update group {field.group}")
        if field.update:
            update = self.update[field.group]
            if update.call and not field.parameter and update.mode != "entries":
                raise ValueError(f"fields.{name}.update: names no parameter")
        for other in (*field.conflicts, *(x for x in field.with_ if x != "*")):
            if other not in self.fields:
                raise ValueError(f"fields.{name}: no field {other}")
        for key in ("default", "initial", "unset", "late"):
            if field.unsupported and key in field.model_fields_set:
                raise ValueError(f"fields.{name}.{key}: the field is unsupported")
        ways = [way for way in ("unset", "default", "late", "required") if way in field.model_fields_set]
        if len(ways) != 1 and field.group and field.observe and not field.secret and not field.with_:
            raise ValueError(f"fields.{name}: says {' and '.join(ways) or 'nothing'} of what its absence means")
        if field.late and field.observe is None:
            raise ValueError(f"fields.{name}.late: nothing is observed")
        if field.blank and not (field.required and field.type == "string"):
            raise ValueError(f"fields.{name}.blank: the field is no required text")
        if field.immutable and field.update:
            raise ValueError(f"fields.{name}.immutable: it is updated")
        if field.generate and (not field.secret or field.generate not in self.fields):
            raise ValueError(f"fields.{name}.generate: no secret, or no field {field.generate}")
        if field.aws:
            raise ValueError(f"fields.{name}.aws: is of members; a field says `create` and `observe`")
        if field.needed:
            raise ValueError(f"fields.{name}.needed: is of members; a field says `required`")
        self._check_names(f"fields.{name}.beside", tuple(field.beside))

    def _check_shape(self, where: str, field: SchemaField) -> None:
        is_object = field.type.removeprefix(LIST) == "object"
        if field.fields and not is_object:
            raise ValueError(f"{where}.fields: {field.type} has no members")
        if field.single and not field.type.startswith(LIST):
            raise ValueError(f"{where}.single: {field.type} is no list")
        for key, names in (("key", field.key), *(("exclusive", names) for names in field.exclusive)):
            for name in names:
                if name not in field.fields:
                    raise ValueError(f"{where}.{key}: no member {name}")
        for name, member in field.fields.items():
            if unknown := sorted(set(member.beside) - set(field.fields)):
                raise ValueError(f"{where}.{name}.beside: no member {unknown[0]}")
        if field.values and field.type not in ("string", "[]string", "number"):
            raise ValueError(f"{where}.values: {field.type} has none")
        if field.closed and not field.values:
            raise ValueError(f"{where}.closed: no values")
        if field.range and (field.type != "number" or field.range[0] >= field.range[1]):
            raise ValueError(f"{where}.range: {field.type}, {field.range}")
        if bool(field.pattern) != bool(field.rule) or (field.pattern and field.type != "string"):
            raise ValueError(f"{where}.pattern: of a {field.type}, with rule {field.rule!r}")
        if field.zone and field.type not in ("string", "[]string"):
            raise ValueError(f"{where}.zone: {field.type} names none")

    def _check_update(self, name: str, update: Update) -> None:
        fields = [field for field in self.fields.values() if field.group == name]
        if update.call and not fields:
            raise ValueError(f"update.{name}: no field is updated by it")
        if update.mode == "entries" and (not update.call or update.remove is None):
            raise ValueError(f"update.{name}.mode: entries need a call, and one to remove them")
        if update.mode != "entries":
            for key in ("remove", "list_", "most"):
                if key in update.model_fields_set:
                    raise ValueError(f"update.{name}.{key.rstrip('_')}: is of mode entries")
        if update.mode != "attribute":
            for key in ("name", "value"):
                if key in update.model_fields_set:
                    raise ValueError(f"update.{name}.{key}: is of mode attribute")

    def _check_versions(self) -> None:
        for name, field in self.fields.items():
            if field.required_since and field.required_since not in self.versions:
                raise ValueError(f"fields.{name}.requiredSince: {field.required_since} is not served")
        others = (("stored", (self.stored,)), ("objectsSince", (self.objects_since,)), ("readyFirst", self.ready_first))
        for key, versions in others:
            for version in filter(None, versions):
                if version not in self.versions:
                    raise ValueError(f"{key}: {version} is not served")

    def _check_identity(self) -> None:
        rule = self.external_name
        allowed = {
            "name": {"parameter", "field", "canonical", "pattern", "rule", "reserved", "from_"},
            "assigned": {"from_", "canonical", "separator"},
            "composite": {"format", "canonical", "preset"},
        }[rule.mode]
        for key in rule.model_fields_set - {"mode"} - allowed:
            raise ValueError(f"externalName.{key.rstrip('_')}: is not of mode {rule.mode}")
        if rule.mode == "composite" and not rule.format:
            raise ValueError("externalName.format: mode composite needs it")

    @cached_property
    def is_judged(self) -> bool:
        """Whether anything is said of values, and of fields that exclude each other."""
        return bool(self.exclusive) or any(field.is_judged for _, field in _every_field(self.fields))

    @property
    def file(self) -> str:
        """The name of its file, and of the module beside it, without the ending."""
        return file_of(self.group, self.kind)

    @cached_property
    def is_hourly(self) -> bool:
        """Whether some of it is read once an hour only, while polls find nothing else changed."""
        lacks = self.observe.shared is not None and self.observe.shared.lacks
        return bool(lacks) or self.is_untagged or any(also.hourly for also in self.also.values())

    @property
    def is_untagged(self) -> bool:
        """Whether its tags take a call of their own."""
        return self.tags is not None and self.tags.inline is None

    @cached_property
    def port(self) -> ports.ManagedKind:
        """What the managed reconciler must know."""
        return ports.ManagedKind(
            api_versions=tuple(f"{self.group}/{version}" for version in self.versions),
            kind=self.kind,
            plural=self.plural,
            external_name=self.external_name.mode,
            references=tuple(self._references()),
            secrets=tuple(
                ports.SecretField(field.secret, name, field.generate)
                for name, field in self.fields.items()
                if field.secret
            ),
            required=tuple(name for name, field in self.fields.items() if field.required),
            regional=not self.is_global,
            asynchronous=self.asynchronous,
            shared=tuple(
                ports.Shared(name, f"{service}.{self.domain}", kind)
                for name, field in self.fields.items()
                for service, _, kind in (each.partition("/") for each in field.shared)
            ),
            repeatable=self.external_name.mode != "assigned" or bool(self.create.token) or self.create.repeatable,
            namespaced=self.is_namespaced,
            ready_at_once=self.ready is None,
            connection=tuple(sorted({*self.connection, *self.create.connection})),
        )

    def _references(self) -> Iterator[ports.Reference]:
        for path, field in _every_field(self.fields):
            if field.reference is None:
                continue
            service, _, kind = field.reference.to.partition("/")
            parent, _, name = path.rpartition(".")
            ref, selector = siblings(name, field)
            parent = parent and f"{parent}."
            yield ports.Reference(
                field=path,
                ref=parent + ref,
                selector=parent + selector,
                group=f"{service}.{self.domain}",
                kind=kind,
                extract=field.reference.extract,
                many=field.type.startswith(LIST),
            )

    @property
    def is_namespaced(self) -> bool:
        """Whether it is of the later generation, whose objects live in namespaces."""
        return self.group.endswith(f".{NAMESPACED_DOMAIN}")

    @property
    def domain(self) -> str:
        return NAMESPACED_DOMAIN if self.is_namespaced else DOMAIN

    @cached_property
    def namespaced(self) -> Kind:
        """The same kind in the later generation: namespaced, of one version, shaped like the last of this one."""
        service = self.group.removesuffix(f".{DOMAIN}")
        changes = {"group": f"{service}.{NAMESPACED_DOMAIN}", "versions": ("v1beta1",), "stored": "", "ready_first": ()}
        twin = self.model_copy(update=changes | {"objects_since": "v1beta1" if self.objects_since else ""})
        for name in ("port", "namespaced", "is_hourly"):  # a copy has what was computed, too
            twin.__dict__.pop(name, None)
        return twin

    def demands(self, field: KindField, version: str) -> bool:
        """Whether an API version's schema demands the field; what it may be taken from would do, too."""
        if field.reference is not None:
            return False
        if not field.required_since:
            return field.required
        return self.is_namespaced or self.versions.index(version) >= self.versions.index(field.required_since)

    @property
    def shape(self) -> Shape:
        """What its `single` fields are: where API versions differ, either is taken."""
        if not self.objects_since:
            return "list"
        return "object" if self.objects_since == self.versions[0] else "either"


def siblings(name: str, field: SchemaField) -> tuple[str, str]:
    """The fields beside one that say what it is taken from: the reference's and the selector's.

    >>> siblings("subnetIds", SchemaField(type="[]string", reference="ec2/Subnet"))
    ('subnetIdRefs', 'subnetIdSelector')
    """
    assert field.reference is not None
    many = field.type.startswith(LIST)
    stem = name.removesuffix("s") if many else name
    return field.reference.ref or stem + ("Refs" if many else "Ref"), field.reference.selector or f"{stem}Selector"


def _every_field(fields: Mapping[str, SchemaField], parent: str = "") -> Iterator[tuple[str, SchemaField]]:
    """Every field, also of members, with its path: `replica[].kmsKeyArn`."""
    for name, field in fields.items():
        yield parent + name, field
        marks = LIST if field.type.startswith(LIST) else ""
        yield from _every_field(field.fields, f"{parent}{name}{marks}.")


def digest_field(secret: str) -> str:
    """The field of status.atProvider that holds a secret's digest."""
    return f"{secret}Digest"


def file_of(group: str, kind: str) -> str:
    """
    >>> file_of("ec2.aws.upbound.io", "NATGateway")
    'ec2_nat_gateway'
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind)
    service = group.removesuffix(f".{NAMESPACED_DOMAIN}").removesuffix(f".{DOMAIN}")
    return f"{service}_{words.lower()}"
