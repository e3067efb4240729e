"""One managed resource at hand: its values, its name, and calls to AWS on its behalf; and the hooks that see it.

`observing.py` looks at it, `engine.py` has what is done with it.  Synchronous: it runs in a worker thread.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cache, cached_property
from itertools import zip_longest
from typing import Any, NamedTuple

from botocore.exceptions import ClientError, EndpointConnectionError

from groundplane.aws import convert, faults, tags, templates
from groundplane.aws.grammar import KEYS, READING, Also, Kind, KindField, Path, Read, SchemaField, Shared, digest_field
from groundplane.aws.memory import Memory
from groundplane.aws.session import AccountClients
from groundplane.core import conditions, requests
from groundplane.core.managed import CREATE_SUCCEEDED, CREATE_UID, EXTERNAL_NAME, REGION
from groundplane.core.objects import Json, Object, annotations_of, meta, spec_of, status_of
from groundplane.errors import GroundplaneError, InvalidInput, at
from groundplane.ports import Default, Difference

Item = dict[str, Any]  # a thing as AWS describes it
Parameters = dict[str, Any]  # of a call

HOURLY = 6  # polls, an hour at most: how often it is read what takes a call of its own
SELDOM = 36  # polls, six hours at most: and what only informs
POLL = 600.0  # seconds from poll to poll, if nothing else is said
YOUNG = 300  # seconds: how long after its creation what a managed resource refers to may be invisible

COMMON = {"region": SchemaField(type="string"), "tags": SchemaField(type="map[string]")}  # fields of many kinds
REST = "rest"  # the shared read of what the first one lacks
TAG_LIST = "Tags"  # the shared read of them, and where its answer has them


@cache
def _tagged() -> Shared:
    """How tags are read that their services tell one by one.  What never had any is not in the answer."""
    rule = {
        "call": tags.TOGETHER,
        "with": {"ResourceARNList": KEYS},
        "in": "ResourceTagMappingList",
        "key": "ResourceARN",
        "answer": f"{{{TAG_LIST}: [0].Tags}}",
        "most": 100,
    }
    return Shared.model_validate(rule)


class Alone(Exception):
    """A look with what others have read does not suffice: the thing is to be looked at by itself."""


class Want(NamedTuple):
    """What a shared read has to answer for one thing."""

    read: str  # which of the kind's reads
    service: str
    shared: Shared
    call: str
    key: str
    is_extra: bool = False  # a look can do without it


class Resource:
    """A managed resource at hand, for the time of one operation.

    The rule of its fields: forProvider counts always, initProvider where that is silent; but what initProvider alone
    says of the thing's state is not held any more once the thing has been Ready.  So `spec` is the one block over the
    other, and `desired` what AWS is held to now; flags of a call (skipFinalSnapshot) are no state.
    """

    def __init__(
        self,
        kind: Kind,
        hooks: Hooks,
        managed: Object,
        clients: AccountClients | None = None,
        secrets: Mapping[str, str] | None = None,
        memory: Memory | None = None,
        *,
        now: datetime,
        strict_upstream: bool = False,
        namespace: str = "crossplane-system",
        poll: float = POLL,
    ) -> None:
        """`poll`: seconds from one look at what has settled to the next, where the object says nothing else."""
        self.kind = kind
        self.hooks = hooks
        self.managed = managed
        self.secrets: Mapping[str, str] = secrets or {}
        self.strict_upstream = strict_upstream
        self.namespace = str(meta(managed).get("namespace") or namespace)  # its own, or the operator's
        self.memory = Memory() if memory is None else memory
        self._clients = clients
        self._now = now
        self._poll = min(requests.interval(managed) or poll, POLL)
        self.given: Mapping[str, Item] | None = (
            None  # what others have read, by the name of the read; then no call is made
        )
        self.has_sent = False  # a call that changes AWS
        self.is_quick = False  # what is read hourly is taken from the status
        self.kept: set[str] = set()  # the fields for which that holds, and "tags"
        self.entry: Json = None  # of a list that is brought in line, while it is sent; or of one that is read
        self.parent = ""  # the external name of what the things of a list belong to, while it is read
        self.faulty: list[InvalidInput] = []
        self._held, initial = self._block("forProvider"), self._block("initProvider")
        self.spec: dict[str, Json] = _merged(initial, self._held)
        self.once = frozenset(name for name in initial if name not in self._held and _is_state(kind, name))
        self.wanted_region: str = "" if kind.is_global else str(self.spec.get("region") or "")
        self.region = self._home() or self.wanted_region  # where the thing is
        if annotations_of(managed).get(EXTERNAL_NAME) == self.memory.external_name:
            self.memory.external_name = ""
        self.external_name: str = self.memory.external_name or self._given_name()
        if self.kind.external_name.mode == "composite":  # what is imported by its name needs no fields beside it
            self.spec = self._parts() | self.spec

    def _block(self, block: str) -> dict[str, Json]:
        """Its fields in their types.  What has another type counts as left out, and `check` names it."""
        given, found = spec_of(self.managed).get(block), {}
        for name, value in given.items() if isinstance(given, Mapping) else ():
            rule = self.kind.fields.get(name) or COMMON.get(name)
            try:
                if value is not None:
                    with at(f"spec.{block}.{name}"):
                        found[name] = convert.fitted(value, rule) if rule else value
                    if isinstance(rule, KindField):
                        self.faulty += _unsupported(f"spec.{block}.{name}", found[name], rule)
            except InvalidInput as error:
                self.faulty.append(error)
        return found

    # --- identity ---------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return str(meta(self.managed).get("name") or "")

    @property
    def uid(self) -> str:
        return str(meta(self.managed).get("uid") or "")

    def _home(self) -> str:
        """The region in which the thing was made or last seen, "" if that is not known or the spec may change it.

        What is only looked at may be looked at elsewhere.
        """
        policies = set(spec_of(self.managed).get("managementPolicies") or ["*"])
        if self.kind.is_global or not policies & {"*", "Create", "Update", "Delete"}:
            return ""
        known = status_of(self.managed).get("atProvider") or {}
        name = annotations_of(self.managed).get(EXTERNAL_NAME)
        if self.kind.external_name.mode == "assigned" and known.get("id") not in (None, name):
            return ""  # somebody points it at another thing
        arn = [*str(known.get("arn") or "").split(":"), *[""] * 4]
        return str(annotations_of(self.managed).get(REGION) or known.get("region") or arn[3])

    def moved(self) -> list[Difference]:
        """What of the thing's identity the spec has otherwise than the thing that was made: its region, parts of its name."""
        found = []
        if self.region != self.wanted_region:
            found.append(Difference("region", self.wanted_region, self.region))
        if self.kind.external_name.mode == "composite":
            parts = templates.parts_of(self.kind.external_name.format, self.external_name) or {}
            for name, observed in parts.items():
                desired = self.template(f"${{{name}}}", spec=self.spec)
                if desired is not None and convert.text(desired) != observed:
                    found.append(Difference(name.removeprefix("spec."), desired, observed))
        return found

    def _given_name(self) -> str:
        given = annotations_of(self.managed).get(EXTERNAL_NAME) or ""
        if self.kind.external_name.mode == "composite":
            if given and templates.parts_of(self.kind.external_name.format, given) is not None:
                return given
            policies = set(spec_of(self.managed).get("managementPolicies") or ["*"])
            if self.kind.external_name.preset and policies & {"*", "Create"}:
                return ""  # what is there is not ours yet
            return str(self.template(self.kind.external_name.format, spec=self.spec) or given)
        return given or (self.default_name() if self.kind.external_name.mode == "name" else "")

    def _parts(self) -> dict[str, str]:
        """The fields of the spec that a composite name is made of, as the name has them."""
        rule = self.kind.external_name
        found = (templates.parts_of(rule.format, self.external_name) if rule.mode == "composite" else None) or {}
        return {name.removeprefix("spec."): value for name, value in found.items() if name.startswith("spec.")}

    def name_in_advance(self) -> str:
        """The name to save before anything else, "" if only a create gives it."""
        return "" if self.kind.external_name.preset else self.default_name()

    def default_name(self) -> str:
        """The name that we choose, "" where AWS assigns it."""
        rule = self.kind.external_name
        if rule.mode == "composite":
            return str(self.template(rule.format, spec=self.spec) or "")
        if rule.mode == "assigned":
            return ""
        return str((self.spec.get(rule.field) if rule.field else "") or self.name)

    @property
    def is_new(self) -> bool:
        """Made by us, and not ready yet: what its creation asks for and the create call doesn't take is still to do."""
        ready = conditions.find(self.managed, "Ready") or {}
        return CREATE_SUCCEEDED in annotations_of(self.managed) and ready.get("reason") in (None, "Creating")

    @property
    def is_inherited(self) -> bool:
        """Made by a predecessor: by Crossplane, or by the object that this one was restored from."""
        notes = annotations_of(self.managed)
        return CREATE_SUCCEEDED in notes and notes.get(CREATE_UID) != self.uid

    @cached_property
    def addressed(self) -> dict[str, Json]:
        """The spec, but what can't be changed as the thing has it that is there: by that it is found, changed and deleted.

        By what the spec says meanwhile another one would be looked for, and this one left behind.
        """
        found = dict(self.spec)
        for name, value in self._fixed().items():
            if value is None:
                found.pop(name, None)
            else:
                with suppress(InvalidInput):  # the name was made otherwise, and only looks like ours
                    found[name] = convert.fitted(value, self.kind.fields[name])
        return found

    def _fixed(self) -> dict[str, Json]:
        """The immutable fields of a thing that was made or seen, as its composite name and the status tell them; None: it has none."""
        rule, known = self.kind.external_name, status_of(self.managed).get("atProvider") or {}
        if rule.mode == "assigned" and known.get("id") != self.external_name:
            known = {}  # of another thing
        fields = {name for name, field_ in self.kind.fields.items() if field_.immutable}
        found = {
            name: known.get(name) for name in fields if name in known or (known and self.kind.fields[name].observe)
        }
        return found | {name: value for name, value in self._parts().items() if name in self.kind.fields}

    # --- calls ------------------------------------------------------------------------------------------

    def ask(self, name: str, /, *, region: str = "", **parameters: Any) -> Item:
        """A call that only reads: of the kind's service, or `service:name`, in another `region` if one is named.  botocore's errors get out."""
        return self._call(_reading(name), parameters, region=region)

    def pages(self, name: str, /, **parameters: Any) -> Iterator[Item]:
        """The answers to a reading call whose answer comes in pages."""
        self._may_call()
        service, _, method = _reading(name).rpartition(":")
        yield from self._client(service).get_paginator(method).paginate(**parameters)

    def is_paged(self, name: str) -> bool:
        """Whether the answer to a call comes in pages."""
        service, _, method = name.rpartition(":")
        return bool(self._client(service).can_paginate(method))

    def write(self, name: str, /, *, once: bool = False, region: str = "", **parameters: Any) -> Item:
        """A call that changes AWS; every one goes through here.  `once`: it is sent a single time, whatever comes."""
        before, self.has_sent = self.has_sent, True
        try:
            return self._call(name, parameters, once=once, region=region)
        except EndpointConnectionError:  # of several attempts an earlier one may have gone out
            self.has_sent = before or not once
            raise

    def _call(self, name: str, parameters: Parameters, *, once: bool = False, region: str = "") -> Item:
        self._may_call()
        service, _, method = name.rpartition(":")
        answer: Item = getattr(self._client(service, once=once, region=region), method)(**parameters)
        return answer

    @property
    def account(self) -> str:
        """Which ProviderConfig, and which state of it and of its credentials, is used."""
        return self._clients.version if self._clients else ""

    def has_own_endpoint(self, service: str) -> bool:
        """Whether its ProviderConfig has the service called somewhere else than AWS is."""
        return self._clients is not None and self._clients.config.has_own_endpoint(service)

    def _may_call(self) -> None:
        if self.given is not None:
            raise Alone

    def _client(self, service: str = "", *, once: bool = False, region: str = "") -> Any:
        if self._clients is None:
            raise InvalidInput("no account to call AWS with")
        if not self.kind.is_global and not self.region:
            raise InvalidInput("is missing", mend="name a region of AWS: eu-west-1", where=("spec.forProvider.region",))
        return self._clients.client(service or self.kind.service, region or self.region, once=once)

    def shape(self, call: str) -> Any:
        """The input shape of a call, in botocore's model."""
        client = self._client()
        return client.meta.service_model.operation_model(client.meta.method_to_api_mapping[call]).input_shape

    # --- templates --------------------------------------------------------------------------------------

    def arguments(self, value: Json, item: Item | None = None) -> Any:
        """Arguments with their templates filled in; a member whose template has no value is left out."""
        return templates.arguments(value, lambda name: self._value_of(name, item))

    def template(self, text: str, item: Item | None = None, *, spec: Item | None = None) -> Json:
        """The text with its variables; the value itself if the text is one variable; None if one has none."""
        return templates.filled(text, lambda name: self._value_of(name, item, spec))

    def _value_of(self, name: str, item: Item | None, spec: Item | None = None) -> Json:
        scope, _, rest = name.partition(".")
        if scope == "spec":
            return convert.whole(Path(rest).search(self.addressed if spec is None else spec))
        if scope == "item":
            return Path(rest).search(item or {})
        if scope == "part":
            parts = self.external_name.split(self.kind.external_name.separator)
            return parts[int(rest)] if int(rest) < len(parts) else None
        if scope == "entry":
            return Path(rest).search(self.entry) if rest else self.entry
        if scope == "parent":
            return self.parent or None
        if scope == "secret":
            return self.secrets.get(rest)
        if scope == "region":
            return self.region
        if scope == "partition":
            return self._clients.config.partition(self.region) if self._clients else "aws"
        if scope == "suffix":
            return self._clients.config.dns_suffix(self.region) if self._clients else "amazonaws.com"
        if scope == "account":
            if self.given is not None and self._clients and not self._clients.is_identified:
                raise Alone
            return self._clients.account_id(self.region) if self._clients else None
        simple = {"external_name": getattr(self, "external_name", ""), "uid": self.uid, "name": self.name}
        return simple[scope] or None

    # --- values -----------------------------------------------------------------------------------------

    def written(self) -> dict[str, Json]:
        """The spec's fields as the object has them, in whichever API version it was written."""
        spec = spec_of(self.managed)
        return {**(spec.get("initProvider") or {}), **(spec.get("forProvider") or {})}

    def desired(self, name: str, item: Item | None = None) -> Json:
        """The value to hold AWS to now; None: the field is not managed."""
        if name in self.once and not self.is_new:
            return None
        rule = self.kind.fields[name]
        value = (self.spec if self.is_new or not _is_state(self.kind, name) else self._held).get(name)
        if value is None and rule.unset is not None and self.is_exact:
            return self.arguments(rule.unset, item)
        return rule.default if value is None else value

    @property
    def is_exact(self) -> bool:
        """Whether what the spec leaves out is reset: nothing is late-initialised, so nothing else is meant by it."""
        policies = set(spec_of(self.managed).get("managementPolicies") or ["*"])
        return not policies & {"*", "LateInitialize"}

    def tag_list(self) -> list[dict[str, str]]:
        """The tags as most create calls take them."""
        return [{"Key": key, "Value": value} for key, value in sorted(self.wanted_tags().items())]

    def wanted_tags(self, found: Mapping[str, str] | None = None) -> dict[str, str]:
        """The tags to hold AWS to.  Those of initProvider are for a create (nothing `found`); later they stay as found."""
        wanted = tags.desired(self.managed)
        initial = tags.given(spec_of(self.managed).get("initProvider"))
        if found is not None and not self.is_new:
            initial = {key: value for key, value in found.items() if key in initial}
        return initial | wanted

    def read(self, *, informed: bool = False) -> Item | None:
        """The thing as AWS describes it, None if AWS says that it is not there; `informed`: with what is read seldom."""
        rule = self.kind.observe
        if not self.external_name:
            return None
        if self.is_quick and self.kind.is_hourly and not self._is_known():
            raise Alone
        self.external_name = self.hooks.resolved(self)
        try:
            found = self.hooks.search(self, rule)
        except ClientError as error:
            if faults.code_of(error) in rule.absent:
                return self.hooks.missing(self)
            raise
        if not found:
            return None
        item = dict(found) if isinstance(found, Mapping) else {"value": found}
        if self.given is not None and rule.shared is not None:
            if REST in self.given:
                item |= self.given[REST]
            else:
                self.kept.update(rule.shared.lacks)
        item.pop("ResponseMetadata", None)
        known = status_of(self.managed).get("atProvider") or {}
        if known.get("id") != self.external_name:
            known = {}  # of another thing
        seldom = {name for name, also in self.kind.also.items() if also.seldom}
        is_due = informed and bool(seldom) and self._is_to_be_informed(known)
        if is_due and self.given is not None:
            raise Alone
        kept = {} if is_due else {name: known.get(name) for name in seldom}
        for name, also in self.kind.also.items():
            if also.once and known.get(also.once):
                item[name] = known[also.once]
            elif also.hourly and self.is_quick:
                item[name] = None
                self.kept.update(also.hourly)
            elif name not in kept and self._is_asked(also):
                item[name] = self._read_also(also)
        if is_due:
            self.memory.informed = self._now.timestamp()
        return self.hooks.observed(self, item) | kept

    def _is_to_be_informed(self, known: Mapping[str, Json]) -> bool:
        """Whether what is read seldom is to be read now.  After a start, those that are known already take turns."""
        now, memory, every = self._now.timestamp(), self.memory, SELDOM * self._poll
        if not memory.informed and any(also.seldom and name in known for name, also in self.kind.also.items()):
            memory.informed = now - self._turn(every)
        return bool(requests.asked(self.managed)) or not 0 <= now - memory.informed < every

    def _turn(self, every: float) -> float:
        """Seconds within `every`, the same for one object always: where all would do a thing at once, each does it then."""
        return zlib.crc32(self.uid.encode()) % max(1, int(every))

    def search(self, rule: Read) -> Any:
        """What a read of the kind file gives."""
        arguments = self.arguments(rule.with_)
        if self.given is not None and (read := self._name_of(rule)) in self.given:
            found: Any = self.given[read]
            if rule.shared is not None and rule.shared.where:
                found = self._first(found.get("found"), rule.shared.where)
        elif rule.paginate:
            self._may_call()
            service, _, method = _reading(rule.call).rpartition(":")
            found = self._client(service).get_paginator(method).paginate(**arguments).build_full_result()
        else:
            found = self.ask(rule.call, **arguments)
        found = rule.item.search(found)
        return self._first(found, rule.where) if rule.where else found

    def _first(self, entries: Any, where: Mapping[str, Json]) -> Any:
        """The first entry whose members are these."""
        wanted = {name: self.arguments(value) for name, value in where.items()}
        fits = (entry for entry in entries or () if all(entry.get(name) == value for name, value in wanted.items()))
        return next(fits, None)

    def _read_also(self, also: Also) -> Any:
        try:
            return self.search(also)
        except ClientError as error:
            if faults.code_of(error) in also.absent or (also.seldom and faults.is_refused(error)):
                return None
            raise

    # --- what others have read ------------------------------------------------------------------------------

    def wants(self) -> list[Want] | None:
        """What shared reads have to answer for a look; None if one alone can't be shared, [] if the name is not known yet."""
        if self.kind.observe.shared is None:
            return None
        reads: dict[str, Read] = {"observe": self.kind.observe}
        for name, also in self.kind.also.items():
            if also.shared is not None and self._is_asked(also):
                reads[f"also.{name}"] = also
        found = []
        for read, rule in reads.items():
            assert rule.shared is not None
            service, _, call = (rule.shared.call or rule.call).rpartition(":")
            key = self.template(rule.shared.of)
            if key:
                found.append(Want(read, service or self.kind.service, rule.shared, call, str(key)))
        if len(found) < len(reads):
            return []
        if rest := self.kind.observe.shared.rest:
            service, _, call = rest.call.rpartition(":")
            found.append(Want(REST, service or self.kind.service, rest, call, found[0].key, is_extra=True))
        if self.kind.is_untagged and (arn := self._status("arn")):
            shared = _tagged()
            service, _, call = shared.call.partition(":")
            found.append(Want(TAG_LIST, service, shared, call, str(arn), is_extra=True))
        return found

    def _name_of(self, rule: Read) -> str:
        return next((f"also.{name}" for name, also in self.kind.also.items() if also is rule), "observe")

    @property
    def is_complete(self) -> bool:
        """Whether all that is read hourly was, within the hour.  After a start, those that the status knows take turns."""
        if not self.kind.is_hourly:
            return True
        now, every = self._now.timestamp(), HOURLY * self._poll
        self.memory.complete = self.memory.complete or now - self._turn(every)
        return 0 <= now - self.memory.complete < every  # less: the clock was set back

    @property
    def may_be_completed(self) -> bool:
        """Whether others can read all that is read hourly: what the kind's shared read lacks, and its tags."""
        shared = self.kind.observe.shared
        others = any(also.hourly and self._is_asked(also) for also in self.kind.also.values())
        return shared is not None and not others and (shared.rest is not None or not shared.lacks)

    def is_completed_by(self, given: Mapping[str, Item]) -> bool:
        """Whether what others have read is all that is read hourly."""
        lacks = self.kind.observe.shared is not None and self.kind.observe.shared.lacks
        is_told = (not lacks or REST in given) and (not self.kind.is_untagged or TAG_LIST in given)
        return is_told and self.may_be_completed

    def _is_asked(self, also: Also) -> bool:
        """Whether the spec asks for a further read."""
        return not also.when or any(self.spec.get(field) is not None for field in also.when)

    def _is_known(self) -> bool:
        """Whether the status tells of the thing at hand."""
        known = status_of(self.managed).get("atProvider") or {}
        return bool(known) and (self.kind.external_name.mode != "assigned" or known.get("id") == self.external_name)

    def _status(self, name: str) -> Json:
        return (status_of(self.managed).get("atProvider") or {}).get(name)

    # --- values in AWS --------------------------------------------------------------------------------------

    def observed(self, name: str, item: Item) -> Json:
        """A field's value in AWS, in the field's own type; None if AWS doesn't tell."""
        rule = self.kind.fields[name]
        if name in self.kept:
            return self._as_known(name, rule)
        if rule.observe is None:
            return None
        return convert.from_aws(self.hooks.incoming(self, name, rule.observe.search(item)), rule)

    def place_of(self, error: GroundplaneError) -> tuple[str, ...]:
        """The field that is set and that an error is about, by the parameter that it names; () if none or several may be meant."""
        said = convert.normalised(faults.parameter(error.what))
        found = {
            name
            for name, rule in self.kind.fields.items()
            for path in (name, rule.create, rule.parameter)
            if said and self.spec.get(name) is not None and said == convert.normalised(path.rpartition(".")[2])
        }
        return (f"spec.forProvider.{found.pop()}",) if len(found) == 1 else ()

    def _as_known(self, name: str, rule: KindField) -> Json:
        """A field's value as the status tells it, in the shape of the kind's first version whatever the object's is."""
        known = self._status(name)
        try:
            return None if known is None else convert.fitted(known, rule)
        except InvalidInput as error:  # written by another version of ours
            raise Alone from error

    def taken(self, secret: str) -> str:
        """The digest of the secret value that AWS took last."""
        known = status_of(self.managed).get("atProvider") or {}
        return self.memory.digests.get(secret) or str(known.get(digest_field(secret)) or "")

    # --- tags -------------------------------------------------------------------------------------------

    def tags_of(self, item: Item) -> dict[str, str] | None:
        """The thing's tags, also those of AWS itself; None if the kind has no tags."""
        rule = self.kind.tags
        if rule is None:
            return None
        style = tags.STYLES[rule.style]
        if self.given is not None and TAG_LIST in self.given:
            return {entry["Key"]: entry.get("Value") or "" for entry in self.given[TAG_LIST][TAG_LIST]}
        if self.is_quick and (rule.inline is None or "tags" in self.kept):
            known = self._status("tagsAll")
            return dict(known) if isinstance(known, Mapping) else {}
        if rule.inline is not None:
            return tags.parsed(rule.inline.search(item), style)
        try:
            answer = self.ask(style.read, **{rule.parameter or style.target: self._tag_target(item)})
        except ClientError as error:
            if faults.code_of(error) in style.absent:
                return {}
            raise
        return tags.parsed(answer.get(style.result), style)

    def _tag_target(self, item: Item) -> str:
        assert self.kind.tags is not None
        return str(self.template(self.kind.tags.of or "$external_name", item))

    def place(self, parameters: Parameters, name: str, path: str, value: Json, shape: Any) -> None:
        """Put a field's value where a call takes it, in AWS's shape."""
        with at(f"spec.forProvider.{name}"):
            convert.place(parameters, path, self.hooks.outgoing(self, name, value), shape, self.kind.fields[name])

    @cached_property
    def is_young(self) -> bool:
        """Whether what it refers to may still be invisible to AWS."""
        return self._since(meta(self.managed).get("creationTimestamp")) < YOUNG

    def _since(self, time: str | None) -> float:
        """Seconds since a time as Kubernetes writes it; for ever if it tells none."""
        moment = conditions.moment(time) if time else None
        return (self._now - moment).total_seconds() if moment else math.inf


def _reading(call: str) -> str:
    if not call.rpartition(":")[2].startswith(READING):
        raise ValueError(f"{call} may change AWS: it must go through `write`")
    return call


def _unsupported(where: str, value: Json, rule: SchemaField) -> list[InvalidInput]:
    """An error for each field that is set and can't be."""
    if rule.unsupported:
        return [InvalidInput(f"is not supported: {rule.unsupported}", mend="remove it", where=(where,))]
    found = []
    for place, entry in enumerate(value) if isinstance(value, list) else [(None, value)]:
        for name, member in rule.fields.items() if isinstance(entry, Mapping) else ():
            if entry.get(name) is not None:
                inside = where if place is None or rule.single else f"{where}[{place}]"
                found += _unsupported(f"{inside}.{name}", entry[name], member)
    return found


def _is_state(kind: Kind, name: str) -> bool:
    """Whether a field says how the thing is to be; a flag only says how a call is to be made."""
    field_ = kind.fields.get(name)
    return field_ is None or field_.observe is not None or bool(field_.secret)


def _merged(under: Json, over: Json) -> Json:
    """One value over another as upstream merges them: objects member by member, lists of objects element by element.

    >>> _merged({"a": 1, "b": [{"c": 1}, {"d": 2}]}, {"a": 2, "b": [{"e": 3}]})
    {'a': 2, 'b': [{'c': 1, 'e': 3}]}
    """
    if isinstance(under, Mapping) and isinstance(over, Mapping):
        return {**under, **{key: _merged(under.get(key), value) for key, value in over.items()}}
    if isinstance(under, list) and isinstance(over, list):
        return [_merged(below, above) for below, above in zip_longest(under[: len(over)], over)]
    return over


class Hooks:
    """What a kind's own module may add to its file: the extension points, all of them optional.

    `kinds/<service>_<kind>.py` subclasses it under the same name.  Hooks get the `Resource` at hand and let
    botocore's errors out: the engine translates them.
    """

    def defaults(self, resource: Resource) -> Sequence[Default]:
        """Helpful values for fields that the user left out; `resource` can make no calls here."""
        return ()

    def check(self, resource: Resource) -> None:
        """Raise InvalidInput for what can't work whether it exists or not; no calls here."""

    def check_create(self, resource: Resource) -> None:
        """Raise InvalidInput for what a create lacks, and an existing thing may lack; no calls here."""

    def resolved(self, resource: Resource) -> str:
        """The external name to observe with, where the annotation may hold something else of the thing's."""
        return resource.external_name

    def create_call(self, resource: Resource) -> tuple[str, Parameters]:
        """Another call than the kind's create, "" for that one, and parameters of its own."""
        return "", {}

    def name(self, resource: Resource) -> str:
        """The name to create it under, where the annotation may hold something else of an earlier thing's."""
        return resource.external_name

    def prepared(self, resource: Resource) -> Mapping[str, str]:
        """Annotations to save before a create: what it will change, and nobody will know afterwards.  Asked while nothing is there."""
        return {}

    def created(self, resource: Resource, answer: Item) -> None:
        """Right after a create.  May fail or be lost to a crash: what matters must also be found by `drift`."""

    def find(self, resource: Resource) -> str | None:
        """What an interrupted create made, where the kind file doesn't say how to look: its name, "" if nothing, None if nobody can tell."""
        return None

    def search(self, resource: Resource, rule: Read) -> Any:
        """The thing as AWS describes it, where the kind file's read is not the one that is needed."""
        return resource.search(rule)

    def owner(self, resource: Resource, item: Item) -> Mapping[str, str]:
        """The tags that say whose it is, of a kind that has no `tags`."""
        return {}

    def missing(self, resource: Resource) -> Item | None:
        """What stands for a thing that is not there, if it is on its way."""
        return None

    def observed(self, resource: Resource, item: Item) -> Item:
        """Complete what was read, before anything is compared."""
        return item

    def outgoing(self, resource: Resource, name: str, value: Json) -> Json:
        """A field's value as it is put into a call, before it takes AWS's shape."""
        return value

    def incoming(self, resource: Resource, name: str, value: Any) -> Any:
        """A field's value as it was found where the kind file says, before it takes the field's type."""
        return value

    def late(self, resource: Resource, item: Item, found: dict[str, Json]) -> dict[str, Json]:
        """What of the unset fields is taken into the spec: not what another thing decides."""
        return found

    def is_own(self, resource: Resource, item: Item) -> bool:
        """Whether AWS made it for itself, where the kind file's `list.own` can't say so."""
        return False

    def telling(self, resource: Resource, item: Item, found: dict[str, Json]) -> None:
        """Adjust the fields of forProvider that a manifest of a thing is made of which nobody made for it."""

    def drift(self, resource: Resource, item: Item, found: list[Difference]) -> list[Difference]:
        """Add differences that the fields can't tell, drop those that are none."""
        return found

    def notes(self, resource: Resource, item: Item) -> Sequence[str]:
        """What is worth an event, once per text."""
        return ()

    def published(self, resource: Resource, item: Item, at_provider: dict[str, Json]) -> None:
        """Adjust status.atProvider."""

    def connection(self, resource: Resource, item: Item) -> Mapping[str, str | None]:
        """Connection details beyond the kind file's."""
        return {}

    def parameters(self, resource: Resource, group: str, item: Item, parameters: Parameters) -> Parameters:
        """The last word on an update call's parameters."""
        return parameters

    def update(self, resource: Resource, group: str, item: Item, fields: Sequence[str]) -> None:
        """Send an update group that has no call of its own."""
        raise NotImplementedError(f"{resource.kind.kind}: update group {group} needs a hook")

    def before_delete(self, resource: Resource, item: Item, parameters: Parameters) -> None:
        """Clean up what stands in the way; complete the delete call's parameters, in place."""

    def delete_refused(self, resource: Resource, code: str, text: str) -> bool:
        """Cure what AWS refused the delete for.  True: try once more."""
        return False
