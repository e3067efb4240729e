"""What annotations ask of whoever reconciles an object: a look now, and looks in an interval of their own.

Source: crossplane-runtime v2, pkg/meta and pkg/reconciler/managed; Crossplane v2, internal/controller/apiextensions/composite.
"""

from __future__ import annotations

import re

from groundplane.core.objects import Object, annotations_of, status_of
from groundplane.errors import shown

REQUESTED = "crossplane.io/reconcile-requested-at"  # annotation; another value asks for another look
HANDLED = "lastHandledReconcileAt"  # of a status: the value that was answered last
INTERVAL = "crossplane.io/poll-interval"  # annotation: a Go duration
SHORTEST = 1.0  # seconds: upstream's --min-poll-interval

_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST = (2**63 - 1) / 1e9  # seconds in a Go duration


def asked(obj: Object) -> str:
    """The request that is not answered yet; "" if there is none."""
    found = annotations_of(obj).get(REQUESTED) or ""
    return "" if found == status_of(obj).get(HANDLED) else found


def unread_interval(obj: Object) -> str:
    """What is wrong with the interval that an object asks for; "" if nothing is, or it asks for none."""
    text = annotations_of(obj).get(INTERVAL)
    if text is None or interval(obj) is not None:
        return ""
    return f"annotation {INTERVAL} has no effect: {shown(text)} is no duration above zero. Mend: write it as 90s, 5m or 1h30m."


def interval(obj: Object) -> float | None:
    """Seconds between two looks at an object, if it says so itself.  What is no positive duration says nothing.

    >>> interval({"metadata": {"annotations": {"crossplane.io/poll-interval": "1m30s"}}})
    90.0
    >>> interval({"metadata": {"annotations": {"crossplane.io/poll-interval": "10ms"}}})
    1.0
    >>> interval({"metadata": {"annotations": {"crossplane.io/poll-interval": "often"}}})
    """
    text = annotations_of(obj).get(INTERVAL) or ""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text.removeprefix("+"):
        return None
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    return max(SHORTEST, seconds) if 0 < seconds <= _LONGEST else None
