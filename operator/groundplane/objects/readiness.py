"""When an Object is ready: what its policy makes of the object that is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from groundplane.core import cel, conditions
from groundplane.core.conditions import Condition
from groundplane.core.objects import Object, status_of
from groundplane.errors import InvalidInput, clipped

WHERE = "spec.readiness"
LONGEST = 500  # characters that are told of what another cluster says
_TYPES: cel.Types = (("object", "dyn"),)


def check(readiness: Mapping[str, Any]) -> None:
    """Raise InvalidInput for a query that can't be asked."""
    if readiness.get("policy") != "DeriveFromCelQuery":
        return
    query = readiness.get("celQuery")
    if not query:
        raise InvalidInput("celQuery must be set if policy is DeriveFromCelQuery", mend="write one", where=(WHERE,))
    _compiled(str(query))


def of(readiness: Mapping[str, Any], live: Object, *, tells: bool = True) -> Condition:
    """The condition Ready of an Object whose object is as it should be; what a query fails at is told if it `tells`, for it repeats values."""
    match readiness.get("policy") or "SuccessfulCreate":
        case "DeriveFromObject":
            ready = conditions.find(live, "Ready")
            if ready and ready.get("status") == "True":
                return conditions.available()
            message = "condition Ready of the object is " + (
                clipped(str(ready.get("status")), LONGEST) if ready else "missing"
            )
            return conditions.unavailable(message)
        case "AllTrue":
            told = status_of(live).get("conditions")
            found = [each for each in told if isinstance(each, dict)] if isinstance(told, list) else []
            wrong = sorted(str(each.get("type")) for each in found if each.get("status") != "True")
            if found and not wrong:
                return conditions.available()
            return conditions.unavailable(
                f"conditions of the object that are not True: {clipped(', '.join(wrong), LONGEST)}"
                if wrong
                else "the object has no conditions"
            )
        case "DeriveFromCelQuery":
            return _asked(str(readiness.get("celQuery") or ""), live, tells)
    return conditions.available()


def _asked(query: str, live: Object, tells: bool) -> Condition:
    try:
        found = _compiled(query).evaluate({"object": live})
    except (cel.Failure, cel.Unchecked) as error:
        if not tells:
            return conditions.unavailable("celQuery fails: why is not told, for values of a Secret may be in it")
        return conditions.unavailable(clipped(f"celQuery: {error}", LONGEST))
    if found is True:
        return conditions.available()
    return conditions.unavailable("celQuery is false" if found is False else "celQuery gives no boolean")


def _compiled(query: str) -> cel.Expression:
    try:
        found = cel.compile(query, _TYPES)
    except cel.Unchecked as error:
        mend = cel.INSTALL if error.missing else "see the language at https://github.com/google/cel-spec"
        raise InvalidInput(f"celQuery: {error}", mend=mend, where=(WHERE,)) from error
    if found.gives not in ("bool", "dyn"):
        raise InvalidInput(f"celQuery gives {found.gives}, not bool", mend="compare it with something", where=(WHERE,))
    return found
