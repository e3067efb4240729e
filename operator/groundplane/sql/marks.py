"""Whose a thing is: a mark at the end of its comment in the server, with the object that stands for it.

Two objects for one thing would change it in turn, and one of them would drop what the other has made.  A name says nothing of that: objects of two
namespaces bear the same.  So what an object has made, or has adopted, bears its mark, as things in AWS bear tags.  What else the comment says stays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from groundplane.core.objects import Object, group_of, meta

_MARK = re.compile(r"\s*\[groundplane (\{[^\[\]]{0,2000}\})\]$")
_NAMES = ("crossplane-kind", "crossplane-namespace", "crossplane-name", "crossplane-uid")


def of(managed: Object) -> dict[str, str]:
    """The mark of an object: what the tags of things in AWS say."""
    kind = f"{managed['kind']}.{group_of(managed['apiVersion'])}".lower()
    metadata = meta(managed)
    found = (kind, metadata.get("namespace"), metadata["name"], metadata.get("uid"))
    return {name: str(value) for name, value in zip(_NAMES, found, strict=True) if value}


def read(comment: str) -> dict[str, str]:
    """The mark in a comment; {} where there is none.

    >>> read('mine [groundplane {"crossplane-uid": "1"}]'), read("mine"), read("[groundplane {]}]")
    ({'crossplane-uid': '1'}, {}, {})
    """
    found = _MARK.search(comment[-2100:])
    try:
        told = json.loads(found[1]) if found else {}
    except ValueError:
        return {}
    return {name: told[name] for name in _NAMES if isinstance(told.get(name), str)}


def written(comment: str, mark: Mapping[str, str]) -> str:
    """A comment with a mark, in place of what it had.

    >>> written("mine", {"crossplane-uid": "1"})
    'mine [groundplane {"crossplane-uid": "1"}]'
    """
    return f"{_MARK.sub('', comment)} [groundplane {json.dumps(dict(mark))}]".lstrip()
