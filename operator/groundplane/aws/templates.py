"""The templates of kind files, filled in: any text with a `$`, as `grammar.py` explains them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from groundplane.aws import convert
from groundplane.core.objects import Json

Lookup = Callable[[str], Json]  # the value of a name, None if it has none

VARIABLE = re.compile(r"\$(?:\{([^}]+)\}|([A-Za-z_][\w.]*))")
OPTIONAL = ","  # before a variable's name: it and the comma are left out together
ALTERNATIVE = re.compile(r"(?<![ |])\|(?![ |])")  # JMESPath's own `|` has blanks around it, its `||` is two


def arguments(value: Json, value_of: Lookup) -> Any:
    """Arguments of a call with their templates filled in; a member whose template has no value is left out."""
    if isinstance(value, Mapping):
        given = {key: arguments(entry, value_of) for key, entry in value.items()}
        return {key: entry for key, entry in given.items() if entry is not None}
    if isinstance(value, list):
        return [arguments(entry, value_of) for entry in value]
    return filled(value, value_of) if isinstance(value, str) and "$" in value else value


def filled(text: str, value_of: Lookup) -> Json:
    """The text with its variables; the value itself if the text is one variable; None if one has none.

    What one has nothing for but an empty alternative is empty: `/${spec.path|}`.

    >>> known = {"name": "orders", "spec.sizes": [1, 2]}.get
    >>> filled("arn:${name}/${spec.path|}", known), filled("$spec.sizes", known), filled("/$spec.path", known)
    ('arn:orders/', [1, 2], None)
    """
    whole = VARIABLE.fullmatch(text)
    if whole:
        return _variable(whole.group(1) or whole.group(2), value_of)
    missing = False

    def fill(match: re.Match[str]) -> str:
        nonlocal missing
        value = _variable(match.group(1) or match.group(2), value_of)
        missing = missing or value is None
        return convert.text(value)

    found = VARIABLE.sub(fill, text)
    return None if missing else found


def _variable(names: str, value_of: Lookup) -> Json:
    """The first of the names that has a value; behind a comma, with it or empty."""
    if names.startswith(OPTIONAL):
        value = _variable(names.removeprefix(OPTIONAL), value_of)
        return "" if value is None else OPTIONAL + convert.text(value)
    for name in ALTERNATIVE.split(names):
        value = value_of(name) if name else ""
        if value is not None:
            return value
    return None


def parts_of(format_: str, name: str) -> dict[str, str] | None:
    """The values of a template's variables in a text that it made; None if it can't have made it.

    >>> parts_of("${spec.role}/${spec.policyArn}", "orders/arn:aws:iam::aws:policy/Admin")
    {'spec.role': 'orders', 'spec.policyArn': 'arn:aws:iam::aws:policy/Admin'}
    >>> parts_of("${spec.bucket}${,spec.expectedBucketOwner}", "orders,123456789012")
    {'spec.bucket': 'orders'}
    """
    names, pattern, end = [], "", 0
    for variable in VARIABLE.finditer(format_):
        name_ = variable.group(1) or variable.group(2)
        if name_.startswith(OPTIONAL):  # which of several it is can't be told
            pattern += f"(?:{OPTIONAL}[^{OPTIONAL}]*)?"
        else:
            pattern += re.escape(format_[end : variable.start()]) + "(.+?)"
            names.append(name_)
        end = variable.end()
    found = re.fullmatch(pattern + re.escape(format_[end:]), name, re.DOTALL)
    return dict(zip(names, found.groups(), strict=True)) if found else None
