"""Whose a thing is: a mark at the end of its comment in the server, with the object that stands for it.

Two objects for one thing would change it in turn, and one of them would drop what the other has made.  A name says nothing of that: objects of two
namespaces bear the same.  So what an object has made, or has adopted, bears its mark, as things in AWS bear tags.  What else the comment says stays.
What it was only pointed at bears its mark, too, which says so: that thing stays.  What is in a database is marked with the database's name, since a
database that is made by a template has all comments of that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from groundplane.core.objects import Object, group_of, meta

_MARK = re.compile(r"\s*\[groundplane (\{[^\[\]]{0,2000}\})\]$")
UID, FOUND, DATABASE = "crossplane-uid", "groundplane-found", "groundplane-database"
_WHO = ("crossplane-kind", "crossplane-namespace", "crossplane-name")
_NAMES = (*_WHO, UID, FOUND, DATABASE)


def of(managed: Object, *, database: str = "", found: bool = False) -> dict[str, str]:
    """The mark of an object: what the tags of things in AWS say; on what is in a database, on what was only found."""
    kind = f"{managed['kind']}.{group_of(managed['apiVersion'])}".lower()
    metadata = meta(managed)
    words = (kind, metadata.get("namespace"), metadata["name"], metadata.get("uid"), found and "true", database)
    return {name: str(value) for name, value in zip(_NAMES, words, strict=True) if value}


def names(mark: Mapping[str, str], managed: Object) -> bool:
    """Whether a mark names an object, in whatever life of it."""
    ours = of(managed)
    return all(mark.get(name) == ours.get(name) for name in _WHO)


def by_hand(managed: Object) -> str:
    """The mark with which an administrator says whose a thing is to be: of an object in any life."""
    return written("", {name: value for name, value in of(managed).items() if name in _WHO})


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
