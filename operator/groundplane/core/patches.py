"""Patches: one class per type; their policies; patch sets.

Source: Crossplane v1.20 `internal/controller/apiextensions/composite/composition_patches.go` and
function-patch-and-transform v0.10 `patches.go`.  A patch copies one value between two objects, by field path,
through transforms.  `compile` turns what a user wrote into a `Compiled` patch: paths parsed, formats and
regular expressions ready.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BeforeValidator, Discriminator, Field, Tag

from groundplane.core import fieldpath, goformat
from groundplane.core.explain import Told, Trace
from groundplane.core.fieldpath import MISSING, FieldNotFound, MergeOptions, Path, PathSyntax
from groundplane.core.objects import Json, Object
from groundplane.core.spec import FUNCTION, NATIVE, Dialect, Problem, Spec, filled, not_supported, only, required, word
from groundplane.core.transforms import Transforms
from groundplane.core.transforms.base import refusing
from groundplane.core.transforms.string import StringTransform
from groundplane.errors import GroundplaneError, InvalidInput, did_you_mean, shown

MAX_STEPS = 50_000  # patches and transforms of one composition, its patch sets in their places
MAX_EXPRESSIONS = 1_000  # regular expressions among them
MAX_SIZE = 4_000_000  # characters of an object while it is patched; no API server stores a third of it
_MEND_REQUIRED = "it is required: fill it, or make the patch's policy.fromFieldPath Optional"
MEND_IN_STATUS = (
    "it is required, and comes once resources that exist have filled the status; if it never does, correct the path"
)
WEIGHED = 50  # patches after which a growing object is weighed

# --- the YAML ------------------------------------------------------------------------------------------


class Merging(Spec):
    """How the native engine merges; an empty one merges too, letting what comes win."""

    keepMapValues: bool | None = None
    appendSlice: bool | None = None


_MERGE_POLICIES: dict[str, MergeOptions | None] = {
    "Replace": None,
    "MergeObjects": MergeOptions(keep=True),
    "MergeObject": MergeOptions(keep=True),
    "MergeObjectsAppendArrays": MergeOptions(keep=True, append=True),
    "ForceMergeObjects": MergeOptions(),
    "ForceMergeObjectsAppendArrays": MergeOptions(append=True),
    "AppendArray": MergeOptions(append=True),
}


_MERGE_IN_PIPELINE = (  # what mergeOptions is called there
    "write policy.toFieldPath: MergeObjects for keepMapValues, ForceMergeObjectsAppendArrays for appendSlice, "
    "MergeObjectsAppendArrays for both, ForceMergeObjects for neither"
)


class Policy(Spec):
    """What happens when there is nothing to read, and when there is something to write over."""

    fromFieldPath: Annotated[str | None, word("Optional", "Required")] = None
    toFieldPath: Annotated[str | None, only(FUNCTION, "write policy.mergeOptions in mode Resources")] = None
    mergeOptions: Annotated[Merging | None, only(NATIVE, _MERGE_IN_PIPELINE)] = None

    def options(self) -> MergeOptions | None:
        """What becomes of a value that is there already; None: it is replaced."""
        if self.mergeOptions is not None:
            return MergeOptions(bool(self.mergeOptions.keepMapValues), bool(self.mergeOptions.appendSlice))
        return _MERGE_POLICIES.get(self.toFieldPath or "Replace")

    def problems(self) -> Iterator[Problem]:
        """Words that there are not; natively the shape says so already."""
        if self.fromFieldPath not in (None, "Optional", "Required"):
            yield not_supported("policy.fromFieldPath", self.fromFieldPath, ["Optional", "Required"])
        yield from self.unusable()

    def unusable(self) -> Iterator[Problem]:
        """A word without which there is no telling what to write."""
        if self.toFieldPath is not None and self.toFieldPath not in _MERGE_POLICIES:
            yield not_supported("policy.toFieldPath", self.toFieldPath, _MERGE_POLICIES)


class Variable(Spec):
    """One of the values that are combined."""

    zero: ClassVar = {"fromFieldPath": ""}

    fromFieldPath: str


class StringCombination(Spec):
    """A format string in Go's language."""

    zero: ClassVar = {"fmt": ""}

    fmt: str


class Combine(Spec):
    """Several values made one, by a format string."""

    zero: ClassVar = {"strategy": "", "variables": []}

    variables: Annotated[list[Variable], filled()]
    strategy: Annotated[str, word("string")]
    string: StringCombination | None = None


_DEFAULT: Literal["FromCompositeFieldPath"] = "FromCompositeFieldPath"


class AnyPatch(Spec):
    """The fields of every patch: settings that belong to another type are read and not used."""

    type: str = "FromCompositeFieldPath"
    fromFieldPath: str | None = None
    toFieldPath: str | None = None
    combine: Combine | None = None
    patchSetName: str | None = None
    transforms: Transforms = Field(default_factory=list)
    policy: Policy | None = None

    def problems(self, dialect: Dialect) -> Iterator[Problem]:
        """What is wrong with this one patch, beyond the shape of its YAML."""
        yield from self.missing(dialect)
        if dialect == FUNCTION and isinstance(self, _CombinePatch):
            return  # it validates neither transforms nor policies of these: they fail when they are used
        if self.policy is not None:
            yield from self.policy.problems()
        for index, transform in enumerate(self.transforms):
            for problem in transform.problems(dialect):
                yield problem.under(f"transforms[{index}]")

    def unsupported(self, dialect: Dialect) -> Iterator[Problem]:
        """Words that this dialect does not have."""
        for index, transform in enumerate(self.transforms):
            if isinstance(transform, StringTransform):
                for problem in transform.unsupported(dialect):
                    yield problem.under(f"transforms[{index}]")

    def missing(self, dialect: Dialect) -> Iterator[Problem]:
        """Settings without which this type can't work."""
        raise NotImplementedError

    def compile(self, dialect: Dialect) -> Compiled:
        """The patch, ready to run; never raises for a patch without `problems`."""
        raise NotImplementedError


class _SinglePatch(AnyPatch):
    """Copies the value at one path."""

    def missing(self, dialect: Dialect) -> Iterator[Problem]:
        if self.fromFieldPath is None or (dialect == FUNCTION and not self.fromFieldPath):
            yield required("fromFieldPath", f"must be set for patch type {self.type}")

    def compile(self, dialect: Dialect) -> Compiled:
        source = Lazy(self.fromFieldPath or "")
        target = Lazy(self.toFieldPath) if self.toFieldPath is not None else source
        return Compiled(self, dialect, [source], _reader(source), target)


class _CombinePatch(AnyPatch):
    """Makes one text of the values at several paths."""

    def missing(self, dialect: Dialect) -> Iterator[Problem]:
        if self.combine is None:
            yield required("combine", f"must be set for patch type {self.type}")
        elif self.toFieldPath is None:
            yield required("toFieldPath", f"must be set for patch type {self.type}")
        elif dialect == FUNCTION:
            if not self.combine.strategy:
                yield required("combine.strategy", mend="write string, the only one")
            elif self.combine.strategy != "string":
                yield not_supported("combine.strategy", self.combine.strategy, ["string"])
            elif self.combine.string is None:
                yield required("combine.string", "must be set for strategy string")
            if not self.combine.variables:
                yield required("combine.variables", "must not be empty")
            for index, variable in enumerate(self.combine.variables):
                if not variable.fromFieldPath:
                    yield required(f"combine.variables[{index}].fromFieldPath")

    def compile(self, dialect: Dialect) -> Compiled:
        assert self.combine is not None
        sources = [Lazy(variable.fromFieldPath) for variable in self.combine.variables]
        return Compiled(self, dialect, sources, _combiner(self.combine, sources), Lazy(self.toFieldPath or ""))


class FromCompositeFieldPath(_SinglePatch):
    """Composite → composed resource; the default, also where the function is told an empty type."""

    type: Annotated[Literal["FromCompositeFieldPath"], BeforeValidator(lambda value: value or _DEFAULT)] = _DEFAULT


class ToCompositeFieldPath(_SinglePatch):
    """Composed resource → composite."""

    type: Literal["ToCompositeFieldPath"]


class CombineFromComposite(_CombinePatch):
    """Several values of the composite, as one text → composed resource."""

    type: Literal["CombineFromComposite"]


class CombineToComposite(_CombinePatch):
    """Several values of the composed resource, as one text → composite."""

    type: Literal["CombineToComposite"]


class FromEnvironmentFieldPath(_SinglePatch):
    """Environment → composed resource; only the function has environments."""

    type: Literal["FromEnvironmentFieldPath"]


class ToEnvironmentFieldPath(_SinglePatch):
    """Composed resource → environment."""

    type: Literal["ToEnvironmentFieldPath"]


class CombineFromEnvironment(_CombinePatch):
    """Several values of the environment, as one text → composed resource."""

    type: Literal["CombineFromEnvironment"]


class CombineToEnvironment(_CombinePatch):
    """Several values of the composed resource, as one text → environment."""

    type: Literal["CombineToEnvironment"]


class PatchSetReference(AnyPatch):
    """Stands for all patches of a set."""

    type: Literal["PatchSet"]

    def missing(self, dialect: Dialect) -> Iterator[Problem]:
        if self.patchSetName is None or (dialect == FUNCTION and not self.patchSetName):
            yield required("patchSetName", "must be set for patch type PatchSet")


FROM_COMPOSITE = frozenset({"FromCompositeFieldPath", "CombineFromComposite"})
TO_COMPOSITE = frozenset({"ToCompositeFieldPath", "CombineToComposite"})


def _tag(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return "<FromCompositeFieldPath>" if kind is None else f"<{kind}>"


Patch = Annotated[
    Annotated[FromCompositeFieldPath, Tag("<FromCompositeFieldPath>")]
    | Annotated[PatchSetReference, Tag("<PatchSet>")]
    | Annotated[ToCompositeFieldPath, Tag("<ToCompositeFieldPath>")]
    | Annotated[CombineFromComposite, Tag("<CombineFromComposite>")]
    | Annotated[CombineToComposite, Tag("<CombineToComposite>")],
    Discriminator(_tag),
]


class PatchSet(Spec):
    """Patches under a name, for several templates."""

    name: str
    patches: list[Patch]


class UnknownPatch(AnyPatch):
    """Of a type that there is not; the function complains of it beside everything else that is wrong."""

    def missing(self, dialect: Dialect) -> Iterator[Problem]:
        yield not_supported("type", self.type, FUNCTION_TYPES)


FUNCTION_TYPES = (
    "FromCompositeFieldPath",
    "PatchSet",
    "ToCompositeFieldPath",
    "CombineFromComposite",
    "CombineToComposite",
    "FromEnvironmentFieldPath",
    "ToEnvironmentFieldPath",
    "CombineFromEnvironment",
    "CombineToEnvironment",
)


def _function_tag(value: Any) -> str:
    """The function takes an empty type for the default."""
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    kind = kind or _DEFAULT
    return f"<{kind}>" if kind in FUNCTION_TYPES else "<unknown>"


FunctionPatch = Annotated[
    Annotated[FromCompositeFieldPath, Tag("<FromCompositeFieldPath>")]
    | Annotated[PatchSetReference, Tag("<PatchSet>")]
    | Annotated[ToCompositeFieldPath, Tag("<ToCompositeFieldPath>")]
    | Annotated[CombineFromComposite, Tag("<CombineFromComposite>")]
    | Annotated[CombineToComposite, Tag("<CombineToComposite>")]
    | Annotated[FromEnvironmentFieldPath, Tag("<FromEnvironmentFieldPath>")]
    | Annotated[ToEnvironmentFieldPath, Tag("<ToEnvironmentFieldPath>")]
    | Annotated[CombineFromEnvironment, Tag("<CombineFromEnvironment>")]
    | Annotated[CombineToEnvironment, Tag("<CombineToEnvironment>")]
    | Annotated[UnknownPatch, Tag("<unknown>")],
    Discriminator(_function_tag),
]

AnyKind = TypeVar("AnyKind", bound=AnyPatch)


def placed(patches: Sequence[AnyKind], sets: Mapping[str, Sequence[AnyKind]]) -> list[tuple[str, AnyKind]]:
    """The patches with each reference to a set replaced by the set's, in place; each with where in the manifest it is.

    Raises:
        InvalidInput: there is no set of that name.
    """
    result: list[tuple[str, AnyKind]] = []
    for index, patch in enumerate(patches):
        if not isinstance(patch, PatchSetReference):
            result.append((f"patches[{index}] ({patch.type})", patch))
            continue
        name = patch.patchSetName or ""
        if name not in sets:
            raise InvalidInput(f"no patch set is named {shown(name)}", mend=did_you_mean(name, sets))
        result.extend(
            (f"patches[{index}] › patch set {name} › patches[{number}] ({each.type})", each)
            for number, each in enumerate(sets[name])
        )
    return result


def size_problems(lists: Iterable[Sequence[AnyPatch]], sets: Mapping[str, Sequence[AnyPatch]]) -> Iterator[Problem]:
    """What would take absurdly much memory once references to sets are replaced by what they stand for."""
    known = {name: _size(listed, {}) for name, listed in sets.items()}
    sizes = [_size(listed, known) for listed in lists]
    for most, what, size in (
        (MAX_STEPS, "patches and transforms", sum(steps for steps, _ in sizes)),
        (MAX_EXPRESSIONS, "regular expressions", sum(expressions for _, expressions in sizes)),
    ):
        if size > most:
            text = f"{size} {what} with patch sets in their places, more than {most}"
            yield Problem("Invalid", "resources", text, "split the composition")


def _size(listed: Sequence[AnyPatch], sets: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    """Steps and regular expressions."""
    steps = expressions = 0
    for patch in listed:
        more = sets.get(patch.patchSetName or "", (0, 0)) if isinstance(patch, PatchSetReference) else (0, 0)
        steps += 1 + len(patch.transforms) + more[0]
        expressions += sum(transform.expressions() for transform in patch.transforms) + more[1]
    return steps, expressions


def check_size(number: int, target: Object) -> None:
    """Weigh an object now and then while it is patched; `number` counts the patches.

    Raises:
        InvalidInput: it has become absurdly large.
    """
    if number % WEIGHED == WEIGHED - 1 and fieldpath.weight(target, MAX_SIZE) > MAX_SIZE:
        raise _too_large()


def _too_large() -> InvalidInput:
    return InvalidInput(f"the object grows beyond {MAX_SIZE} characters", mend="patch less into it")


# --- running -------------------------------------------------------------------------------------------


class Lazy:
    """A path that is compiled at once, and complained about only when it is used, as upstream does."""

    __slots__ = ("error", "path", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.error: PathSyntax | None = None
        try:
            self.path = fieldpath.parse(text)
        except PathSyntax as error:
            self.error = error
            self.path = Path(text, ())

    def get(self) -> Path:
        """The path.  Raises PathSyntax if the text is none."""
        if self.error is not None:
            raise PathSyntax(self.error.what, mend=self.error.mend)
        return self.path


def _found(obj: Object, path: Path) -> Json:
    """The value at a path; None where there is none, or no way to it."""
    try:
        value = fieldpath.find(obj, path)
    except fieldpath.WrongType:
        return None
    return None if value is MISSING else value


Reader = Callable[[Object], Json]  # MISSING where there is nothing


def _reader(source: Lazy) -> Reader:
    if source.error is not None:
        return lambda obj: source.get()
    path = source.path
    return lambda obj: fieldpath.find(obj, path)


def _combiner(combine: Combine, sources: Sequence[Lazy]) -> Reader:
    make = goformat.formatter(combine.string.fmt, len(sources)) if combine.string else None

    def read(obj: Object) -> Json:
        values = []
        for source in sources:
            value = fieldpath.find(obj, source.get())
            if value is MISSING:
                return MISSING
            values.append(value)
        if make is None:
            raise InvalidInput("combine.strategy string needs its settings", mend="set combine.string.fmt")
        return make(values)

    return read


class Compiled:
    """A patch that is ready to run."""

    __slots__ = (
        "_again",
        "_expands",
        "_from",
        "_how",
        "_normalises",
        "_options",
        "_policy",
        "_read",
        "_required",
        "_skips",
        "_sources",
        "_steps",
        "_target",
        "type",
    )

    def __init__(self, patch: AnyPatch, dialect: Dialect, sources: Sequence[Lazy], read: Reader, target: Lazy) -> None:
        combines = patch.combine is not None and isinstance(patch, _CombinePatch)
        options = patch.policy.options() if patch.policy else None
        self.type = patch.type
        self._read = read
        self._sources = sources
        self._from = () if combines else tuple(source.text for source in sources)
        self._required = patch.policy is not None and patch.policy.fromFieldPath == "Required"
        self._steps = tuple(
            (f"transforms[{index}] ({transform.type})", transform.prepared(dialect))
            for index, transform in enumerate(patch.transforms)
        )
        if patch.policy is not None and (unknown := list(patch.policy.unusable())):
            self._steps += (("policy", refusing(unknown)),)
        self._target = target
        self._expands = not combines and target.path.wild
        self._normalises = not combines and dialect == FUNCTION
        self._options = None if combines and dialect == NATIVE else options
        self._skips = dialect == FUNCTION and not self._required
        self._again = dialect == NATIVE and patch.policy is not None and patch.toFieldPath is not None
        self._policy = options
        self._how = "required" if self._required else ""
        if self._options is not None:
            words = "keeping what is there" if options and options.keep else "what comes wins"
            how = f"merged, {words}" + (", arrays appended" if options and options.append else "")
            self._how = f"{self._how}; {how}".removeprefix("; ")

    @property
    def is_required(self) -> bool:
        """Whether something must be there to be read."""
        return self._required

    def apply(self, source: Object, target: Object, told: Told | None = None) -> bool:
        """Copy the value from one object into the other; False if there is none and none is required.

        What happens on the way is written into `told`, if there is one.

        Raises:
            FieldNotFound: a required value is missing, or a wildcard meets a null (for the function that is as if
                there were no value).
            InvalidInput: anything else that does not fit.
        """
        if told is not None:
            self._tell_inputs(source, told)
        value = self._read(source)
        if value is MISSING:
            if self._required:
                raise self._missing(source)
            if told is not None:
                told.skipped = f"{self._missing(source).what}; it is optional"
            return False
        if told is not None and len(self._sources) > 1:
            told.step("combined", value)
        for where, step in self._steps:
            try:
                value = step(value)
            except GroundplaneError as error:
                error.where = (*self._from, where, *error.where)
                raise
            if told is not None:
                told.step(where, value)
        if self._normalises:
            value = fieldpath.normalised(value)
        try:
            written = self._write(value, target)
        except FieldNotFound as error:
            if not self._skips:
                raise
            if told is not None:
                told.skipped = error.what
            return False
        if told is not None:
            for path in written:
                if path.segments:
                    told.wrote(path.text, fieldpath.get(target, path))
                else:
                    told.skipped = "toFieldPath is empty, so that nothing is written"
        return True

    def begin(self, trace: Trace, place: Sequence[str], source: Object, target: Object) -> Told:
        """Start telling of this patch."""
        return trace.begin(
            place,
            type=self.type,
            sources=[source.text for source in self._sources],
            target=self._target.text,
            policy=self._how,
            between=(source, target),
        )

    def _tell_inputs(self, source: Object, told: Told) -> None:
        for lazy in self._sources:
            with contextlib.suppress(GroundplaneError):  # told when the patch itself meets it
                value = fieldpath.find(source, lazy.get())
                if value is not MISSING:
                    told.read(lazy.text, value)

    def reads(self, source: Object) -> list[Json]:
        """What it would copy of the source, before any transform; None where there is nothing."""
        return [_found(source, lazy.path) for lazy in self._sources if lazy.error is None]

    def merge_with(self, live: Object, desired: Object) -> None:
        """Let the policy decide once more, now against the object that exists.

        The native engine does this when it applies, for patches that have a policy and name their
        toFieldPath.  Where there is nothing to write, what is there stays.

        Raises:
            InvalidInput: the live object is of another shape there.
        """
        if not self._again or self._target.error is not None:
            return
        path = self._target.path
        value, there = _found(desired, path), _found(live, path)
        if value is not None:
            fieldpath.check_set(live, path)
            there = value if self._policy is None else fieldpath.merged(there, value, self._policy)
        if there is not None:
            fieldpath.set(desired, path, there)

    def _write(self, value: Json, target: Object) -> Sequence[Path]:
        """Write the value; the paths that it was written to."""
        path = self._target.get()
        paths: Sequence[Path] = (path,)
        if self._expands:
            paths = [fieldpath.parse(text) for text in fieldpath.expand(target, path)]
            if not paths:
                raise InvalidInput(
                    f"cannot expand toFieldPath {path.text}: nothing in the object fits it",
                    mend="give the base an element that it fits, or name one by its index",
                )
            if len(paths) > 1 and len(paths) * fieldpath.weight(value, MAX_SIZE) > MAX_SIZE:
                raise _too_large()
        for each in paths:
            fieldpath.merge_value(target, each, value, self._options)
        kind = target.get("kind")
        if not kind or not isinstance(kind, str):
            raise InvalidInput("the patched object has no kind", mend="let no patch write to kind")
        return paths

    def _missing(self, source: Object) -> FieldNotFound:
        for path in (lazy.path for lazy in self._sources):
            if fieldpath.find(source, path) is MISSING:
                error = fieldpath.not_found(source, path)
                error.mend = MEND_IN_STATUS if path.segments[:1] == ("status",) else _MEND_REQUIRED
                return error
        raise AssertionError("a value is missing, but from no path")
