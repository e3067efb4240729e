"""A look at one thing as its kind file says: its state, how it differs from what is desired, what its status tells.

Source: provider-upjet-aws 75a4c57 and the Terraform AWS provider 5.31 for what is compared and late-initialised.
A difference that two successful updates left standing is reported, not sent a third time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import NamedTuple

from groundplane.aws import compare, convert, tags
from groundplane.aws.grammar import KindField, Output, Path, SchemaField, digest_field
from groundplane.aws.memory import Sent, digest, key_of
from groundplane.aws.resource import Alone, Item, Resource
from groundplane.core import conditions
from groundplane.core.conditions import Condition
from groundplane.core.managed import EXTERNAL_NAME
from groundplane.core.objects import Json, annotations_of, is_deleting, spec_of, status_of
from groundplane.errors import shown
from groundplane.ports import Difference, Observation

TAGS = "tags"  # the update group of the tags
SENT_IN_VAIN = 2  # successful updates after which AWS still showed the old value: the difference is frozen
HIDDEN = "(secret)"


class State(NamedTuple):
    """What a thing's own state means for us."""

    ready: Condition | None  # None: condition Ready stays as it is
    settled: bool = True
    updatable: bool = True
    deleting: bool = False
    gone: bool = False


class Observer(Resource):
    """A managed resource, and what can be seen of it."""

    def observe(self) -> Observation:
        item = self.read(informed=True)
        if self.kind.is_hourly and not self.is_quick:
            self.memory.complete = self._now.timestamp() if item is not None else 0.0
        if item is None or (is_deleting(self.managed) and self._is_done(item)):
            self.memory.sent.clear()
            return self._absent()
        self._confirm_digests()
        state = self._state(item)
        if state.gone:
            return self._absent()
        all_tags = self.tags_of(item)
        found_tags = None if all_tags is None else tags.ours(all_tags)
        drift = self.drift(item, found_tags)
        drift, notes, contested = self._thawed(drift)
        creating = state.ready is not None and state.ready.reason == "Creating"
        ready = state.ready
        if ready is not None and ready.status == "True" and (left := self._left(drift)):
            ready = conditions.creating(f"still to be set as spec.initProvider has it: {', '.join(left)}")
        connection = self._connection(item)
        return Observation(
            exists=True,
            ready=ready,
            at_provider=self._at_provider(item, found_tags),
            late={} if creating or state.deleting else self._late(item),
            drift=tuple(drift) if state.updatable and not state.deleting else (),
            immutable=tuple(self._immutable(item)),
            notes=(*notes, *self._tag_notes(), *self.hooks.notes(self, item)),
            contested=tuple(contested),
            connection=connection,
            external_name=self._renamed(item),
            settled=state.settled,
            deleting=state.deleting,
            item={"item": item, "tags": all_tags},
            owner=self.hooks.owner(self, item),
        )

    def glance(self, given: Mapping[str, Item] | None = None) -> Observation:
        """A look at what has settled: what is read hourly is taken from the status, and with `given`, what others have read, nothing is called.

        It only confirms.  Raises Alone, and leaves no trace, if there is anything that a look of its own should see.
        """
        memory = self.memory
        self.given, self.is_quick, self.memory = given, True, memory.copy()
        try:
            found = self.observe()
        except (
            KeyError,
            IndexError,
            TypeError,
            AttributeError,
        ) as error:  # an answer that has less than the call's own
            raise Alone from error
        finally:
            confirmed, self.memory = self.memory, memory
        if not self.is_confirmed(found):
            raise Alone
        memory.sent, memory.digests, memory.informed = confirmed.sent, confirmed.digests, confirmed.informed
        if given is not None and self.is_completed_by(given):
            memory.complete = self._now.timestamp()
        return found

    def is_confirmed(self, found: Observation) -> bool:
        """Whether a look found nothing that is to be done."""
        policies = set(spec_of(self.managed).get("managementPolicies") or ["*"])
        is_ready = found.ready is not None and found.ready.status == "True"
        is_drifting = found.drift and policies & {"*", "Update"}
        is_late = found.late and policies & {"*", "LateInitialize"}
        is_other = found.immutable or found.external_name or found.contested
        return (
            found.exists and is_ready and found.settled and not (found.deleting or is_drifting or is_late or is_other)
        )

    def _absent(self) -> Observation:
        return Observation(exists=False, to_note={} if is_deleting(self.managed) else self.hooks.prepared(self))

    def _is_done(self, item: Item) -> bool:
        """Whether it counts as gone, though AWS always shows something."""
        rule = self.kind.delete
        if rule.skip and self.spec.get(rule.skip):
            return True
        return rule.done is not None and bool(rule.done.search(item))

    def _tag_notes(self) -> list[str]:
        given = self.spec.get(TAGS)
        theirs = sorted(name for name in given if name.startswith(tags.AWS)) if isinstance(given, Mapping) else []
        return (
            [f"tags that begin with {tags.AWS} are AWS's own and are left out: {', '.join(theirs)}"] if theirs else []
        )

    def _renamed(self, item: Item) -> str:
        """How AWS spells the name, if the annotation says otherwise."""
        if self.kind.external_name.mode == "composite":
            return self.memory.external_name  # an update gave it another one
        canonical = self.kind.external_name.canonical
        name = str((canonical.search(item) if canonical else None) or self.external_name)
        given = annotations_of(self.managed).get(EXTERNAL_NAME) or self.default_name()
        return name if name != given else ""

    def _state(self, item: Item) -> State:
        rule = self.kind.ready
        if rule is None:
            return State(conditions.available())
        value = rule.path.search(item)
        value = "" if value is None else str(value)
        message, updatable = f"{rule.path.text} is {value}", value in rule.updatable
        if value in rule.gone:
            return State(None, gone=True)
        if value in rule.in_:
            ready = conditions.available()
            ready = ready if value == rule.in_[0] else replace(ready, message=message)
            return State(ready, updatable=value not in rule.fixed)
        if value in rule.creating:
            return State(conditions.creating(message), settled=False, updatable=updatable)
        if value in rule.deleting:
            return State(conditions.deleting(message), settled=False, updatable=False, deleting=True)
        if value in rule.failed:
            why = rule.message.search(item) if rule.message else None
            return State(conditions.unavailable(f"{message}: {why}" if why else message), updatable=updatable)
        never_ready = conditions.find(self.managed, "Ready") is None
        return State(conditions.creating(message) if never_ready else None, settled=False, updatable=updatable)

    def drift(self, item: Item, found_tags: Mapping[str, str] | None) -> list[Difference]:
        """How AWS differs from what is desired; `found_tags` None: the kind has no tags."""
        found = []
        if found_tags is not None and found_tags != (wanted := self.wanted_tags(found_tags)):
            found.append(Difference(TAGS, wanted, dict(found_tags)))
        for name, rule in self.kind.fields.items():
            if rule.secret:
                found.extend(self._secret_drift(name, rule))
                continue
            if not rule.group or rule.observe is None:
                continue
            desired, observed = self.desired(name, item), self.observed(name, item)
            if desired is not None and not compare.covers(desired, observed, rule):
                found.append(Difference(name, desired, observed))
        return self.hooks.drift(self, item, found)

    def _secret_drift(self, name: str, rule: KindField) -> list[Difference]:
        value = self.secrets.get(rule.secret)
        if not value or not rule.group or self.desired(name) is None:
            return []
        current, taken = digest(self.uid, rule.secret, value), self.taken(rule.secret)
        if not taken and self.is_inherited:
            # The create took it, and nothing says that it is another one now.
            self.memory.digests[rule.secret] = taken = current
        return [] if current == taken else [Difference(name, HIDDEN, None)]

    def _immutable(self, item: Item) -> list[Difference]:
        found = self.moved()
        known = {difference.field for difference in found}
        for name, rule in self.kind.fields.items():
            desired = None if name in self.once else self.spec.get(name)
            if not rule.immutable or rule.secret or desired is None or name in known:
                continue
            observed = self.addressed.get(name) if rule.observe is None else self.observed(name, item)
            if observed is not None and not compare.covers(desired, observed, rule):
                found.append(Difference(name, desired, observed))
        return found

    def _left(self, drift: Iterable[Difference]) -> list[str]:
        """What only the creation asks for and is still to be sent: nobody would send it later."""
        asked = self.once | ({TAGS} if (spec_of(self.managed).get("initProvider") or {}).get(TAGS) else set())
        return sorted(asked & {difference.field for difference in drift}) if self.is_new else []

    def _thawed(self, drift: Iterable[Difference]) -> tuple[list[Difference], list[str], list[str]]:
        """The drift without what was sent twice in vain, a note for each of those, and the fields that somebody else sets back.

        What has moved since is on its way (one index after the other): it is not in vain.
        """
        left, notes, contested, still = [], [], [], {}
        for difference in drift:
            name, sent = difference.field, self.memory.sent.get(difference.field)
            if sent is not None and sent.key == key_of(difference):
                if sent.is_settled:  # the very same again: not by chance
                    sent = Sent(sent.key, overwritten=sent.overwritten + 1)
                still[name] = sent
                if sent.in_vain >= SENT_IN_VAIN:
                    notes.append(
                        f"AWS does not echo field {name}: it was sent {SENT_IN_VAIN} times and accepted, "
                        f"and still reads {shown(difference.observed)}; it is not sent again until it is edited"
                    )
                    continue
                if sent.overwritten:
                    contested.append(name)
            left.append(difference)
        differing = {difference.field for difference in left} | still.keys()
        settled = {
            name: sent._replace(in_vain=0, is_settled=True)
            for name, sent in self.memory.sent.items()
            if name not in differing
        }
        self.memory.sent = still if self.memory.is_fresh else settled | still
        self.memory.is_fresh = self.memory.is_fresh and bool(left)
        return left, notes, contested

    def _confirm_digests(self) -> None:
        """Forget what the status has learnt."""
        known = status_of(self.managed).get("atProvider") or {}
        for secret, value in list(self.memory.digests.items()):
            if known.get(digest_field(secret)) == value:
                del self.memory.digests[secret]

    def _late(self, item: Item) -> dict[str, Json]:
        found = {}
        for name, rule in self.kind.fields.items():
            if not rule.late or name in self.spec or any(self.spec.get(other) for other in rule.conflicts):
                continue
            value = self.observed(name, item)
            if not compare.is_empty(value):
                found[name] = value
        return self.shaped(self.hooks.late(self, item, found))

    def _at_provider(self, item: Item, found_tags: Mapping[str, str] | None) -> dict[str, Json]:
        values: dict[str, Json] = {}
        for name, rule in self.kind.fields.items():
            if rule.secret or name == TAGS:
                continue
            values[name] = self.observed(name, item) if rule.observe else self.addressed.get(name)
        for name, output in self.kind.at_provider.items():
            values[name] = self._status(name) if name in self.kept else self._output(output, item)
        if not self.kind.is_global:
            values["region"] = self.region
        if found_tags is not None:
            values["tags"] = values["tagsAll"] = dict(sorted(found_tags.items()))
        for secret in self.kind.port.secrets:
            values[digest_field(secret.field)] = self.taken(secret.field) or None
        self.hooks.published(self, item, values)
        return {name: value for name, value in self.shaped(values).items() if value not in (None, [], {})}

    def shaped(self, values: Mapping[str, Json]) -> dict[str, Json]:
        """Fields by name, in the shape that the kind's API has, sorted."""
        if self.kind.shape != "object":
            return dict(sorted(values.items()))
        fields: dict[str, SchemaField] = {**self.kind.fields, **self.kind.at_provider}
        return {name: convert.shaped(value, fields.get(name, convert.ANY)) for name, value in sorted(values.items())}

    def _output(self, output: Output, item: Item) -> Json:
        if output.path is None:
            return self.template(output.from_, item) if output.from_ else None
        return convert.from_aws(output.path.search(item), output)

    def _connection(self, item: Item) -> dict[str, bytes]:
        found: dict[str, Json] = {}
        for key, source in self.kind.connection.items():
            found[key] = self.template(source, item) if "$" in source else Path(source).search(item)
        found |= self.hooks.connection(self, item)
        return {key: convert.text(value).encode() for key, value in sorted(found.items()) if value is not None}
