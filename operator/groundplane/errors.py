"""Every deliberate error: what is wrong, where, and the mend.

`str()` is one stable line (no time, no random id, lists sorted), because it becomes a condition.
The thrower knows *what*; callers add *where* with `at`, and the event reason with `stage`.
The class decides the fate, in `runtime/engine.py` alone.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

SHOWN = 120  # characters of a user's value that an error quotes
LISTED = 20  # known words that a mend lists


class Awaited(NamedTuple):
    """What an error waits for: an object by name, those with some labels, or, where neither is known, any of the kind."""

    group: str
    kind: str
    namespace: str = ""  # "": any
    name: str = ""
    labels: tuple[tuple[str, str], ...] = ()  # all of them
    served: bool = False  # not an object: that the kind is served at all, or served differently


def mending(mend: str) -> str:
    """A mend as a sentence.

    >>> mending("rename one of them"), mending("did you mean a?")
    ('Mend: rename one of them.', 'Mend: did you mean a?')
    """
    mend = mend.rstrip(".")
    return f"Mend: {mend}{'' if mend.endswith('?') else '.'}"


class GroundplaneError(Exception):
    """An error that somebody meant: `what` is wrong, `where`, and the `mend`.

    `on` names what may end it by changing: it is tried again then, at once.
    """

    on: tuple[Awaited, ...] = ()
    after: float | None = None  # seconds until it is worth another try, if that is known

    def __init__(self, what: str, *, mend: str = "", where: Iterable[str] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.mend = mend
        self.where: tuple[str, ...] = tuple(where)
        self.reason: str | None = None  # of the event; the outermost stage that has not been overruled
        self.prefix: str = ""  # the stages' words: "cannot compose resources"
        self.told: str = ""  # what the condition says in its place, beside an event that has it
        self.conditions: tuple[Any, ...] = ()  # further `Condition`s to set with it: Ready=Creating

    @property
    def without_mend(self) -> str:
        """Where and what, for who shows the mend apart."""
        return ": ".join(part for part in (self.prefix, " › ".join(self.where), self.what) if part)

    def __str__(self) -> str:
        text = self.without_mend
        if not self.mend:
            return text
        return f"{text.rstrip('.')}. {mending(self.mend)}"


class InvalidInput(GroundplaneError):
    """What a user wrote can't work; waits for an edit of it (and a slow retry).

    `field` is the path of what is wrong, in the object that `where` names first, where that is known.
    """

    field: str = ""


class Required(InvalidInput):
    """A field that must be set, and is not: what is rendered later may set it."""


class Rejected(InvalidInput):
    """The API server refused an object as invalid (422); `field` is the path of the first value that is refused, where that is known."""

    def __init__(self, what: str, *, mend: str = "", where: Iterable[str] = (), field: str = "") -> None:
        super().__init__(what, mend=mend, where=where)
        self.field = field


class Misshapen(Rejected):
    """The API server could not read an object as one of its kind, and answers as if it were its own mistake (500).

    It is the user's or ours; or it comes early, for a kind gains fields by and by. So it is tried again soon.
    """


class TooDeep(InvalidInput):
    """An object that is nested too deep to be worked with; `object` is what is left of it: metadata, and shallow fields."""

    def __init__(self, what: str, *, obj: dict[str, Any], mend: str) -> None:
        super().__init__(what, mend=mend)
        self.object = obj


class Waiting(GroundplaneError):
    """Early, not wrong: something else must happen first.  Comes back without noise."""

    def __init__(
        self,
        what: str,
        *,
        mend: str = "",
        where: Iterable[str] = (),
        on: Iterable[Awaited] = (),
        after: float | None = None,
    ) -> None:
        super().__init__(what, mend=mend, where=where)
        self.on = tuple(on)
        self.after = after


class InUse(Waiting):
    """A usage keeps the object from being deleted; tried again when the object changes, and after a backoff."""


class Conflict(GroundplaneError):
    """Somebody wrote the object in between (409); retried silently with a fresh read."""


class AlreadyExists(GroundplaneError):
    """A create met an object of that name."""


class NotFound(GroundplaneError):
    """The object that a write was meant for is not there."""


class NoSuchKind(GroundplaneError):
    """The cluster does not serve this kind: no CustomResourceDefinition, or not yet established."""

    on: tuple[Awaited, ...] = (Awaited("apiextensions.k8s.io", "CustomResourceDefinition"),)


class NotLeader(GroundplaneError):
    """Another replica may be writing: nothing is written, and the work is the leader's."""


class Denied(GroundplaneError):
    """Credentials or permissions do not suffice; backs off long."""

    fresh = False  # a right that AWS denies, where a role or policy takes seconds to be known; never credentials


class Unavailable(GroundplaneError):
    """The other side is down, slow or confused (5xx, connection lost); backs off."""

    unsent = False  # whether nothing that changes anything was sent: whatever was begun has made nothing


class Throttled(Unavailable):
    """The other side asks for fewer calls."""

    after: float

    def __init__(self, what: str, *, after: float = 5.0, mend: str = "") -> None:
        super().__init__(what, mend=mend)
        self.after = after


class Busy(Throttled):
    """Held back by ourselves, for the sake of others: nothing is wrong, and nothing is told unless it lasts."""

    line = "its turn to call AWS has not come: others of the account are before it, or AWS asks for fewer calls"  # is told then


@contextmanager
def at(*where: str) -> Iterator[None]:
    """Add where it happened to any deliberate error that passes.

    >>> try:
    ...     with at("Composition db", "resource instance"):
    ...         raise InvalidInput('no entry for "xl" in the map', mend="add it")
    ... except InvalidInput as error:
    ...     print(error)
    Composition db › resource instance: no entry for "xl" in the map. Mend: add it.
    """
    try:
        yield
    except GroundplaneError as error:
        error.where = (*where, *error.where)
        raise


@contextmanager
def stage(reason: str, prefix: str = "") -> Iterator[None]:
    """Name the event `reason` under which an error inside is reported, and prefix its text.

    The innermost reason stays; prefixes accumulate outwards, as upstream wraps its errors.
    """
    try:
        yield
    except GroundplaneError as error:
        error.reason = error.reason or reason
        error.prefix = ": ".join(part for part in (prefix, error.prefix) if part)
        raise


def _whole(value: object) -> object:
    """The value with whole numbers as integers, as far as JavaScript's are exact."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return value


def shown(value: object) -> str:
    """Quote a user's value for an error text, shortened.  Never pass a secret.

    A number that is whole is written as such, however it is kept.

    >>> shown("xl"), shown({"seconds": 1209600.0})
    ('"xl"', '{"seconds": 1209600}')
    """
    import json

    try:
        text = json.dumps(_whole(value), ensure_ascii=False, sort_keys=True)
    except (TypeError, ValueError):
        text = str(value)
    except RecursionError:
        text = f"a {type(value).__name__} that is nested very deep"
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"


def clipped(text: str, most: int) -> str:
    """The text, or its beginning, which says that it was cut.  What others say may have any length.

    >>> clipped("short", 40), clipped("x" * 100, 40)
    ('short', 'xxxxxxxxxx… (cut: 100 characters in all)')
    """
    if len(text) <= most:
        return text
    end = f"… (cut: {len(text)} characters in all)"
    return text[: most - len(end)] + end


def counted(number: int, one: str, many: str) -> str:
    """So many of something, in words that agree with their number.

    >>> counted(1, "object has", "objects have"), counted(0, "object has", "objects have")
    ('1 object has', '0 objects have')
    """
    return f"{number} {one if number == 1 else many}"


def with_article(kind: str) -> str:
    """
    >>> with_article("InternetGateway"), with_article("User"), with_article("VPC")
    ('an InternetGateway', 'a User', 'a VPC')
    """
    return f"an {kind}" if kind[:1] in tuple("AEIO") else f"a {kind}"


def nearest(word: str, known: Iterable[str]) -> str:
    """The known word that a misspelt one is most like; empty if it is like none.

    >>> nearest("Instanc", ["Instance", "SubnetGroup"]), nearest("Queue", ["Instance", "SubnetGroup"])
    ('Instance', '')
    """
    import difflib

    if len(word) > SHOWN:  # comparing is quadratic
        return ""
    return next(iter(difflib.get_close_matches(word, sorted(name for name in known if len(name) <= SHOWN), n=1)), "")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The mend for a misspelt word: the nearest known ones, or all of them.

    >>> did_you_mean("smal", ["small", "large"])
    'did you mean small?'
    """
    names = sorted(known)
    if near := nearest(word, names):
        return f"did you mean {near}?"
    listed = [name if len(name) <= SHOWN else f"{name[: SHOWN - 1]}…" for name in names[:LISTED]]
    rest = [f"… ({len(names) - LISTED} more)"] if len(names) > LISTED else []
    return f"use one of: {', '.join([*listed, *rest])}" if names else ""


_BESIDE = frozenset(
    {"writeConnectionSecretToRef", "providerConfigRef", "deletionPolicy", "managementPolicies", "initProvider"}
)


def field_meant(word: str, known: Iterable[str], *, parent: str = "") -> str:
    """The mend for a field that its parent has not: a Secret is referred to, some stand beside forProvider; else as `did_you_mean`.

    >>> field_meant("masterPassword", ["manageMasterUserPassword", "passwordSecretRef"])
    'did you mean passwordSecretRef?'
    """
    names = list(known)
    if parent in ("forProvider", "initProvider") and word in _BESIDE:
        return f"write it one level up, in spec, beside {parent}"
    end = "SecretRef"
    secret = [name for name in names if name.endswith(end) and word.lower().endswith(name.removesuffix(end).lower())]
    return f"did you mean {secret[0]}?" if len(secret) == 1 else did_you_mean(word, names)
