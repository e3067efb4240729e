"""The rules of a schema (x-kubernetes-validations): which are asked of what, and how the API server words the answers.

`broken` is asked by `schema.py` once a value has the schema's shape; `mistakes` when a schema is declared.  A rule is CEL,
evaluated by `cel.py`; the few of our own kinds are known by their text as well (`RULES`), so that what is
immutable is so without any library, and at no cost.  What can't be checked is collected, never passed silently.

Source: Kubernetes 1.34, apiextensions-apiserver pkg/apiserver/schema/cel/{validation,compilation}.go and
pkg/apis/apiextensions/validation, apiserver pkg/cel/common/{schemas,valuesunstructured}.go and pkg/cel/escaping.go.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from groundplane.core import cel
from groundplane.core.objects import Json
from groundplane.core.structural import MISSING, Entry, Missing, Path, Structural, by_keys, keys_of, quoted, text
from groundplane.errors import SHOWN

# --- the rules that are known by their text

RULES: dict[str, Callable[[Any, Any], bool]] = {
    "self == oldSelf": lambda new, old: bool(new == old),  # as `View.value` has them
    "self.plural == self.plural.lowerAscii()": lambda new, old: _is_lower(new["plural"]),
    "!has(self.singular) || self.singular == self.singular.lowerAscii()": lambda new, old: _is_lower(
        new.get("singular", "")
    ),
    "(has(self.scope) ? self.scope : 'LegacyCluster') == (has(oldSelf.scope) ? oldSelf.scope : 'LegacyCluster')": (
        lambda new, old: new.get("scope", "LegacyCluster") == old.get("scope", "LegacyCluster")
    ),
    "!has(self.claimNames) || !has(self.scope) || self.scope == 'LegacyCluster'": lambda new, old: (
        "claimNames" not in new or new.get("scope", "LegacyCluster") == "LegacyCluster"
    ),
    "!has(self.connectionSecretKeys) || !has(self.scope) || self.scope == 'LegacyCluster'": lambda new, old: (
        "connectionSecretKeys" not in new or new.get("scope", "LegacyCluster") == "LegacyCluster"
    ),
    "(has(self.mode) ? self.mode != 'Pipeline' : has(self.resources)) || (has(self.pipeline) && size(self.pipeline) > 0)": (
        lambda new, old: (
            (new["mode"] != "Pipeline" if "mode" in new else "resources" in new) or bool(new.get("pipeline"))
        )
    ),
    "!has(self.source) || self.source != 'Secret' || has(self.secretRef)": lambda new, old: (
        new.get("source") != "Secret" or "secretRef" in new
    ),
    "has(self.name) != has(self.matchLabels)": lambda new, old: ("name" in new) != ("matchLabels" in new),
    "!self.contains('Environment')": lambda new, old: "Environment" not in new,
    "self == oldSelf || oldSelf != 'Active'": lambda new, old: new == old or old != "Active",
    "has(self.by) || has(self.reason)": lambda new, old: "by" in new or "reason" in new,
    "has(self.resourceRef) || has(self.resourceSelector)": lambda new, old: (
        "resourceRef" in new or "resourceSelector" in new
    ),
}
"""CEL rules by their exact text: (new, old) → whether it holds."""


def _is_lower(value: str) -> bool:
    return not re.search("[A-Z]", value)


# --- what is not checked


@dataclass
class Unchecked:
    """The rules that could not be asked, with the reason; every rule once, however many values it is for."""

    reasons: dict[tuple[str, str], str] = field(default_factory=dict)  # by place (items as [*]) and rule
    missing: dict[tuple[str, str], None] = field(default_factory=dict)  # for want of the library

    def add(self, path: Path, rule: str, why: cel.Unchecked) -> None:
        place = (_anywhere(path), " ".join(rule.split()))
        if why.missing:
            self.missing[place] = None
        else:
            self.reasons[place] = str(why)

    def told(self) -> Iterator[tuple[str, str]]:
        """What to tell a person, each with its mend; those that lack the library together."""
        if self.missing:
            named = "; ".join(f"{path}: {_cut(rule)}" for path, rule in sorted(self.missing))
            count = "a rule was" if len(self.missing) == 1 else f"{len(self.missing)} rules were"
            yield f"{count} not checked, as no CEL library is installed: {named}", cel.INSTALL
        for (path, rule), why in sorted(self.reasons.items()):
            yield f"{path}: rule {_cut(rule)} was not checked: {why}", "an API server checks it"


def _cut(rule: str) -> str:
    return rule if len(rule) <= SHOWN else f"{rule[: SHOWN - 1]}…"


def _anywhere(path: Path) -> str:
    steps: Path = None
    for step in _steps(path):
        steps = (steps, Entry("*") if isinstance(step, int | Entry) else step)
    return text(steps)


def _steps(path: Path) -> list[Any]:
    found: list[Any] = []
    while path is not None:
        path, step = path
        found.append(step)
    return found[::-1]


# --- types and values


def escaped(name: str) -> str:
    """A property's name in CEL; "" if it can't be written there.

    >>> escaped("a-b"), escaped("namespace"), escaped("a__b"), escaped("ä")
    ('a__dash__b', '__namespace__', 'a__underscores__b', '')
    """
    if name in _RESERVED:
        return f"__{name}__"
    if not _ESCAPABLE.fullmatch(name):
        return ""
    return _ESCAPED.sub(lambda found: _ESCAPES[found.group()], name)


_RESERVED = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_ESCAPED = re.compile(r"__|[-./]")
_ESCAPABLE = re.compile(r"[a-zA-Z_./-][a-zA-Z0-9_./-]*")
_SCALARS = {"boolean": "bool", "number": "double", "integer": "int", "string": "string"}
_FORMATS = {"byte": "bytes", "duration": "duration", "date": "timestamp", "date-time": "timestamp"}


class View:
    """How CEL sees the values of one schema: their type, their fields; made once for a schema's node."""

    def __init__(self, node: Structural, *, is_object: bool = False) -> None:
        """`is_object`: a whole Kubernetes object, whose kind and name are always seen."""
        self.node = node
        self.children: dict[str, View] = {}  # by a property's own name, whether it can be written in CEL or not
        self.fields: dict[str, View] = {}  # by the escaped name
        self.names: dict[str, str] = {}  # a property's own name → the escaped one
        self.items: View | None = None
        self.entries: View | None = None
        self.type: cel.Type | None = self._type(is_object)  # None: nothing of it is seen
        self.is_plain = self.type in ("int", "bool", "string", "dyn") and not node.properties
        self.rules = tuple(Rule(given, self) for given in node.rules)

    def _type(self, is_object: bool) -> cel.Type | None:
        node = self.node
        if node.int_or_string:
            return "dyn"
        if node.type == "array" and node.items is not None:
            self.items = View(node.items, is_object=node.items.embedded)
            return None if self.items.type is None else ("list", self.items.type)
        is_object = is_object and node.type in ("object", "")
        if node.type == "object" or is_object:
            if node.additional is not None and not is_object:
                self.entries = View(node.additional, is_object=node.additional.embedded)
                return None if self.entries.type is None else ("map", self.entries.type)
            children = dict(node.properties)
            if is_object:
                children |= _OBJECT.properties
            for name, child in children.items():
                seen = View(child, is_object=child.embedded)
                self.children[name] = seen
                if seen.type is not None and escaped(name):
                    self.names[name] = escaped(name)
                    self.fields[escaped(name)] = seen
                    if name in _RESERVED:  # of which the API server takes either spelling
                        self.fields[name] = seen
            return "dyn"
        if node.type == "string":
            return _FORMATS.get(node.openapi.get("format") or "", "string")
        return _SCALARS.get(node.type)

    def value(self, given: Json, *, timed: bool = False, like: Json = None) -> Any:
        """The value as CEL sees it; times are texts unless it is `timed`.

        `like` is what it will be compared with: lists that are equal in any order (sets, and lists with keys) get its order.
        """
        if given is None or self.is_plain:
            return given
        if isinstance(given, dict):
            other = like if isinstance(like, dict) else {}
            if self.entries is not None:
                one = self.entries
                return {name: one.value(item, timed=timed, like=other.get(name)) for name, item in given.items()}
            return self._fields(given, other)
        if isinstance(given, list) and self.items is not None:
            others: list[Json] = like if isinstance(like, list) else []
            if others and self.node.list_type in ("set", "map"):
                given, others = _in_order(self.node, given, others)
            others = others + [None] * (len(given) - len(others))
            return [self.items.value(item, timed=timed, like=other) for item, other in zip(given, others, strict=False)]
        if self.type == "double":
            return float(given)
        if self.type == "bytes":
            return base64.b64decode(given)
        if timed and self.type in ("timestamp", "duration"):
            return _time(given) if self.type == "timestamp" else _duration(given)
        return given

    def _fields(self, given: Mapping[str, Json], like: Mapping[str, Json]) -> dict[str, Any]:
        """Null is as good as absent.  What the schema keeps and says nothing of can be compared, and nothing else.

        A property without a type is there as well, for who asks beyond types: `has(dyn(self).name)`.
        """
        seen: dict[str, Any] = {}
        for name, item in given.items():
            if item is None:
                continue
            if name in self.names:
                seen[self.names[name]] = self.fields[self.names[name]].value(item, like=like.get(name))
                if name in _RESERVED:
                    seen[name] = seen[self.names[name]]
            elif self.node.preserve or name in self.node.properties:
                known = escaped(name) if name in self.node.properties else ""
                seen[known or f"{name} (kept)"] = json.dumps(item, sort_keys=True)
        return seen

    def find(self, names: Iterable[str]) -> View | None:
        """The view of a field within, by escaped names; None if the way leads through anything but fields and entries.

        Raises:
            KeyError: there is no such field.
        """
        found: View | None = self
        for name in names:
            if found is None or found.node.int_or_string:
                return None
            if found.entries is not None:
                found = found.entries
            elif found.type == "dyn":
                found = found.fields[name]
            else:
                return None
        return found


def _in_order(node: Structural, items: list[Json], wanted: list[Json]) -> tuple[list[Json], list[Json]]:
    """The items in the order of those wanted, further ones at the end; and what each is to be compared with."""
    there = by_keys(node, items)
    known = by_keys(node, wanted)
    order = [*(key for key in known if key in there), *(key for key in there if key not in known)]
    return [there[key] for key in order], [known.get(key) for key in order]


_OBJECT: Final = Structural(
    {
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "generateName": {"type": "string"}},
            },
        },
    }
)
_TIME_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}
_TERM = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h)")


def _time(given: str) -> datetime:
    found = datetime.fromisoformat(given.replace("t", "T").replace("z", "Z"))
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _duration(given: str) -> timedelta:
    if _TERM.sub("", given.lstrip("+-")) not in ("", "0"):
        raise ValueError(f"{quoted(given)} is a duration in words")
    seconds = sum(float(number) * _TIME_UNITS[unit] for number, unit in _TERM.findall(given))
    return timedelta(seconds=-seconds if given.startswith("-") else seconds)


# --- one rule


_CHAIN = re.compile(r"(?<![\w.])(self|oldSelf)((?:\s*\.\s*[A-Za-z_]\w*)+)(\s*\()?")
_HAS = re.compile(r"\bhas\s*\(\s*$")
_OLD = re.compile(r"(?<![\w.])oldSelf\b")


class Rule:
    """One entry of x-kubernetes-validations, and the view of what it is asked of."""

    def __init__(self, given: Mapping[str, Any], view: View) -> None:
        self.text: str = str(given.get("rule") or "").strip()
        self.message: str = str(given.get("message") or "").strip()
        self.message_expression: str = str(given.get("messageExpression") or "").strip()
        self.reason: str = str(given.get("reason") or "")
        self.field_path: str = str(given.get("fieldPath") or "").strip()
        self.is_optional: bool = bool(given.get("optionalOldSelf"))
        self.compares: bool = bool(_OLD.search(cel.masked(self.text)))
        self.known = None if self.is_optional else RULES.get(self.text)
        self._view = view

    def holds(self, new: Json, old: Json | Missing) -> bool:
        """Whether the rule holds.

        Raises:
            cel.Failure: it can't be answered, as in the API server.
            cel.Unchecked: it can't be answered here.
        """
        if self.known is not None:
            if self.text == "self == oldSelf" and new == old:
                return True  # as mostly, at no cost
            return self.known(self._view.value(new), self._view.value(_none(old), like=new))
        return self._evaluated(self.text, new, old) is True

    def detail(self, new: Json, old: Json | Missing) -> str:
        """Why it does not hold: what messageExpression gives if that is one line of text, else the message, else the rule."""
        fallback = self.message or f"failed rule: {self.text}"
        if not self.message_expression:
            return fallback
        try:
            said = self._evaluated(self.message_expression, new, old)
        except (cel.Failure, cel.Unchecked):
            return fallback
        said = said.strip() if isinstance(said, str) else ""
        return said if said and "\n" not in said and len(said.encode()) <= _LONGEST_MESSAGE else fallback

    def named(self) -> str:
        """How an error of the evaluation names the rule."""
        return self.message or self.text

    def _evaluated(self, expression: str, new: Json, old: Json | Missing) -> Any:
        view = self._view
        source, variables, times = self._source(expression, timed_only=True)
        is_compared = self.compares and not isinstance(old, Missing)
        try:
            data: dict[str, Any] = {"self": view.value(new, timed=True)}
            if self.is_optional:
                seen_old = view.value(_none(old), timed=True, like=new)
                data["__old"] = {} if seen_old is None else {"v": seen_old}
            elif is_compared:
                data["oldSelf"] = view.value(old, timed=True, like=new)
            for name, (root, names, seen) in times.items():
                found = _at(view, new if root == "self" else old, names)
                if found is not None:
                    data[name] = seen.value(found, timed=True)
        except (ValueError, OverflowError, TypeError, RecursionError) as error:
            raise cel.Unchecked(str(error)) from None
        return cel.compile(source, variables).evaluate(data)

    def _source(self, expression: str, *, timed_only: bool) -> tuple[str, cel.Types, dict[str, Any]]:
        """The expression with variables of a type of their own for fields: for times, or for all whose type is known.

        The library takes times only as variables, since a map's values have no type; and with variables of exact types
        it finds mistakes of types.  Not within `has()`, which wants the field itself.
        """
        code, view = cel.masked(expression), self._view
        whole = view.type if _is_exact(view.type) else "dyn"
        types: dict[str, cel.Type] = {"self": whole, "__old" if self.is_optional else "oldSelf": whole}
        chosen: dict[str, Any] = {}
        pieces: list[str] = []
        at = 0
        for found in _CHAIN.finditer(code):
            root, names = found[1], [name.strip() for name in found[2].split(".")[1:]]
            if found[3]:
                names = names[:-1]
            if not names or (root == "oldSelf" and self.is_optional) or _HAS.search(code[: found.start()]):
                continue
            try:
                seen = view.find(names)
            except KeyError:
                continue
            if seen is None or not (_is_timed(seen.type) if timed_only else _is_exact(seen.type)):
                continue
            name = f"__{root}_{len(chosen)}_{names[-1]}"
            chosen[name] = (root, names, seen)
            types[name] = seen.type
            rest = expression[found.start() : found.end()]
            tail = rest[rest.rindex(".") :] if found[3] else ""
            pieces += [expression[at : found.start()], name, tail]
            at = found.end()
        source = "".join([*pieces, expression[at:]])
        if self.is_optional:
            types["__old"] = "dyn"
            source = _optional(source)
        return source, tuple(sorted(types.items(), key=lambda item: item[0])), chosen

    def mistakes(self, where: str) -> Iterator[str]:
        """What the API server refuses the rule for, as far as it is certain."""
        if not self.text:
            yield f"{where}.rule: Required value: rule is not specified"
            return
        if self.known is not None:
            return
        if self._view.type is None:
            yield f"{where}.rule: Invalid value: {quoted(self.text)}: there is nothing of a known type to ask about"
            return
        for place, expression, gives in (
            ("rule", self.text, "bool"),
            ("messageExpression", self.message_expression, "string"),
        ):
            if expression:
                problems = [*self._unknown_fields(expression)]
                if not problems:
                    source, types, _ = self._source(expression, timed_only=False)
                    problems = [problem for problem in [cel.mistake(source, types, gives)] if problem]
                words = "messageExpression " if place == "messageExpression" else ""
                for problem in problems:
                    told = f"{words}{problem}" if problem.startswith("compilation") else problem
                    yield f"{where}.{place}: Invalid value: {quoted(expression)}: {told}"
        if "\n" in self.text and not self.message:
            yield f"{where}.message: Required value: message must be specified if rule contains line breaks"
        if self.field_path and not _leads_somewhere(self._view.node, self.field_path):
            yield f"{where}.fieldPath: Invalid value: {quoted(self.field_path)}: must be a valid path"
        if self.is_optional and not self.compares:
            yield f"{where}.optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"
        if self.reason and self.reason not in _REASONS:
            supported = ", ".join(quoted(reason) for reason in sorted(_REASONS))
            yield f"{where}.reason: Unsupported value: {quoted(self.reason)}: supported values: {supported}"

    def _unknown_fields(self, expression: str) -> Iterator[str]:
        for found in _CHAIN.finditer(cel.masked(expression)):
            names = [name.strip() for name in found[2].split(".")[1:]]
            names = names[:-1] if found[3] else names
            if found[1] == "oldSelf" and self.is_optional:
                continue
            for index in range(len(names)):
                try:
                    self._view.find(names[: index + 1])
                except KeyError:
                    yield f"compilation failed: undefined field '{names[index]}'"
                    break


def _none(value: Json | Missing) -> Json:
    return None if isinstance(value, Missing) else value


_LONGEST_MESSAGE = 5120  # bytes
_REASONS = {
    "FieldValueForbidden": "Forbidden: {detail}",
    "FieldValueRequired": "Required value: {detail}",
    "FieldValueDuplicate": "Duplicate value: {value}",
    "FieldValueInvalid": "Invalid value: {value}: {detail}",
}


def _optional(source: str) -> str:
    """oldSelf as an optional: the entry of a map that has one, or none."""
    code = cel.masked(source)
    for found in reversed([*_OLD.finditer(code)]):
        source = f"{source[: found.start()]}__old.?v{source[found.end() :]}"
    return source


def _is_exact(type_: cel.Type) -> bool:
    return _is_exact(type_[1]) if isinstance(type_, tuple) else type_ not in (None, "dyn")


def _is_timed(type_: cel.Type) -> bool:
    return _is_timed(type_[1]) if isinstance(type_, tuple) else type_ in ("timestamp", "duration")


def _at(view: View, value: Any, names: Iterable[str]) -> Any:
    for name in names:
        own = next((own for own, escaped_ in view.names.items() if escaped_ == name), name)
        if not isinstance(value, dict) or own not in value:
            return None
        value = value[own]
        view = view.fields.get(name) or view.entries or view
    return value


# --- the rules of a value


def broken(
    node: Structural, value: Json, old: Json | Missing, add: Callable[[Path, str, str], None], unchecked: Unchecked
) -> None:
    """Ask every rule of a schema about a value (with `old`, an update of it), and `add` what is broken: path, problem, mend."""
    _ask(_Question(view_of(node), value, old, False, None, add, unchecked))


def view_of(node: Structural) -> View:
    """The view of a whole object's schema; kept with it."""
    if node.view is None:
        node.view = View(node, is_object=True)
    found: View = node.view
    return found


@dataclass(frozen=True)
class _Question:
    """The rules of one part of a schema, asked about one value."""

    view: View
    value: Json
    old: Json | Missing
    settled: bool
    """The value, or the nearest part around it that can be compared, is as it was: only rules that compare are asked.

    So an object stays writable when its schema has become stricter.
    """
    path: Path
    add: Callable[[Path, str, str], None]
    unchecked: Unchecked

    def within(self, view: View, value: Json, old: Json | Missing, step: str | int | Entry) -> _Question:
        """The same about a member of the value."""
        return replace(self, view=view, value=value, old=old, path=(self.path, step))


def _ask(asked: _Question) -> None:
    view, value, old, node = asked.view, asked.value, asked.old, asked.view.node
    if value is None or not node.ruled:
        return
    if not isinstance(old, Missing):
        asked = replace(asked, settled=old == value)
    if asked.settled and not node.compares:
        return
    for rule in view.rules:
        _ask_rule(rule, asked)
    if isinstance(value, dict):
        before = old if isinstance(old, dict) else {}
        for name, item in value.items():
            child = view.entries if view.entries is not None else view.children.get(name)
            if child is not None:
                step = Entry(name) if view.entries is not None else name
                _ask(asked.within(child, item, before.get(name, MISSING), step))
    elif isinstance(value, list) and view.items is not None and view.items.node.ruled:
        earlier = by_keys(node, old) if node.list_type == "map" and isinstance(old, list) else {}
        for index, item in enumerate(value):
            then = earlier.get(keys_of(node, item), MISSING) if earlier else MISSING
            _ask(asked.within(view.items, item, then, index))


def _ask_rule(rule: Rule, asked: _Question) -> None:
    value, old, path = asked.value, asked.old, asked.path
    if not rule.text or (asked.settled and not rule.compares):
        return
    if rule.compares and (isinstance(old, Missing) or old is None) and not rule.is_optional:
        return
    shown = quoted(asked.view.node.type)
    try:
        if rule.holds(value, old):
            return
    except cel.Failure as failure:
        asked.add(path, f"Invalid value: {shown}: {failure} evaluating rule: {rule.named()}", "")
        return
    except cel.Unchecked as why:
        asked.unchecked.add(path, rule.text, why)
        return
    detail = rule.detail(value, old)
    words = _REASONS.get(rule.reason, _REASONS["FieldValueInvalid"]).format(value=shown, detail=detail)
    asked.add(_below(path, rule.field_path), words, _mend(rule))


def _mend(rule: Rule) -> str:
    return "leave it as it was, or make a new object" if rule.text == "self == oldSelf" else ""


_STEP = re.compile(r"\.([^.\[\]]+)|\['((?:\\.|[^'\\])*)'\]")


def _below(path: Path, field_path: str) -> Path:
    """The path with a rule's `fieldPath` added: `.a['b']`, a JSON path of names only."""
    for found in _STEP.finditer(field_path):
        path = (path, found[1] or re.sub(r"\\(.)", r"\1", found[2]))
    return path


def _leads_somewhere(node: Structural, field_path: str) -> bool:
    at = 0
    while at < len(field_path):
        found = _STEP.match(field_path, at)
        child = node.properties.get(found[1] or found[2]) or node.additional if found else None
        if found is None or child is None:
            return False
        node, at = child, found.end()
    return True


# --- the rules of a schema


def mistakes(node: Structural, where: str) -> Iterator[str]:
    """What the API server refuses the rules in an object's schema for: not compiled, unknown fields, wrong types.

    Said only where it is certain; what is wrong with an expression only if there is the library.
    """
    if node.ruled:
        yield from _mistakes(view_of(node), where, "")


def _mistakes(view: View, where: str, loose: str) -> Iterator[str]:
    """`loose` is the place of the list around it whose items can't be told apart from one version to the next."""
    if not view.node.ruled:
        return
    for index, rule in enumerate(view.rules):
        place = f"{where}.x-kubernetes-validations[{index}]"
        yield from rule.mistakes(place)
        if loose and rule.compares:
            yield (
                f"{place}.rule: Invalid value: {quoted(rule.text)}: oldSelf cannot be used on the uncorrelatable portion "
                f"of the schema within {loose}"
            )
    for name, child in view.children.items():
        yield from _mistakes(child, f"{where}.properties[{name}]", loose)
    if view.entries is not None:
        yield from _mistakes(view.entries, f"{where}.additionalProperties", loose)
    if view.items is not None:
        within = loose or ("" if view.node.list_type == "map" else where)
        yield from _mistakes(view.items, f"{where}.items", within)
