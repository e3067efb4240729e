"""Tests of authors, brought to the second generation with what they test.

What is asserted of what composites of v2 have not (connection Secrets, fields that only left-out patches write) is left out, and told.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from groundplane.core import fieldpath
from groundplane.core.composition_tests import ALIASES
from groundplane.core.conversion import generations, paths
from groundplane.core.conversion.generations import Migration
from groundplane.core.objects import Json, Object, meta, spec_of
from groundplane.errors import InvalidInput

Read = Callable[[str], Sequence[Object]]  # the objects in a file, by its path from the test's
EVERY = "*"  # every template: of a patch in a patch set
_SECRET = "spec.writeConnectionSecretToRef"


def migrated(document: Object, migration: Migration, read: Read) -> Object:
    """A test document for the new kinds.  What a person must see to is added to the migration's notes."""
    return _Cases(document, migration, read).document()


class _Cases:
    def __init__(self, document: Object, migration: Migration, read: Read) -> None:
        self._source: Object = fieldpath.copied(document)
        self._migration, self._read = migration, read
        self._told: dict[str, None] = {}

    def document(self) -> Object:
        spec = spec_of(self._source)
        defaults: dict[str, Any] = spec["defaults"] if isinstance(spec.get("defaults"), dict) else {}
        shared = self._names(defaults.get("inputs") or {})
        tests = []
        for test in spec.get("tests") or ():
            if isinstance(test, dict):
                test = self._test(test, shared)
            if test is not None:
                tests.append(test)
        if isinstance(defaults.get("inputs"), dict):
            defaults["inputs"] = self._inputs(defaults["inputs"], shared)
        if "tests" in spec:
            spec["tests"] = tests
        for text in self._told:
            self._migration.notes.append(generations.Note(f"CompositionTest {meta(self._source).get('name')}", text))
        return self._source

    # --- what is given ----------------------------------------------------------------------------------------------

    @staticmethod
    def _names(inputs: Mapping[str, Json]) -> dict[str, Any]:
        return {ALIASES.get(name, name): value for name, value in inputs.items()}

    def _inputs(self, inputs: Mapping[str, Json], all_: Mapping[str, Any]) -> dict[str, Any]:
        """Inputs for the new kinds; `all_` is what there is beside them, by default."""
        namespace = next((str(meta(each).get("namespace") or "") for each in self._subjects(all_)), "") or "default"
        made: dict[str, Any] = {}
        for name, value in inputs.items():
            match ALIASES.get(name, name):
                case "claim" | "composite" if value is not None:
                    made["composite"] = self._subject(value)
                case "observed" | "extra":
                    made[name] = self._around(value, namespace)
                case _:
                    made[name] = value
        return made

    def _objects(self, given: Json) -> list[Object]:
        found: list[Object] = []
        for each in given if isinstance(given, list) else [given]:
            if isinstance(each, dict) and isinstance(each.get("path"), str):
                found += self._read(each["path"])
            elif isinstance(each, dict):
                raw = each.get("raw")
                found += [
                    one
                    for one in (raw if isinstance(raw, list) else [raw])
                    if isinstance(one, dict) and _is_object(one)
                ]
        return found

    def _subjects(self, inputs: Mapping[str, Any]) -> list[Object]:
        """The new composites."""
        given = inputs.get("claim") or inputs.get("composite")
        return [self._migration.subject(each) for each in self._objects(given)] if given else []

    def _subject(self, given: Json) -> Json:
        """By its file, as long as that has what becomes of it; else written here."""
        before = self._objects(given)
        is_left_out = any(spec_of(each).get("claimRef") for each in before)
        if isinstance(given, dict) and "path" in given and not is_left_out:
            return given
        after: list[Json] = [self._migration.subject(each) for each in before]
        return {"raw": after[0] if len(after) == 1 else after} if after else given

    def _around(self, given: Json, namespace: str) -> Json:
        before = self._objects(given)
        after: list[Json] = [self._migration.composed(each, namespace) for each in before]
        return [{"raw": each} for each in after] if after != before else given

    # --- what is done, and asserted ---------------------------------------------------------------------------------

    def _test(self, test: dict[str, Any], shared: Mapping[str, Any]) -> dict[str, Any] | None:
        own = self._names(test.get("inputs") or {})
        alone = {"claim": None, "composite": None} if "claim" in own or "composite" in own else {}
        inputs = {**shared, **alone, **own}
        kinds = dict(self._templates(inputs))
        if isinstance(test.get("inputs"), dict):
            test["inputs"] = self._inputs(test["inputs"], inputs)
        unseen = {*kinds} if not inputs.get("observed") and test.get("run", "render") == "render" else set()
        for part in (test, *(each for each in test.get("steps") or () if isinstance(each, dict))):
            if not self._patches(part):
                self._tell(f'"{test.get("name")}" is left out, as it sets {_SECRET}: {generations.NO_SECRET}')
                return None
            if isinstance(part.get("observe"), dict):
                unseen -= part["observe"].keys()
                part["observe"] = {
                    name: self._fitted(kinds.get(name), value) for name, value in part["observe"].items()
                }
            if isinstance(part.get("connection"), dict):
                part["connection"] = self._connections(part["connection"])
                if not part["connection"]:
                    del part["connection"]
            if isinstance(part.get("assertions"), list):
                part["assertions"] = [
                    made for each in part["assertions"] if (made := self._assertion(each, kinds, unseen))
                ]
                if not part["assertions"]:
                    del part["assertions"]
        asserts = "assertions" in test or any("assertions" in each for each in test.get("steps") or ())
        if not asserts:
            self._tell(f'"{test.get("name")}" is left out: all that it asserts is of what v2 has not')
        return test if asserts else None

    def _templates(self, inputs: Mapping[str, Any]) -> Iterator[tuple[str, tuple[str, str]]]:
        """Each template's name, with its kind in the first generation."""
        for source in filter(generations.is_composition, self._objects(inputs.get("composition") or [])):
            spec = spec_of(generations.as_pipeline(fieldpath.copied(source)))
            for step in spec.get("pipeline") or ():
                for template in (step.get("input") or {}).get("resources") or ():
                    base = template.get("base") or {}
                    yield str(template.get("name")), (str(base.get("apiVersion") or ""), str(base.get("kind") or ""))

    def _patches(self, part: dict[str, Any]) -> bool:
        """Whether all that is changed in the claim can be changed in the composite."""
        patches = part.get("patches")
        if not isinstance(patches, dict):
            return True
        added, removed = patches.get("addFields"), patches.get("removeFields")
        if isinstance(added, dict):
            patches["addFields"] = {
                paths.composite_path(path): self._migration.names.get(value, value)
                if path == "spec.compositionRef.name" and isinstance(value, str)
                else value
                for path, value in added.items()
            }
        if isinstance(removed, list):
            patches["removeFields"] = [paths.composite_path(str(path)) for path in removed]
        return not any(str(path).startswith(_SECRET) for path in (*(added or ()), *(removed or ())))

    def _connections(self, given: dict[str, Json]) -> dict[str, Json]:
        """What connection Secrets have, but those whose names only left-out patches have written."""
        gone = {holder for holder, path in self._migration.left_out if path.startswith(_SECRET)}
        for name in sorted(gone & given.keys()):
            self._tell(f"{name} has no connection Secret: the patch that names it was left out")
        return {name: each for name, each in given.items() if name not in gone}

    def _assertion(self, asserted: Any, kinds: Mapping[str, tuple[str, str]], unseen: Collection[str]) -> Any:
        if not isinstance(asserted, dict):
            return asserted
        made = dict(asserted)
        if made.pop("secret", None) is not None:
            self._tell(f"secret is not asserted: {generations.NO_SECRET}")
        if isinstance(made.get("claim"), dict):
            made["composite"] = _both(made.get("composite") or {}, made.pop("claim"))
        if isinstance(made.get("composite"), dict):
            later = [path for template, path in self._migration.later if template in unseen]
            made["composite"] = self._less(made["composite"], "")
            made["composite"] = self._less_of(
                made["composite"], later, "a pipeline writes it once what it reads is there"
            )
            if not made["composite"]:
                del made["composite"]
        if isinstance(made.get("resources"), dict):
            resources = {
                name: self._less(self._fitted(kinds.get(name), value), name)
                for name, value in made["resources"].items()
            }
            made["resources"] = {name: value for name, value in resources.items() if value != {}}
            if not made["resources"]:
                del made["resources"]
        chainsaw = made.get("chainsaw")
        if isinstance(chainsaw, dict) and isinstance(chainsaw.get("resources"), list):
            made["chainsaw"] = {
                **chainsaw,
                "resources": [
                    self._migration.composed(each, "") if isinstance(each, dict) else each
                    for each in chainsaw["resources"]
                ],
            }
        return made

    def _fitted(self, kind: tuple[str, str] | None, value: Json) -> Json:
        if not isinstance(value, dict) or kind is None:
            return value
        made = self._migration.composed({"apiVersion": kind[0], "kind": kind[1], **value}, "")
        added = {"apiVersion", "kind"} - value.keys()
        return {name: each for name, each in made.items() if name not in added}

    def _less(self, value: Json, template: str) -> Json:
        """An object in part, without the fields that left-out patches would have written."""
        if not isinstance(value, dict):
            return value
        holders = (template, EVERY) if template else ("",)
        gone = [path for holder, path in self._migration.left_out if holder in holders]
        return self._less_of(value, gone, "the patch that writes it was left out", template)

    def _less_of(self, value: dict[str, Any], paths: Iterable[str], why: str, template: str = "") -> dict[str, Any]:
        for path in filter(fieldpath.is_path, paths):
            parsed = fieldpath.parse(path)
            try:
                is_there = fieldpath.find(value, parsed) is not fieldpath.MISSING
            except InvalidInput:
                continue  # it is of another shape
            if is_there:
                self._tell(f"{template or 'composite'} {path} is not asserted: {why}")
                fieldpath.delete(value, parsed)
        return {name: kept for name, each in value.items() if (kept := _pruned(each)) != {}}

    def _tell(self, what: str) -> None:
        self._told[what] = None


def _is_object(raw: Mapping[str, Json]) -> bool:
    """Whether it has the parts of an object, as far as it has any: what a test has instead is its runner's to refuse."""
    return all(isinstance(raw.get(part, {}), dict) for part in ("metadata", "spec", "status"))


def _both(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Two objects in part, as one.

    >>> _both({"status": {"a": 1}}, {"status": {"b": 2}})
    {'status': {'a': 1, 'b': 2}}
    """
    return {**one} | {
        name: _both(one[name], value) if isinstance(value, dict) and isinstance(one.get(name), dict) else value
        for name, value in other.items()
    }


def _pruned(value: Json) -> Json:
    """Without objects in which nothing is left.

    >>> _pruned({"spec": {"a": {}}, "status": {"b": 1}})
    {'status': {'b': 1}}
    """
    if not isinstance(value, dict):
        return value
    return {name: kept for name, each in value.items() if (kept := _pruned(each)) != {}}
