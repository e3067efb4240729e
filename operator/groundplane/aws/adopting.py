"""What AWS has, and a manifest for each thing of it that changes nothing: for `groundplane import`, and to see what was left behind.

It only reads.  A thing is looked at as its kind file says; what matters of it (what is required, what differs from what its
absence means) makes the manifest; and that manifest is looked at once more as the operator would: what it would change is
told, or left out.  Synchronous, and safe to use from many threads.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from botocore.exceptions import ClientError

from groundplane.aws import catalogue, compare, convert, faults, tags
from groundplane.aws.engine import Engine
from groundplane.aws.grammar import Kind, KindField, Listing
from groundplane.aws.observing import TAGS
from groundplane.aws.session import AccountClients
from groundplane.aws.templates import VARIABLE, parts_of
from groundplane.core.importing import How, name_like
from groundplane.core.objects import Json, Object, meta, spec_of
from groundplane.errors import InvalidInput
from groundplane.ports import Difference, ManagedKind, Observation

ROUNDS = 6  # looks at a manifest, each without the fields that the one before found to be other
NAME = "Name"  # the tag that people name things by where AWS assigns an id
# What of the thing its external name is, where that is no name that people use.
LONG = re.compile(r"(Arn|ARN|arn|Url)$")


@dataclass(frozen=True)
class Candidate:
    """What a list has of a thing: its external name, and the fields that a look at it needs."""

    external_name: str
    fields: Mapping[str, Json] = field(default_factory=dict)


@dataclass
class Sight:
    """A thing that was looked at."""

    external_name: str
    tags: dict[str, str] = field(default_factory=dict)  # without those of AWS itself
    at_provider: dict[str, Json] = field(default_factory=dict)
    for_provider: dict[str, Json] = field(default_factory=dict)
    is_own: bool = False  # AWS's, or on its way out
    left_out: list[Difference] = field(default_factory=list)  # fields that can't be written as AWS shows them
    problem: str = ""  # why the manifest is refused

    @property
    def owner(self) -> dict[str, str]:
        """The tags by which a control plane says that it is its own."""
        return {name: value for name, value in self.tags.items() if name in tags.OWNERSHIP}


class Account:
    """The things of an account in a region."""

    def __init__(self, clients: AccountClients, how: How) -> None:
        self._clients, self._how = clients, how
        self._listed: dict[str, list[Candidate]] = {}
        self._glances: dict[tuple[str, str], Sight | None] = {}  # by file and external name

    # --- lists ------------------------------------------------------------------------------------------

    def candidates(self, kind: Kind) -> list[Candidate]:
        """All things of the kind, as its list has them, each once.

        Raises:
            InvalidInput: it can't be listed, or not without a field that is to be given.
        """
        if kind.file not in self._listed:
            found = {(each.external_name, repr(each.fields)): each for each in self._list(kind)}
            self._listed[kind.file] = list(found.values())
        return self._listed[kind.file]

    def _list(self, kind: Kind) -> Iterator[Candidate]:
        rule = kind.list_
        if rule is None:
            raise InvalidInput(f"{kind.kind} can't be listed", mend="name its things: --name")
        engine = self._engine(kind, self.manifest(kind, "", {}))
        for name in _needed(rule):
            if name in kind.port.required and name not in engine.spec:
                raise InvalidInput(f"{kind.kind} is listed by its {name}", mend=f"give it: --with {name}=…")
        for parent in self._parents(kind, rule):
            engine.parent = parent
            for entry in self._entries(engine, rule):
                engine.entry = entry
                name = _inside(rule.format, convert.text(engine.template(rule.name)))
                fields = {key: engine.template(text) for key, text in rule.fields.items()}
                fields = {key: value for key, value in fields.items() if value not in (None, "", [])}
                if kind.external_name.mode == "composite":
                    name = str(engine.template(kind.external_name.format, spec={**engine.spec, **fields}) or "")
                if name:
                    yield Candidate(name, fields)

    def _parents(self, kind: Kind, rule: Listing) -> Sequence[str]:
        if not rule.of:
            return ("",)
        service, _, name = rule.of.partition("/")
        of = catalogue.lookup(f"{service}.{kind.domain}/v1beta1", name)
        assert of is not None, f"{kind.file}.yaml: list.of"
        return [each.external_name for each in self.candidates(of)]

    @staticmethod
    def _entries(engine: Engine, rule: Listing) -> Iterator[Json]:
        arguments = engine.arguments(rule.with_)
        try:
            pages = (
                engine.pages(rule.call, **arguments)
                if engine.is_paged(rule.call)
                else [engine.ask(rule.call, **arguments)]
            )
            for page in pages:
                yield from (entry for entry in rule.items.search(page) or () if entry is not None)
        except ClientError as error:
            if not rule.of or faults.code_of(error) not in engine.kind.observe.absent:
                raise  # else what they belong to has gone meanwhile

    # --- looks ------------------------------------------------------------------------------------------

    def look(self, kind: Kind, candidate: Candidate) -> Sight | None:
        """The thing with what makes a manifest of it; None if there is none.

        Raises what botocore does, and GroundplaneError.
        """
        sight = self.glance(kind, candidate)
        if sight is None or sight.is_own:
            return sight
        for _ in range(ROUNDS):
            problem, other = self._proof(kind, candidate.external_name, sight)
            sight.problem = problem.what if problem else ""
            dropped = _faulty(kind, problem, other) & {*sight.for_provider} - _kept(kind)
            if not dropped:
                if other and not sight.problem:
                    sight.problem = f"{', '.join(sorted(each.field for each in other))} would be changed"
                break
            sight.left_out += [each for each in other if each.field in dropped]
            for name in dropped:
                del sight.for_provider[name]
        return sight

    def glance(self, kind: Kind, candidate: Candidate) -> Sight | None:
        """The thing as it is now; None if there is none."""
        engine = self._engine(kind, self.manifest(kind, candidate.external_name, candidate.fields))
        observation = engine.observe()
        if not observation.exists or observation.item is None or observation.deleting:
            return None
        item = observation.item["item"]
        rule = kind.list_.own if kind.list_ else None
        own = bool(rule and rule.search(item)) or engine.hooks.is_own(engine, item)
        return Sight(
            observation.external_name or candidate.external_name,
            tags.ours(observation.item["tags"] or {}),
            dict(observation.at_provider),
            _telling(engine, item, {**self._how.given, **candidate.fields}),
            own,
        )

    def belonging(self, kind: Kind, candidate: Candidate) -> tuple[str, Sight] | None:
        """What a thing without tags belongs to, and how that looks: the bucket whose setting it is, the table of a route."""
        if kind.tags is not None or kind.list_ is None:
            return None
        for name in kind.list_.fields:
            to = next((each for each in kind.port.references if each.field == name), None)
            value = candidate.fields.get(name)
            if to is None or not isinstance(value, str):
                continue
            of = next(each for each in catalogue.every() if (each.group, each.kind) == (to.group, to.kind))
            place = (of.file, value)
            if place not in self._glances:
                self._glances[place] = self.glance(of, Candidate(value))
            sight = self._glances[place]
            return (f"{of.kind} {value}", sight) if sight else None
        return None

    def _proof(self, kind: Kind, name: str, sight: Sight) -> tuple[InvalidInput | None, list[Difference]]:
        """What is wrong with the manifest, and what the operator would change for it beside its tags of ownership."""
        manifest = self.manifest(kind, name, sight.for_provider, sight.tags)
        manifest["spec"].pop("managementPolicies", None)
        engine = self._engine(kind, manifest)
        try:
            engine.check()
        except InvalidInput as error:
            return error, []
        return None, [each for each in _changes(engine.observe()) if each.field != TAGS or not _is_ours(each)]

    # --- manifests --------------------------------------------------------------------------------------

    def manifest(
        self, kind: Kind, name: str, fields: Mapping[str, Json], given: Mapping[str, str] | None = None
    ) -> Object:
        """An object of the kind that stands for the thing of that external name."""
        how = self._how
        known = {key: value for key, value in how.given.items() if key in kind.fields}
        region = {} if kind.is_global else {"region": how.region}
        tagged = {key: value for key, value in (given or {}).items() if key not in tags.OWNERSHIP}
        asked = {**region, **known, **copy.deepcopy(dict(fields)), **({TAGS: tagged} if tagged else {})}
        api_version = f"{kind.group}/{kind.versions[0]}"
        return how.manifest(api_version, kind.kind, object_name(name, given or {}), name, asked)

    def _engine(self, kind: Kind, manifest: Object) -> Engine:
        return Engine(kind, catalogue.hooks(kind.file), manifest, self._clients, now=datetime.now(UTC))


def matching(candidates: Iterable[Candidate], patterns: Sequence[str]) -> list[Candidate]:
    """Those whose external names, or what people call them by, fit one of the patterns, or all without any.

    >>> [each.external_name for each in matching([Candidate("orders-db"), Candidate("shop")], ["orders-*"])]
    ['orders-db']
    """
    return [each for each in candidates if not patterns or any(is_called(each.external_name, one) for one in patterns)]


def is_called(external_name: str, pattern: str) -> bool:
    """
    >>> is_called("https://sqs.eu-west-1.amazonaws.com/123456789012/orders", "ord*"), is_called("arn:aws:sns:eu-west-1:1:orders", "orders")
    (True, True)
    """
    return any(fnmatchcase(name, pattern) for name in (external_name, last_of(external_name)))


def last_of(external_name: str) -> str:
    """What people call a thing by whose external name is an ARN or a URL; else that name."""
    if external_name.startswith("arn:"):
        external_name, is_long = external_name.rpartition(":")[2], True
    else:
        is_long = "://" in external_name
    return external_name.rpartition("/")[2] if is_long else external_name


def direct(kind: Kind, names: Sequence[str]) -> list[Candidate] | None:
    """The things of these names, if to look at them takes no list: what no list shows unasked is found so, too."""
    if not names or any(set(name) & set("*?[") for name in names):
        return None
    rule, of = kind.list_, kind.external_name
    is_long = LONG.search(of.format or (of.from_.text if of.from_ else ""))
    if is_long and rule and any(":" not in name for name in names):
        return None  # they are called by the end of it
    if of.mode == "composite":
        return [Candidate(name) for name in names] if all(parts_of(of.format, name) for name in names) else None
    return [Candidate(name) for name in names] if rule is None or not rule.fields else None


def object_name(external_name: str, given: Mapping[str, str]) -> str:
    """A name for the object: as people name the thing, else by the end of its external name.

    >>> object_name("vpc-0a1b", {"Name": "Main VPC"}), object_name("arn:aws:iam::123456789012:oidc-provider/oidc.example.org", {})
    ('main-vpc', 'oidc.example.org')
    """
    return name_like(given.get(NAME) or last_of(external_name))


def refer(found: Sequence[tuple[ManagedKind, Object, Sight]]) -> None:
    """Name what is imported beside instead of its id: `vpcId` becomes `vpcIdRef`, in place."""
    names: dict[tuple[str, str, str], dict[str, str]] = {}  # (group, kind, extract) → value → the object's name
    for kind, manifest, sight in found:
        known = {"external-name": sight.external_name}
        known |= {
            f"status.atProvider.{key}": value for key, value in sight.at_provider.items() if isinstance(value, str)
        }
        for extract, value in known.items():
            names.setdefault((kind.group, kind.kind, extract), {})[value] = meta(manifest)["name"]
    for kind, manifest, _ in found:
        fields = spec_of(manifest)["forProvider"]
        for each in kind.references:
            values = names.get((each.group, each.kind, each.extract), {})
            value = fields.get(each.field)
            if each.many and isinstance(value, list) and value and all(entry in values for entry in value):
                fields[each.ref] = [{"name": values[entry]} for entry in value]
            elif isinstance(value, str) and value in values and values[value] != meta(manifest)["name"]:
                fields[each.ref] = {"name": values[value]}
            else:
                continue
            del fields[each.field]


# --- what of a thing makes its manifest ----------------------------------------------------------------


def _telling(engine: Engine, item: Mapping[str, Any], known: Mapping[str, Json]) -> dict[str, Json]:
    """The fields of forProvider that say of a thing what matters."""
    kind, found = engine.kind, dict[str, Json]()
    for name, rule in sorted(kind.fields.items(), key=lambda each: not each[1].required):
        if rule.secret or rule.unsupported or rule.idle or name in (TAGS, "region"):
            continue
        value = known.get(name) if rule.observe is None else engine.observed(name, dict(item))
        value = _pruned(known.get(name) if value is None else value)
        if not (name in known or _matters(engine, rule, value, item)) or value is None:
            continue
        if name == kind.external_name.field and not rule.required:
            continue  # the annotation says it
        others = {
            *rule.conflicts,
            *(other for group in kind.exclusive if name in group for other in group if other != name),
        }
        if not others & found.keys():
            found[name] = value
    engine.hooks.telling(engine, dict(item), found)
    return engine.shaped(found)


def _matters(engine: Engine, rule: KindField, value: Json, item: Mapping[str, Any]) -> bool:
    if value is None or value in ([], {}):
        return False
    if rule.required:
        return True
    if rule.shared or not (rule.create or rule.update or rule.immutable or rule.late):
        return False  # a kind of its own has it, or nothing is done about it
    if rule.default is not None:
        return not compare.covers(value, rule.default, rule)
    unset = engine.arguments(rule.unset, dict(item)) if rule.unset is not None else None
    if unset is not None and compare.covers(value, unset, rule):
        return False
    return not _is_blank(value)


def _is_blank(value: Json) -> bool:
    """
    >>> _is_blank([{"enabled": False}]), _is_blank([{"days": 7}])
    (True, False)
    """
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else None
    return compare.is_empty(value) if inner is None else all(map(_is_blank, inner))


def _pruned(value: Json) -> Json:
    """Without what says nothing, at any depth.

    >>> _pruned({"a": None, "b": [{"c": [], "d": False}]})
    {'b': [{'d': False}]}
    """
    if isinstance(value, Mapping):
        return {key: kept for key, entry in value.items() if (kept := _pruned(entry)) not in (None, [], {})}
    return [_pruned(entry) for entry in value] if isinstance(value, list) else value


def _changes(observation: Observation) -> list[Difference]:
    return [*observation.drift, *observation.immutable]


def _is_ours(difference: Difference) -> bool:
    """Whether the tags differ in those of ownership alone."""
    wanted, found = (
        {key: value for key, value in (side or {}).items() if key not in tags.OWNERSHIP}
        for side in (difference.desired, difference.observed)
    )
    return bool(wanted == found)


def _faulty(kind: Kind, problem: InvalidInput | None, other: Iterable[Difference]) -> set[str]:
    """The fields at fault."""
    found = {each.field for each in other}
    for place in problem.where if problem else ():
        found.add(re.split(r"[.\[]", place.removeprefix("spec.forProvider."))[0])
    return found & kind.fields.keys()


def _kept(kind: Kind) -> set[str]:
    return {name for name, rule in kind.fields.items() if rule.required} | {"region"}


def _needed(rule: Listing) -> set[str]:
    """The spec's fields without which the list can't be asked for."""
    names = [match.group(1) or match.group(2) for match in VARIABLE.finditer(str(rule.with_))]
    return {name.removeprefix("spec.") for name in names if name.startswith("spec.")}


def _inside(format_: str, text: str) -> str:
    """
    >>> _inside("alias/${name}", "alias/orders"), _inside("", "orders")
    ('orders', 'orders')
    """
    return (parts_of(format_, text) or {}).get("name", "") if format_ else text
