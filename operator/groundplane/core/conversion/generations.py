"""Manifests of Crossplane's first generation as those of the second: definitions without claims, composites in namespaces, managed
resources of `*.m.upbound.io`.  What has no equivalent is told, not guessed.

A claim's kind gets a new group, since the old one's CustomResourceDefinition is there until the last claim is gone.
Source: Crossplane v2's upgrade guide and definitions; provider-upjet-aws v2 (names of groups, references, Secrets).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from groundplane.core import definition, fieldpath, known_schemas, providers
from groundplane.core.conversion import paths, pipelines, runtimes, shapes
from groundplane.core.conversion.paths import SELECTION
from groundplane.core.conversion.shapes import AWS, NAMESPACED_AWS
from groundplane.core.naming import TEMPLATE_ANNOTATION
from groundplane.core.objects import Json, Object, annotations_of, group_of, key_of, meta, spec_of
from groundplane.core.structural import OpenAPI
from groundplane.errors import InvalidInput

GROUP = definition.GROUP
MACHINERY = (
    "resourceRef",
    "claimRef",
    "resourceRefs",
    "compositeDeletePolicy",
    "publishConnectionDetailsTo",
    "writeConnectionSecretToRef",
)
SUFFIX = "-v2"  # of new Compositions
DEFAULT_CONFIG = {"kind": "ClusterProviderConfig", "name": "default"}

_API = rf"apiVersion:\s*[\"']?([\w.-]+{re.escape(AWS)}/\w+)[\"']?\s*$"
_KIND = r"^\s*kind:\s*[\"']?(\w+)[\"']?\s*$"
_NAMED = re.compile(rf"{_API}\n{_KIND}|{_KIND}\n\s*{_API}", re.MULTILINE)  # in a template, a line beside the other
_OTHERWISE = re.compile(r"deletionPolicy|SecretRef|SecretToRef|providerConfigRef|claimRef|claim-name")
_NAME = "metadata.name"
_ALONE = {  # what tells composites of one name in two namespaces apart
    "metadata.namespace",
    "metadata.uid",
    "metadata.labels[crossplane.io/claim-namespace]",
    "spec.claimRef.namespace",
}
_NAMES_A_THING = re.compile(  # fields that may be a name in AWS, where a name is one thing's
    r"metadata\.name|metadata\.annotations\[['\"]?crossplane\.io/external-name['\"]?\]|spec\.(forProvider|initProvider)\.(?!tags\b|description\b).*"
)
_NAME_IN_TEXT = re.compile(r"(composite\.resource|\boxr|\bxr)\.metadata\.name\b")
_APART_IN_TEXT = re.compile(r"metadata\.(namespace|uid)\b|claimRef\.namespace")
NO_LONGER_ALONE = "metadata.name, which was one composite's in the cluster, and is one's in a namespace: two of one name in two namespaces"
KEEP_APART = "put metadata.namespace into the name as well, if more than one namespace shall have such a composite"
_SECRETS_NAME = re.compile(r"spec\.writeConnectionSecretToRef\.(name|namespace)")
NO_SECRET = "composites of v2 have no connection Secret"
_COMPOSE_ONE = "compose a Secret in a template, and let programs read that"

Schema = Callable[[str, str], OpenAPI | None]


@dataclass(frozen=True)
class Note:
    """What a person must see to."""

    where: str
    what: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f". Mend: {self.mend}." if self.mend else "")


@dataclass
class Migration:
    """The kinds of one set of manifests, and where they go."""

    schema: Schema
    group: str = ""  # of the new kinds; "": m.<group>
    kind: str = ""  # of the new composite, where there is one definition; "": the claim's
    notes: list[Note] = field(default_factory=list)
    kinds: dict[tuple[str, str], tuple[str, str]] = field(
        default_factory=dict
    )  # (group, kind) of composites and claims → new ones
    left_out: list[tuple[str, str]] = field(
        default_factory=list
    )  # what patches that were left out would have written: by template, "" for the composite, "*" for any template; the path
    later: list[tuple[str, str]] = field(
        default_factory=list
    )  # of Compositions that become pipelines: a template, and a field of the composite that is written once what it makes is there
    names: dict[str, str] = field(default_factory=dict)  # of Compositions: what one is for can't be changed
    _claims: set[tuple[str, str | None]] = field(default_factory=set)

    def run(self, objects: Sequence[Object]) -> list[Object | None]:
        """The new object for each; None for what has none."""
        for obj in objects:
            if known_schemas.is_definition(obj):
                known = definition.read(obj)
                if known.is_legacy:
                    new = self.group or f"m.{known.group}", self.kind or known.claim_kind or known.kind
                    self.kinds[known.group, known.kind] = new
                    if known.claim_kind:
                        self.kinds[known.group, known.claim_kind] = new
        self._check_apart(objects)
        new_kinds = set(self.kinds.values())
        taken = {
            str(meta(obj).get("name") or "")
            for obj in objects
            if is_composition(obj) and self._reference(obj) not in new_kinds  # such a one was made by an earlier run
        }
        for obj in objects:
            if is_composition(obj) and self._reference(obj) in self.kinds:
                name = new_name = str(meta(obj).get("name") or "")
                while new_name in taken:
                    new_name += SUFFIX
                taken.add(new_name)
                self.names[name] = new_name
        self._claims = {
            (definition.read(obj).group, definition.read(obj).claim_kind)
            for obj in objects
            if known_schemas.is_definition(obj)
        }
        return [self._one(fieldpath.copied(obj)) for obj in objects]

    def _check_apart(self, objects: Sequence[Object]) -> None:
        """Raise InvalidInput if two definitions of the first generation would be of one kind."""
        made: dict[tuple[str, str], str] = {}
        for obj in objects:
            known = definition.read(obj) if known_schemas.is_definition(obj) else None
            if known is None or not known.is_legacy:
                continue
            name = str(meta(obj).get("name") or "")
            group, kind = new = self.kinds[known.group, known.kind]
            if made.setdefault(new, name) != name:
                options = [f"--{word}" for word, given in (("group", self.group), ("kind", self.kind)) if given]
                mend = f"leave {' and '.join(options)} out" if options else "migrate them one by one, with --group"
                raise InvalidInput(f"definitions {made[new]} and {name} would both make {kind} of {group}", mend=mend)

    def _one(self, obj: Object) -> Object | None:
        group, kind = group_of(str(obj.get("apiVersion") or "")), str(obj.get("kind") or "")
        if known_schemas.is_definition(obj):
            return self._definition(obj)
        if is_composition(obj):
            return self._composition(obj)
        if (group, kind) in self.kinds:
            return self._composite(obj, is_claim=(group, kind) in self._claims)
        if group == "pkg.crossplane.io" and kind == "ControllerConfig":
            return runtimes.to_runtime_config(obj)
        second = shapes.second(group)
        if second and kind == providers.CONFIG:
            obj["apiVersion"], obj["kind"] = second, providers.CLUSTER_CONFIG
            return obj
        if second:
            if TEMPLATE_ANNOTATION in annotations_of(obj):
                return None  # it was composed: the new composite makes its own
            self._tell(
                obj,
                "is made by itself, not by a composite: it stays of the first generation",
                "move it by hand, if it shall be in a namespace",
            )
        return obj

    def subject(self, obj: Object) -> Object:
        """The composite that comes of a claim, or of a composite, as a test is given one; what it can't have is not told."""
        group, kind = group_of(str(obj.get("apiVersion") or "")), str(obj.get("kind") or "")
        if (group, kind) not in self.kinds:
            return obj
        told = len(self.notes)
        claimed = spec_of(obj).get("claimRef") or {}
        if claimed:
            plain = {name: value for name, value in spec_of(obj).items() if name != "claimRef"}
            metadata = {name: claimed[name] for name in ("name", "namespace") if claimed.get(name)}
            obj = {**obj, "metadata": {**meta(obj), "labels": {}, **metadata}, "spec": plain}
        made = self._composite(fieldpath.copied(obj), is_claim=True) or obj
        del self.notes[told:]
        if not meta(made).get("labels"):
            meta(made).pop("labels", None)
        return made

    def composed(self, obj: Object, namespace: str) -> Object:
        """What a test has of a managed resource, whole or in part, in the second generation."""
        api_version, kind = str(obj.get("apiVersion") or ""), str(obj.get("kind") or "")
        group = group_of(api_version)
        new = shapes.second(group)
        schema = self.schema(new, kind) if new else None
        if schema is None:
            return obj
        made = {**obj, "apiVersion": new}
        for part in ("spec", "status"):
            if part in made:
                value = made[part]
                if isinstance(value, dict):
                    value = {name: each for name, each in value.items() if name != "deletionPolicy"}
                made[part] = shapes.fitted(value, shapes.at(schema, part), part)
        if namespace:
            made["metadata"] = {**meta(obj), "namespace": namespace}
        return made

    def _reference(self, source: Object) -> tuple[str, str]:
        reference = spec_of(source).get("compositeTypeRef")
        named = reference if isinstance(reference, dict) else {}
        return group_of(str(named.get("apiVersion") or "")), str(named.get("kind") or "")

    def _renamed(self, holder: dict[str, Any], name: str) -> None:
        """A reference to a Composition, by the new one's name."""
        reference = holder.get(name)
        if isinstance(reference, dict) and reference.get("name") in self.names:
            holder[name] = {**reference, "name": self.names[reference["name"]]}

    def _tell(self, obj: Object, what: str, mend: str = "") -> None:
        self.notes.append(Note(str(key_of(obj)), what, mend))

    # --- definitions --------------------------------------------------------------------------------------

    def _definition(self, xrd: Object) -> Object:
        known = definition.read(xrd)
        if not known.is_legacy:
            return xrd
        group, kind = self.kinds[known.group, known.kind]
        spec = dict(spec_of(xrd))
        names = spec.pop("claimNames", None) or spec.get("names") or {}
        if kind != names.get("kind"):
            names = {"kind": kind, "plural": f"{kind.lower()}s"}
        for gone, what in (
            ("connectionSecretKeys", f"connectionSecretKeys: {NO_SECRET}"),
            ("defaultCompositeDeletePolicy", "defaultCompositeDeletePolicy: there are no claims"),
        ):
            if spec.pop(gone, None):
                self._tell(xrd, what, _COMPOSE_ONE if gone == "connectionSecretKeys" else "")
        for reference in ("defaultCompositionRef", "enforcedCompositionRef"):
            self._renamed(spec, reference)
        spec |= {"group": group, "names": names, "scope": "Namespaced"}
        name = f"{names.get('plural')}.{group}"
        return {"apiVersion": f"{GROUP}/v2", "kind": xrd["kind"], "metadata": {**meta(xrd), "name": name}, "spec": spec}

    # --- composites ---------------------------------------------------------------------------------------

    def _composite(self, obj: Object, *, is_claim: bool) -> Object | None:
        spec = dict(spec_of(obj))
        if not is_claim:
            if spec.get("claimRef"):
                return None  # its claim becomes the composite
            self._tell(obj, "a composite without a claim has no namespace yet", "write metadata.namespace")
        group, kind = self.kinds[group_of(obj["apiVersion"]), obj["kind"]]
        if spec.get("writeConnectionSecretToRef"):
            self._tell(obj, f"writeConnectionSecretToRef: {NO_SECRET}", _COMPOSE_ONE)
        chosen = {name: spec.pop(name) for name in SELECTION if name in spec}
        kept = {name: value for name, value in spec.items() if name not in MACHINERY}
        self._renamed(chosen, "compositionRef")
        if chosen.pop("compositionRevisionRef", None):
            self._tell(
                obj, "compositionRevisionRef: the new Composition has revisions of its own", "choose one of them"
            )
        if chosen:
            kept["crossplane"] = chosen
        version = obj["apiVersion"].rpartition("/")[2]
        metadata = {
            name: value for name, value in meta(obj).items() if name in ("name", "namespace", "labels", "annotations")
        }
        return {"apiVersion": f"{group}/{version}", "kind": kind, "metadata": metadata, "spec": kept}

    # --- Compositions -------------------------------------------------------------------------------------

    def _composition(self, source: Object) -> Object:
        old = self._reference(source)
        if old not in self.kinds:
            return source
        version = spec_of(source)["compositeTypeRef"]["apiVersion"].rpartition("/")[2]
        made = as_pipeline(source)
        if made is not source:
            self._tell(
                source,
                "is a pipeline now",
                "let the Function function-patch-and-transform be there; in Groundplane it is built in",
            )
        group, kind = self.kinds[old]
        spec = made["spec"]
        spec["compositeTypeRef"] = {"apiVersion": f"{group}/{version}", "kind": kind}
        made["metadata"] = {**meta(made), "name": self.names[str(meta(made).get("name") or "")]}
        for gone in ("writeConnectionSecretsToNamespace", "publishConnectionDetailsWithStoreConfigRef"):
            if spec.pop(gone, None):
                self._tell(source, f"{gone}: {NO_SECRET}")
        for step in spec.get("pipeline") or ():
            given = step.get("input") if isinstance(step, dict) else None
            if isinstance(given, dict) and group_of(str(given.get("apiVersion"))) == group_of(
                pipelines.RESOURCES["apiVersion"]
            ):
                self._templates(source, given)
                if made is not source:
                    self.later += _written_back(given)
                continue
            if any(_NAME_IN_TEXT.search(text) and not _APART_IN_TEXT.search(text) for text in _strings(given)):
                self._tell(
                    source,
                    f"step {step.get('step')}: may make names of {NO_LONGER_ALONE} would ask AWS for the same",
                    KEEP_APART,
                )
            if isinstance(given, dict) and AWS in str(given):
                step["input"], is_moved = self._texts(given)
                told, mend = (
                    ("are now of", "review them")
                    if is_moved
                    else ("stay: not all that it says can be said of", "write them anew, for")
                )
                self._tell(
                    source,
                    f"step {step.get('step')}: its kinds of {AWS.lstrip('.')} {told} {NAMESPACED_AWS.lstrip('.')}",
                    mend if is_moved else f"{mend} {NAMESPACED_AWS.lstrip('.')}",
                )
        return made

    def _texts(self, given: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """A step's input with kinds of the second generation in its texts, if these say nothing that is otherwise there."""
        texts = list(_strings(given))
        named = [pair for text in texts for pair in _NAMED.findall(text)]
        named = [(api or late_api, kind or early_kind) for api, kind, early_kind, late_api in named]
        count = sum(text.count(f"{AWS}/") for text in texts)
        is_same = len(named) == count and all(self._is_shaped_alike(*pair) for pair in named)
        if not is_same or any(_OTHERWISE.search(text) for text in texts):
            return given, False
        moved: dict[str, Any] = shapes.replaced(given)
        return moved, True

    def _is_shaped_alike(self, api_version: str, kind: str) -> bool:
        """Whether a kind's fields are lists, and objects, in the same places in both generations."""
        new = shapes.second(group_of(api_version))
        one, other = self.schema(api_version, kind), self.schema(new, kind)
        if one is None or other is None:
            return False
        found = [list(shapes.objects(shapes.at(shapes.at(each, "spec"), "forProvider"), "")) for each in (one, other)]
        return found[0] == found[1]

    def _templates(self, source: Object, given: dict[str, Any]) -> None:
        sets = {each.get("name"): each for each in given.get("patchSets") or () if isinstance(each, dict)}
        unwrapped: dict[str, set[str]] = {}
        for template in given.get("resources") or ():
            base = template.get("base") if isinstance(template, dict) else None
            if not isinstance(base, dict):
                continue
            where = f"{key_of(source)} › resource {template.get('name')}"
            lists = self._base(where, template, base)
            patches = template.get("patches") or []
            for patch in patches:
                if isinstance(patch, dict) and patch.get("type") == "PatchSet":
                    unwrapped.setdefault(str(patch.get("patchSetName")), set()).update(lists)
            if patches:
                template["patches"] = list(self._patches(where, patches, lists, str(template.get("name"))))
            self._name_secret(where, template, base, list(sets.values()))
            if template.pop("connectionDetails", None):
                self.notes.append(Note(where, f"connectionDetails: {NO_SECRET}", _COMPOSE_ONE))
        for name, each in sets.items():
            where = f"{key_of(source)} › patch set {name}"
            each["patches"] = list(
                self._patches(where, each.get("patches") or [], unwrapped.get(str(name), set()), "*")
            )

    def _name_secret(
        self, where: str, template: dict[str, Any], base: Mapping[str, Any], sets: Sequence[Mapping[str, Any]]
    ) -> None:
        """Name a connection Secret of which the template says no more than that there is one: in a namespace its kind asks for a name."""
        name = pipelines.name_secret(template, sets, _NAME) if shapes.is_second(base) else ""
        if not name:
            return
        self.notes.append(
            Note(
                where,
                f"writeConnectionSecretToRef had no name, which in a namespace it needs: it is {name % '<composite>'} now",
                "choose another one if programs want it",
            )
        )

    def _base(self, where: str, template: Mapping[str, Json], base: dict[str, Any]) -> set[str]:
        """Bring a base to the second generation; the paths of what is an object there, and may have been a list of one."""
        api_version, kind = str(base.get("apiVersion") or ""), str(base.get("kind") or "")
        group = group_of(api_version)
        if (group, kind) in self.kinds:
            new_group, base["kind"] = self.kinds[group, kind]
            base["apiVersion"] = f"{new_group}/{api_version.rpartition('/')[2]}"
            return set()
        new = shapes.second(group)
        if not new:
            if "." in group:
                self.notes.append(
                    Note(
                        where,
                        f"{kind} of {api_version} may not be in a namespace, where all that is composed must be",
                        "look for its namespaced kind",
                    )
                )
            return set()
        schema = self.schema(new, kind)
        if schema is None:
            self.notes.append(Note(where, f"there is no {kind} of {new}", "look for another kind"))
            return set()
        base["apiVersion"] = new
        spec: Any = base.get("spec")
        if not isinstance(spec, dict):
            return set()
        if spec.pop("deletionPolicy", "Delete") == "Orphan":
            spec["managementPolicies"] = ["Observe", "Create", "Update", "LateInitialize"]
        config = spec.get("providerConfigRef")
        spec["providerConfigRef"] = (
            {"kind": "ClusterProviderConfig", **config} if isinstance(config, dict) else dict(DEFAULT_CONFIG)
        )
        base["spec"] = shapes.fitted(spec, shapes.at(schema, "spec"), "spec")
        for path in shapes.refers_outside(base["spec"], "spec"):
            self.notes.append(
                Note(
                    where,
                    f"{path} means objects of the second generation now, in the composite's namespace or in the one that it names",
                    "have them there: groundplane import -n NAMESPACE writes them for what is in AWS already",
                )
            )
        return set(shapes.objects(shapes.at(shapes.at(schema, "spec"), "forProvider"), "spec.forProvider"))

    def _patches(self, where: str, patches: Sequence[Json], lists: set[str], template: str) -> Iterator[Json]:
        for index, patch in enumerate(patches):
            if not isinstance(patch, dict) or patch.get("type") == "PatchSet":
                yield patch
            elif not self._is_left_out(f"{where} › patches[{index}]", patch, template):
                yield _moved(patch, lists)

    def _is_left_out(self, where: str, patch: Mapping[str, Any], template: str) -> bool:
        """Whether a patch is about what is no more; what it means otherwise now is told."""
        is_forth, written = _is_forth(patch), str(patch.get("toFieldPath") or patch.get("fromFieldPath"))
        reads, writes = [patch.get("fromFieldPath")], [patch.get("toFieldPath")]
        variables = (patch.get("combine") or {}).get("variables") or ()
        reads += [each.get("fromFieldPath") for each in variables if isinstance(each, dict)]
        of_composite, of_composed = (reads, writes) if is_forth else (writes, reads)
        of_secret = [path for path in of_composite if isinstance(path, str) and "writeConnectionSecretToRef" in path]
        if of_secret and is_forth and all(_SECRETS_NAME.fullmatch(path) for path in of_secret):
            now = paths.composite_path(of_secret[0])
            self.notes.append(
                Note(where, f"reads {now} now, where it read {of_secret[0]}: {NO_SECRET}", "review it"),
            )
        elif of_secret:
            self.left_out.append((template if is_forth else "", written))
            what = f"left out, as it is about the composite's connection Secret: {NO_SECRET}"
            self.notes.append(Note(where, what, _COMPOSE_ONE))
            return True
        is_alone = is_forth and _NAME in of_composite and not _ALONE.intersection(map(str, of_composite))
        if is_alone and _NAMES_A_THING.fullmatch(written):
            what = f"makes {written} of {NO_LONGER_ALONE} would ask AWS for the same"
            self.notes.append(Note(where, what, KEEP_APART))
        gone = {path for holder, path in self.left_out if holder == template}
        if not is_forth and any(path in gone for path in of_composed):
            self.left_out.append(("", written))
            self.notes.append(Note(where, "left out, as what it reads is not written"))
            return True
        odd = [path for path in of_composed if isinstance(path, str) and paths.is_gone(path)]
        if odd and is_forth:
            self.left_out.append((template, written))
            what = f"left out, as there is no {odd[0]}: Secrets are in the resource's own namespace"
            self.notes.append(Note(where, what))
            return True
        return False


def _is_forth(patch: Mapping[str, Any]) -> bool:
    """Whether it goes from the composite, or an environment, to the composed resource."""
    return "From" in str(patch.get("type") or "From")


def _moved(patch: Mapping[str, Any], lists: set[str]) -> dict[str, Any]:
    """A patch with its paths as they are now; `lists` as `paths.composed_path` has them."""
    of_composed = partial(paths.composed_path, lists=lists)
    read, written = (paths.composite_path, of_composed) if _is_forth(patch) else (of_composed, paths.composite_path)
    found = dict(patch)
    if isinstance(old := found.get("fromFieldPath"), str):
        to_same = found.get("toFieldPath") is None
        found["fromFieldPath"] = read(old)
        if to_same and found["fromFieldPath"] != old:
            found["toFieldPath"] = written(old)
    if isinstance(found.get("toFieldPath"), str) and patch.get("toFieldPath") is not None:
        found["toFieldPath"] = written(found["toFieldPath"])
    if isinstance(found.get("combine"), dict):
        variables = [
            {**each, "fromFieldPath": read(each["fromFieldPath"])}
            if isinstance(each, dict) and isinstance(each.get("fromFieldPath"), str)
            else each
            for each in found["combine"].get("variables") or ()
        ]
        found["combine"] = {**found["combine"], "variables": variables}
    return found


def _written_back(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Of each template the fields of the composite that its patches write."""
    for template in given.get("resources") or ():
        for patch in template.get("patches") or () if isinstance(template, dict) else ():
            if isinstance(patch, dict) and "ToComposite" in str(patch.get("type")):
                yield str(template.get("name")), str(patch.get("toFieldPath") or patch.get("fromFieldPath"))


def as_pipeline(source: Object) -> Object:
    """A Composition in mode Pipeline; what is in it already as it is."""
    made = pipelines.to_pipeline(source, secrets=False) or source
    return pipelines.environment_to_step(made) or made


def is_composition(obj: Object) -> bool:
    return obj.get("kind") == "Composition" and group_of(str(obj.get("apiVersion") or "")) == GROUP


def _strings(value: Json) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for each in value.values():
                yield from _strings(each)
        case list():
            for each in value:
                yield from _strings(each)
