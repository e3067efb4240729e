"""The generic engine: check, find, create, update and delete one thing, as its kind file says.  Synchronous.

`observing.py` looks at it.  Source: provider-upjet-aws 75a4c57 and the Terraform AWS provider 5.31 for what is
refused.  One rule carries the rest: a create applies only what the create call takes, and the next round of
observe and update settles what is left.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from botocore.exceptions import ClientError

from groundplane.aws import compare, convert, faults, judging, tags
from groundplane.aws.grammar import Call, Find, KindField
from groundplane.aws.memory import Sent, digest, key_of
from groundplane.aws.observing import TAGS, Observer
from groundplane.aws.resource import Item, Parameters
from groundplane.core.managed import CREATE_PENDING, EXTERNAL_NAME
from groundplane.core.objects import Json, annotations_of, spec_of, status_of
from groundplane.errors import GroundplaneError, InvalidInput, Required, Waiting, at, shown
from groundplane.ports import Creation, Difference, Observation

UNSENT = "none"  # instead of a digest: a create took no value (a copy keeps its source's password)


class Engine(Observer):
    """A managed resource and what can be done with it, once each."""

    # --- check ------------------------------------------------------------------------------------------

    def check(self) -> None:
        if self.faulty:
            raise self.faulty[0]
        self.check_name()
        self._check_together()
        policies = set(spec_of(self.managed).get("managementPolicies") or ["*"])
        for name, rule in self.kind.fields.items():
            if rule.required and rule.reference is None and policies & {"*", "Create"} and name not in self.spec:
                raise Required("is required", mend="set it", where=(f"spec.forProvider.{name}",))
            if rule.required and rule.comparison in judging.JSON and self.spec.get(name) == "":
                raise Required("is empty", mend="write a document in JSON", where=(f"spec.forProvider.{name}",))
        self.hooks.check(self)
        if policies & {"*", "Create"} and not (self._given_annotation() or status_of(self.managed).get("atProvider")):
            self._check_beside(self.kind.fields, is_early=True)

    def _check_beside(self, names: Iterable[str], item: Item | None = None, *, is_early: bool = False) -> None:
        """What AWS refuses without another field: in a create, or in an update of the thing `item`.

        Of what is there, only what can't be changed is sure; `is_early`: a reference counts as what it will give.
        """
        for name in names:
            rule = self.kind.fields.get(name)
            if rule is None or not rule.beside or not self._beside(name, item):
                continue
            others = {
                other: self._beside(other, item) or (is_early and self._is_given(other))
                for other in rule.beside
                if item is None or self.kind.fields[other].immutable
            }
            judging.check_beside("spec.forProvider", name, rule, others)

    def _beside(self, name: str, item: Item | None) -> Json:
        """What a create sends for a field, or what a thing has or is to have."""
        if item is None:
            return self._create_value(name, self.kind.fields[name])
        return self.observed(name, item) if self.kind.fields[name].immutable else self.desired(name, item)

    def _check_together(self) -> None:
        """What can't be used together, and values that are spelt otherwise than AWS's."""
        for name, rule in self.kind.fields.items():
            clash = [other for other in rule.conflicts if self._is_given(name) and self._is_given(other)]
            if clash:
                raise InvalidInput(
                    f"can't be used with {clash[0]}", mend="remove one of the two", where=(f"spec.forProvider.{name}",)
                )
        if self.kind.is_judged:
            for names in self.kind.exclusive:
                judging.check_exclusive("spec.forProvider", [name for name in names if self._is_given(name)])
            judging.check("spec.forProvider", self.spec, self.kind.fields, self.wanted_region, self.written())

    def odd_values(self) -> str:
        """What of the spec AWS's model does not know, and what may be meant: a mend for what AWS refuses."""
        found = judging.unknown(self.spec, self.kind.fields, written=self.written()) if self.kind.is_judged else ()
        return ", ".join(f"for {place}, {meant}" for place, meant in found)

    def _is_given(self, name: str) -> bool:
        """Whether a field is set, or is to be by a reference."""
        return bool(self.spec.get(name)) or judging.is_referred(self.spec, name, self.kind.fields[name])

    def check_name(self) -> None:
        rule, name = self.kind.external_name, self.external_name
        if rule.mode != "name":
            return
        if rule.pattern and not re.fullmatch(rule.pattern, name):
            mend = f"{rule.rule or f'it must match {rule.pattern}'}; set annotation {EXTERNAL_NAME} to such a name"
            raise InvalidInput(f"{shown(name)} is no name for this kind in AWS", mend=mend, where=(self._name_place(),))
        if name.lower() in rule.reserved:
            raise InvalidInput(
                f"{shown(name)} is reserved in AWS", mend="use another name", where=(self._name_place(),)
            )

    def _name_place(self) -> str:
        """Where the object says its external name."""
        return f"annotation {EXTERNAL_NAME}" if self._given_annotation() else "metadata.name"

    def _given_annotation(self) -> str:
        return annotations_of(self.managed).get(EXTERNAL_NAME) or ""

    # --- find -------------------------------------------------------------------------------------------

    def find(self, certain_after: float = 0) -> str | None:
        """What an interrupted create made: its external name, "" if nothing, None if nobody can tell.

        Raises:
            Waiting: nothing is found, and the create is younger than `certain_after` seconds.
            InvalidInput: more than one thing is found.
        """
        rule = self.kind.find
        if rule is None:
            if self.kind.external_name.mode != "assigned":
                if self.kind.external_name.preset:
                    self.external_name = self.external_name or self.default_name()
                return self.external_name if self.read() is not None else ""
            name = self.hooks.find(self)
            if name is None:
                return None
            found = [name] if name else []
        else:
            found = self._candidates(rule)
            if rule.named:
                found = [name for name in found if self._carries_our_tag(name)]
        if len(found) > 1:
            names = ", ".join(sorted(found))
            mend = f"delete all but one, or set annotation {EXTERNAL_NAME} to the one that counts"
            raise InvalidInput(f"several external resources carry our tag {tags.OWNER}: {names}", mend=mend)
        since = self._since(annotations_of(self.managed).get(CREATE_PENDING))
        if not found and -certain_after <= since < certain_after:  # by a clock that is ahead it tells nothing
            raise Waiting("an interrupted create may have made something that AWS doesn't show yet")
        return str(found[0]) if found else ""

    def _candidates(self, rule: Find) -> list[str]:
        try:
            return list(rule.items.search(self.ask(rule.call, **self.arguments(rule.with_))) or ())
        except ClientError as error:
            if faults.code_of(error) not in rule.absent:
                raise
            return []

    def _carries_our_tag(self, name: str) -> bool:
        self.external_name = name
        return self._is_ours()

    def _taken(self) -> str:
        """The name of what is there already under the name that a create would give: ours, "" if there is none.

        Raises InvalidInput: it is not ours.
        """
        rule = self.kind.find
        for name in self._candidates(rule) if rule is not None and rule.named else ():
            if self._carries_our_tag(name):
                return name
            mend = f"choose another name, or take it over by annotation {EXTERNAL_NAME}: {name}"
            raise InvalidInput(f"{name} exists, and is not of this {self.kind.kind}", mend=mend)
        return ""

    def _is_right(self) -> bool:
        """Whether what AWS made by itself is as a create would make it."""
        item = self.read() if self.kind.external_name.preset else None
        if item is None:
            return False
        for name, rule in self.kind.fields.items():
            wanted = self._create_value(name, rule) if rule.group and rule.observe else None
            if wanted is not None and not compare.covers(wanted, self.observed(name, item), rule):
                return False
        return True

    # --- create -----------------------------------------------------------------------------------------

    def create(self) -> Creation:
        self.region, self.external_name, self.addressed = self.wanted_region, self._name_to_give(), self.spec
        with self._awaiting():
            self._check_beside(self.kind.fields)
            self.hooks.check_create(self)
        if taken := self._taken():
            return Creation(taken)  # an earlier create of ours
        if self._is_right():
            return Creation(self.external_name)
        with self._awaiting():
            call, parameters = self.create_call()
        # where AWS chooses the name, a call that is sent again because its answer was lost makes a second thing
        once = not self.kind.port.repeatable
        try:
            answer = self.write(call, once=once, **parameters)
        except ClientError as error:
            if faults.code_of(error) not in self.kind.errors.exists or not self._is_ours():
                raise
            return Creation(self.external_name)  # an earlier create of ours whose answer was lost
        self.memory.digests = {
            secret.field: UNSENT for secret in self.kind.port.secrets if secret.field in self.secrets
        }
        self._remember_secrets(parameters)
        source = self.kind.external_name.from_
        if source is not None:
            self.external_name = str(source.search(answer) or self.external_name)
        self.memory.external_name = ""
        self.memory.sent.clear()
        self.memory.is_fresh = True
        with suppress(*faults.BOTO):  # it exists, whatever comes now: what is left to do shows as drift
            self.hooks.created(self, answer)
        connection = {
            key: convert.text(value).encode()
            for key, path in self.kind.create.connection.items()
            if (value := path.search(answer)) is not None
        }
        return Creation(self.external_name, connection)

    @contextmanager
    def _awaiting(self) -> Iterator[None]:
        """What a reference that is optional has not given yet is awaited: it isn't missing for good."""
        try:
            yield
        except InvalidInput as error:
            fields = [name for name, rule in self.kind.fields.items() if self._is_awaited(name, rule)]
            places = {f"spec.forProvider.{name}" for name in fields}
            if isinstance(error, Required):  # one of several fields, which may be the one that is awaited
                places.add("spec.forProvider")
            if not fields or not places & set(error.where):
                raise
            where = (f"spec.forProvider.{fields[0]}",)
            raise Waiting("its reference gives nothing yet", mend="wait for what it refers to", where=where) from error

    def _is_awaited(self, name: str, rule: KindField) -> bool:
        return not self.spec.get(name) and judging.is_referred(self.spec, name, rule)

    def create_call(self) -> tuple[str, Parameters]:
        """The call that makes the thing, and what it takes."""
        other, extra = self.hooks.create_call(self)
        variants = self.kind.create.instead.items()
        chosen: Call = next((call for name, call in variants if self.spec.get(name)), self.kind.create)
        call = other or chosen.call
        return call, self._create_parameters(call, {} if other else self.arguments(chosen.with_), extra)

    def _name_to_give(self) -> str:
        """What the spec says comes first: the annotation may name an earlier thing, which is gone."""
        rule = self.kind.external_name
        if rule.mode == "composite" or (rule.field and self.spec.get(rule.field)):
            return self.default_name()
        return self.hooks.name(self)

    def _create_parameters(self, call: str, parameters: Parameters, extra: Parameters) -> Parameters:
        rule, shape = self.kind.create, self.shape(call)
        members = {*shape.members} - {name for name, value in extra.items() if value is None}
        for name, field_ in self.kind.fields.items():
            if not field_.create or field_.create.partition(".")[0] not in members:
                continue
            value = self._create_value(name, field_)
            if field_.required and value in (None, "", []) and not (field_.blank and value == ""):
                mend = "set it" + (f", or {name}Ref or a selector" if field_.reference else "")
                raise Required("is required", mend=mend, where=(f"spec.forProvider.{name}",))
            if _is_sent(field_, value):
                self.place(parameters, name, field_.create, value, shape)
        identity = self.kind.external_name
        if identity.parameter in shape.members:
            with at(self._name_place()):
                convert.place(parameters, identity.parameter, self.external_name, shape)
        if rule.token:
            parameters[rule.token] = self._token()
        if self.kind.tags is not None and self.kind.tags.at_create:
            style = tags.STYLES[self.kind.tags.style]
            given = tags.at_create(self.wanted_tags(), style, self.kind.tags.style, self.kind.tags.resource)
            # where a call takes none, as a restore, the next look finds that they lack
            parameters |= {name: value for name, value in given.items() if name in shape.members}
        return {name: value for name, value in (parameters | extra).items() if value is not None}

    def _token(self) -> str:
        """The same for each attempt to make one thing, and another one for what comes after a thing that is gone: with its token AWS would answer with that."""
        before = self._given_annotation()
        after = f"-{hashlib.blake2b(before.encode(), digest_size=8).hexdigest()}" if before else ""
        return (self.uid or self.name) + after

    def _create_value(self, name: str, field_: KindField) -> Json:
        if field_.secret:
            return self.secrets.get(field_.secret) if name in self.spec else None
        value = self.spec.get(name)
        if value is None:
            return self.arguments(field_.initial) if field_.default is None else field_.default
        return value

    def _is_ours(self) -> bool:
        item = self.read()
        found = (self.tags_of(item) or {}) if item is not None else {}
        return bool(self.uid) and found.get(tags.OWNER) == self.uid

    def _remember_secrets(self, parameters: Parameters) -> None:
        for name, field_ in self.kind.fields.items():
            value = self.secrets.get(field_.secret) if field_.secret and name in self.spec else None
            sent = value and self.hooks.outgoing(self, name, value)
            if value and sent in (parameters.get(field_.create), parameters.get(field_.parameter)):
                self.memory.digests[field_.secret] = digest(self.uid, field_.secret, value)

    # --- update -----------------------------------------------------------------------------------------

    def update(self, observation: Observation) -> None:
        """Send the drift, group by group; at most one group where states pass slowly."""
        if observation.item is None:
            raise Waiting("must be observed again before it is updated")
        item, found_tags = observation.item["item"], observation.item["tags"]
        self.external_name = observation.external_name or self.external_name
        self._check_beside([difference.field for difference in observation.drift], item)
        groups: dict[str, list[Difference]] = {}
        for difference in observation.drift:
            rule = self.kind.fields.get(difference.field)
            group = TAGS if difference.field == TAGS else rule.group if rule else difference.field
            groups.setdefault(group, []).append(difference)
        sent: list[Difference] = []
        if TAGS in groups:
            self._send_tags(item, found_tags or {})
            sent += groups.pop(TAGS)
            self._sent(sent)
        for group in sorted(groups, key=list(self.kind.update).index):
            self._send_group(group, [difference.field for difference in groups[group]], item)
            sent += groups[group]
            self._sent(groups[group])
            if self.kind.ready is not None and self.kind.ready.slow:
                break
        self._look_again([difference for difference in sent if self.memory.sent[difference.field].is_repeated])

    def _sent(self, differences: Sequence[Difference]) -> None:
        for difference in differences:
            name, key = difference.field, key_of(difference)
            before = self.memory.sent.get(name)
            same = before if before is not None and before.key == key else Sent(key)
            self.memory.sent[name] = same._replace(in_vain=same.in_vain + 1)

    def _look_again(self, repeated: Sequence[Difference]) -> None:
        """Whether AWS takes what is sent once more: else what somebody else sets back each time would seem sent in vain.

        Only then: after a first time the next look tells.
        """
        if not repeated:
            return
        try:
            item = self.read()
            found = self.tags_of(item) if item is not None else None
            there = item is not None and self.drift(item, None if found is None else tags.ours(found))
        except (*faults.BOTO, GroundplaneError):  # it was sent: what can't be seen now counts neither way
            there = None
        for difference in repeated:
            sent = self.memory.sent[difference.field]
            if not isinstance(there, list):
                sent = sent._replace(in_vain=sent.in_vain - 1)
            elif difference.field not in [each.field for each in there]:
                sent = sent._replace(in_vain=0, overwritten=sent.overwritten + 1)
            self.memory.sent[difference.field] = sent

    def _send_tags(self, item: Item, found: Mapping[str, str]) -> None:
        rule = self.kind.tags
        assert rule is not None
        on = self._tag_target(item)
        style = tags.STYLES[rule.style]
        for call, parameters in tags.changes(
            self.wanted_tags(tags.ours(found)), found, style, on, resource=rule.resource, target=rule.parameter
        ):
            self.write(call, **parameters)

    def _send_group(self, group: str, names: list[str], item: Item) -> None:
        rule = self.kind.update[group]
        if not rule.call:
            self.hooks.update(self, group, item, names)
            return
        if rule.mode == "entries":
            for name in names:
                self._send_entries(group, name, item)
            return
        if rule.unset is not None:
            empty = [name for name in names if compare.is_empty(self._value(name, item))]
            if empty:
                self.write(rule.unset.call, **self.arguments(rule.unset.with_, item))
                names = [name for name in names if name not in empty]
        if rule.mode == "each":
            off = [name for name in names if not self._value(name, item)]
            # what is switched off goes first, in reverse order, so that nothing outlives what it needs
            for name in [*reversed(off), *(name for name in names if name not in off)]:
                self._send_fields(group, [name], item)
        elif rule.mode == "attribute":
            for name in names:
                value = convert.text(self._value(name, item))
                parameter = self.kind.fields[name].parameter
                self.write(rule.call, **self.arguments(rule.with_, item) | {rule.name: parameter, rule.value: value})
        elif names:
            if rule.mode in ("full", "recreate"):
                names = [name for name, field_ in self.kind.fields.items() if self._belongs(field_, group, rule.mode)]
            self._send_fields(group, names, item)

    def _send_entries(self, group: str, name: str, item: Item) -> None:
        """Bring a list in line: what is too much goes, what is missing or other comes."""
        rule, field_ = self.kind.update[group], self.kind.fields[name]
        assert rule.remove is not None
        wanted, found = self._value(name, item) or [], self.observed(name, item) or []
        gone, new = compare.entries(wanted, found, field_)
        self._send_each(rule.remove, rule.list_, rule.most, name, gone, item)
        self._send_each(rule, field_.parameter, rule.most, name, new, item)

    def _send_each(self, call: Call, parameter: str, most: int, name: str, entries: list[Json], item: Item) -> None:
        shape = self.shape(call.call)
        size = (most or len(entries)) if parameter else 1
        for start in range(0, len(entries), size or 1):
            part = entries[start : start + size]
            self.entry = part[0]
            parameters = self.arguments(call.with_, item)
            if parameter:
                self.place(parameters, name, parameter, part, shape)
            self.write(call.call, **parameters)
        self.entry = None

    @staticmethod
    def _belongs(field_: KindField, group: str, mode: str) -> bool:
        if field_.with_ or field_.secret:
            return False
        return field_.group == group or (mode == "recreate" and bool(field_.create))

    def _send_fields(self, group: str, names: Sequence[str], item: Item) -> None:
        rule, shape = self.kind.update[group], self.shape(self.kind.update[group].call)
        companions = [
            name
            for name, field_ in self.kind.fields.items()
            if field_.group == group and ("*" in field_.with_ or set(field_.with_) & set(names))
        ]
        parameters = self.arguments(rule.with_, item)
        for name in dict.fromkeys([*names, *companions]):
            value = self._value(name, item)
            field_ = self.kind.fields[name]
            if value is not None and (rule.mode != "recreate" or _is_sent(field_, value)):
                self.place(parameters, name, field_.parameter, value, shape)
        parameters = self.hooks.parameters(self, group, item, parameters)
        answer = self.write(rule.call, **parameters)
        self._remember_secrets(parameters)
        if rule.new_external_name is not None:
            self.memory.external_name = str(rule.new_external_name.search(answer) or "")

    def _value(self, name: str, item: Item) -> Json:
        """What an update sends for a field: the desired value, else the observed one, unless what excludes it is desired."""
        field_ = self.kind.fields[name]
        if field_.secret:
            return self.secrets.get(field_.secret)
        desired = self.desired(name, item)
        if desired is not None or any(self.desired(other, item) is not None for other in field_.conflicts):
            return desired
        return self.observed(name, item)

    # --- delete -----------------------------------------------------------------------------------------

    def delete(self, observation: Observation) -> None:
        rule = self.kind.delete
        if rule.skip and self.spec.get(rule.skip):
            return
        self.external_name = observation.external_name or self.external_name
        item = (observation.item or {}).get("item") or {}
        parameters: Parameters = self.arguments(rule.with_, item)
        for name, field_ in self.kind.fields.items():
            value = self.desired(name)
            if field_.delete and value is not None:
                self.place(parameters, name, field_.delete, value, self.shape(rule.call))
        try:
            self.hooks.before_delete(self, item, parameters)
            self._delete(parameters)
        except ClientError as error:
            if faults.code_of(error) not in rule.absent:
                raise

    def _delete(self, parameters: Parameters) -> None:
        if not self.kind.delete.call:
            return
        try:
            self.write(self.kind.delete.call, **parameters)
        except ClientError as error:
            words = str(error.response.get("Error", {}).get("Message") or "")
            if not self.hooks.delete_refused(self, faults.code_of(error), words):
                raise
            self.write(self.kind.delete.call, **parameters)


def _is_sent(field_: KindField, value: Json) -> bool:
    """Whether a call that makes the thing, or remakes it, has this value: nothing is said by silence."""
    return value is not None and value != [] and (field_.omit is None or value != field_.omit)
