"""What Go's text/template made of single templates, asked of ours: a part of `tests.conformance`.

The phase in which a template fails, and the names of the functions that fail, are the contract; the words are Go's.
"""

from __future__ import annotations

import re
from typing import Any

from groundplane.core import fieldpath, gotemplate
from groundplane.core.gotemplate.requests import FUNCTIONS
from groundplane.errors import InvalidInput

Case = dict[str, Any]


def problems_of(case: Case) -> list[str]:
    """Where our answer is not Go's, as texts."""
    wanted = {name: case[name] for name in ("output", "phase", "error") if name in case}
    got = answer(case)
    if "output" in wanted or "output" in got:
        return [] if wanted == got else [f"wanted {wanted}, got {got}"]
    if got["phase"] != wanted["phase"] or failing(got["error"]) != failing(wanted["error"]):
        return [f"wanted {wanted}, got {got}"]
    return []


def answer(case: Case) -> Case:
    """What ours makes of it."""
    options = case.get("options") or ()
    if problem := gotemplate.options_problem(options)[0]:
        return {"phase": "options", "error": problem}
    delims = tuple(case.get("delims") or ("", ""))
    try:
        template = gotemplate.compile(
            case["template"], name="manifests", functions=FUNCTIONS, delims=(delims[0], delims[1]), options=options
        )
    except InvalidInput as error:
        return {"phase": "parse", "error": error.what}
    data = case["data"]
    try:
        output = template.render(gotemplate.values.INVALID if data is None else fieldpath.copied(data))
        return {"output": fieldpath.unicode_only(output)}
    except InvalidInput as error:
        return {"phase": "execute", "error": error.what}


def failing(error: str) -> list[str]:
    """The functions that an error names."""
    return re.findall(r"error calling (\w+)|number of args for (\w+)", error)
