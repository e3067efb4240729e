"""The grammar of `kinds/*.yaml`: what a kind file may say, read strictly and lazily.

A kind file holds everything that is particular to one AWS kind: its calls, identity, states, error
codes, and its fields with their types and where they go.  `engine.py` is the one engine that reads it.
Field names, types and flags are upstream's (provider-upjet-aws 75a4c57; v1beta1 shapes).

Two little languages are used inside:

* a *path* is JMESPath over the thing as AWS describes it: `Endpoint.Address`;
* a *template* is any text with a `$`: `$external_name`, `$spec.role`, `arn:${partition}:s3:::${external_name}`.
  Known names: external_name, uid, name, region, partition, account, `spec.<path>`, `secret.<name>`, `item.<path>`.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from importlib import resources
from typing import Annotated, Any, Literal

import jmespath
import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainValidator, ValidationError, model_validator

from groundplane import ports
from groundplane.aws import convert
from groundplane.aws.hooks import Hooks
from groundplane.core.objects import Json, group_of
from groundplane.errors import InvalidInput

DOMAIN = "aws.upbound.io"
LIST = "[]"


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
Compare = Literal["exact", "ci", "list", "set", "version", "policy", "json", "window", "cidr", "kms"]
Type = Literal[
    "string", "number", "boolean", "object", "[]string", "[]number", "[]object", "map[string]", "[]map[string]"
]


class Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, arbitrary_types_allowed=True)


class Call(Strict):
    """A call of the service's client, `create_vpc`, with arguments that may be templates."""

    call: str = ""
    with_: dict[str, Json] = Field(default_factory=dict, alias="with")


class Create(Call):
    token: str = ""  # the parameter that takes an idempotency token; we send metadata.uid
    connection: dict[str, PathText] = Field(default_factory=dict)  # only the create's answer has these


class Observe(Call):
    item: PathText  # to the thing, or to a list to choose from by `where`
    where: dict[str, Json] = Field(default_factory=dict)  # member: template; the first that fits
    absent: Names = ()  # the error codes that say "not there"; nothing else does
    paginate: bool = False


class Also(Call):
    """A further read; its result joins the item under the entry's name."""

    item: PathText
    absent: Names = ()  # codes that mean "nothing"
    when: Names = ()  # only if one of these spec fields is set
    once: str = ""  # the atProvider field whose known value makes another read needless


class Find(Call):
    """How to look for what an interrupted create made."""

    items: PathText  # to the list of external names
    absent: Names = ()


class Update(Call):
    """How changed fields of a group become calls.  Without `call` the kind's hooks send them."""

    mode: Literal["patch", "full", "each", "attribute", "recreate"] = "patch"
    name: str = "AttributeName"  # mode attribute: the parameters of its name and its value
    value: str = "AttributeValue"
    unset: Call | None = None  # instead, when an empty value is desired
    new_external_name: PathText | None = Field(default=None, alias="newExternalName")


class Delete(Call):
    absent: Names = ()
    busy: Names = ()  # codes that mean "later": dependants, a state that must pass
    skip: str = ""  # the spec field (skipDestroy) that leaves the thing alone


class Ready(Strict):
    """States.  One that is in no list is a transition: condition Ready stays as it was."""

    path: PathText
    in_: Names = Field(alias="in")
    creating: Names = ()
    deleting: Names = ()
    gone: Names = ()
    failed: Names = ()
    updatable: Names = ()  # beyond those of `in`
    fixed: Names = ()  # of `in`, but no updates
    slow: bool = False  # an update starts a transition: one group of changes at a time
    message: PathText | None = None  # why it failed


class ExternalName(Strict):
    mode: Literal["name", "assigned", "composite"]
    parameter: str = ""  # of the create call
    from_: PathText | None = Field(default=None, alias="from")  # in the create call's answer
    field: str = ""  # a forProvider field that overrides metadata.name
    format: str = ""  # mode composite: a template
    canonical: PathText | None = None  # in the item: how AWS spells it
    pattern: str = ""  # a regular expression for the whole name
    rule: str = ""  # that pattern in words
    reserved: Names = ()


class Match(Strict):
    code: str
    text: str = ""  # a part of AWS's message
    operation: str = ""  # only of this operation: "PutRolePolicy"


class Mend(Match):
    field: str = ""
    mend: str


class Errors(Strict):
    exists: Names = ()  # the create met a thing of that name
    wait: tuple[Match, ...] = ()  # early, not wrong
    mends: tuple[Mend, ...] = ()  # what to do about an error that needs an edit


class Tags(Strict):
    """See `tags.py` for the styles."""

    style: str
    of: str = ""  # a template for what the tag calls address; the external name if there is none
    inline: PathText | None = None  # where the observed item has its tags
    resource: str = ""  # ec2: the resource type; iam: the entity
    parameter: str = ""  # the tag calls' parameter for the thing, where it isn't the style's
    at_create: bool = Field(default=True, alias="atCreate")


class ReferenceTo(Strict):
    to: str
    extract: str = "external-name"
    ref: str = ""
    selector: str = ""


def _reference(value: object) -> object:
    return {"to": value} if isinstance(value, str) else value


class SchemaField(Strict):
    """A nested field, for the CRD."""

    type: Type
    fields: dict[str, SchemaField] = Field(default_factory=dict)
    required: bool = False


class KindField(SchemaField):
    """A field of forProvider: its type, its flags, and where its value goes and comes from."""

    create: str = ""  # dotted parameter of the create call
    observe: PathText | None = None
    update: str = ""  # "group", or "group.Parameter"
    delete: str = ""  # parameter of the delete call
    with_: Names = Field(default=(), alias="with")  # sent in an update only beside these fields; "*": any
    compare: Compare | None = None
    immutable: bool = False
    late: bool = False  # taken from AWS when unset
    default: Json = None  # what unset means, enforced
    initial: Json = None  # what a create sends when unset; not enforced later
    single: bool = False  # a list of at most one element; an object in later API versions
    conflicts: Names = ()
    reference: Annotated[ReferenceTo | None, BeforeValidator(_reference)] = None
    secret: str = ""  # its name among the secrets; the field refers to a Secret's key
    generate: str = ""  # the boolean field that asks for a generated secret

    @property
    def group(self) -> str:
        return self.update.partition(".")[0]

    @property
    def parameter(self) -> str:
        return self.update.partition(".")[2] or self.create

    @property
    def comparison(self) -> str:
        return self.compare or ("set" if self.type.startswith(LIST) and not self.single else "exact")


def _output(value: object) -> object:
    return {"type": "string", "from": value} if isinstance(value, str) else value


class Output(SchemaField):
    """A field of status.atProvider beyond the echoed inputs; `from` is a path or a template."""

    from_: str = Field(default="", alias="from")

    @cached_property
    def path(self) -> Path | None:
        """None: it is a template, or the hooks provide it."""
        return None if not self.from_ or "$" in self.from_ else Path(self.from_)


class Kind(Strict):
    """One kind file."""

    kind: str
    group: str
    plural: str
    versions: Names = ("v1beta1",)  # the first is stored and preferred
    service: str  # the client's name
    is_global: bool = Field(default=False, alias="global")
    external_name: ExternalName = Field(alias="externalName")
    create: Create
    observe: Observe
    also: dict[str, Also] = Field(default_factory=dict)
    find: Find | None = None
    update: dict[str, Update] = Field(default_factory=dict)
    delete: Delete
    ready: Ready | None = None
    tags: Tags | None = None
    errors: Errors = Errors()
    fields: dict[str, KindField]
    at_provider: dict[str, Annotated[Output, BeforeValidator(_output)]] = Field(alias="atProvider")
    connection: dict[str, str] = Field(default_factory=dict)  # key: path or template
    example: dict[str, Json]
    doc: str = ""  # a line for people; else the create operation's documentation

    @model_validator(mode="after")
    def _fits_together(self) -> Kind:
        for name, field in self.fields.items():
            if field.group and field.group not in self.update:
                raise ValueError(f"fields.{name}.update: no update group {field.group}")
            if field.update and self.update[field.group].call and not field.parameter:
                raise ValueError(f"fields.{name}.update: names no parameter")
            for other in (*field.conflicts, *(x for x in field.with_ if x != "*")):
                if other not in self.fields:
                    raise ValueError(f"fields.{name}: no field {other}")
        for also in self.also.values():
            if also.once and also.once not in self.at_provider:
                raise ValueError(f"also.once: no atProvider field {also.once}")
        return self

    @property
    def file(self) -> str:
        """The name of its file, and of the module beside it, without the ending."""
        return file_of(self.group, self.kind)

    @cached_property
    def hooks(self) -> Hooks:
        name = f"{__package__}.kinds.{self.file}"
        if importlib.util.find_spec(name) is None:
            return Hooks()
        hooks: Hooks = importlib.import_module(name).Hooks()
        return hooks

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
        )

    def _references(self) -> Iterator[ports.Reference]:
        for name, field in self.fields.items():
            if field.reference is None:
                continue
            service, _, kind = field.reference.to.partition("/")
            many = field.type.startswith(LIST)
            stem = name.removesuffix("s") if many else name
            yield ports.Reference(
                field=name,
                ref=field.reference.ref or stem + ("Refs" if many else "Ref"),
                selector=field.reference.selector or f"{stem}Selector",
                group=f"{service}.{DOMAIN}",
                kind=kind,
                extract=field.reference.extract,
                many=many,
            )

    def canonical(self, name: str, value: Json) -> Json:
        """A spec value in v1beta1 style: an object where a list of one is meant becomes that list."""
        field = self.fields[name]
        if isinstance(value, dict) and field.type == "[]object":
            return [value]
        return convert.whole(value)


def file_of(group: str, kind: str) -> str:
    """
    >>> file_of("ec2.aws.upbound.io", "NATGateway")
    'ec2_nat_gateway'
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind)
    return f"{group.removesuffix(f'.{DOMAIN}')}_{words.lower()}"


def _read(file: str) -> Kind | None:
    source = resources.files(f"{__package__}.kinds") / f"{file}.yaml"
    if not source.is_file():
        return None
    document: Mapping[str, Any] = yaml.load(source.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    try:
        return Kind.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(f"{first['msg']}", where=(f"aws/kinds/{file}.yaml", place)) from error


@cache
def load(file: str) -> Kind | None:
    """The kind file of that name, read once; None if there is none.  Raises InvalidInput if it is faulty."""
    return _read(file) if file.replace("_", "").isalnum() else None


def lookup(api_version: str, kind: str) -> Kind | None:
    """The kind that is served under that API version and kind, if any."""
    group, _, version = api_version.partition("/")
    if group_of(api_version) != group or not group.endswith(f".{DOMAIN}"):
        return None
    found = load(file_of(group, kind))
    return found if found and found.kind == kind and version in found.versions else None


@cache
def every() -> tuple[Kind, ...]:
    """All kinds, sorted by file name."""
    names = sorted(
        entry.name.removesuffix(".yaml")
        for entry in resources.files(f"{__package__}.kinds").iterdir()
        if entry.name.endswith(".yaml")
    )
    return tuple(kind for name in names if (kind := load(name)) is not None)
