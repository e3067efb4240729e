"""A certificate with its key, and what was decided about one, as data."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from groundplane.core.function_sources import MADE
from groundplane.core.objects import Object, annotations_of

AUTHORITY, SERVER = "crossplane-root-ca", "crossplane-tls-server"  # the Secrets
BUNDLE, CERTIFICATE, KEY = "ca.crt", "tls.crt", "tls.key"  # their keys
LEFT = 3  # what has less than this part of its life left is renewed; an authority's third is longer than a certificate's life
_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Pair:
    """A certificate with its key, and the authorities by which it is known; all PEM."""

    certificate: bytes
    key: bytes = field(repr=False)
    bundle: bytes = b""
    begin: datetime = _NEVER
    until: datetime = _NEVER


@dataclass(frozen=True)
class Decision:
    """What to serve with; or which Secret can't be used, and why."""

    pair: Pair | None = None
    is_new: bool = False  # to be put into its Secret
    authority: Pair | None = None  # to be put into its own, before
    refused: str = ""
    why: str = ""

    def dumped(self) -> bytes:
        """As JSON, for another process of this machine: it has keys."""
        told = {"is_new": self.is_new, "refused": self.refused, "why": self.why}
        return orjson.dumps(told | {"pair": _dumped(self.pair), "authority": _dumped(self.authority)})

    @classmethod
    def loaded(cls, text: bytes) -> Decision:
        told: dict[str, Any] = orjson.loads(text)
        return cls(**told | {"pair": _loaded(told["pair"]), "authority": _loaded(told["authority"])})


def _dumped(pair: Pair | None) -> list[str] | None:
    if pair is None:
        return None
    parts = (pair.certificate, pair.key, pair.bundle)
    return [*(base64.b64encode(part).decode() for part in parts), pair.begin.isoformat(), pair.until.isoformat()]


def _loaded(told: list[str] | None) -> Pair | None:
    if told is None:
        return None
    *parts, begin, until = told
    certificate, key, bundle = map(base64.b64decode, parts)
    return Pair(certificate, key, bundle, datetime.fromisoformat(begin), datetime.fromisoformat(until))


def is_ours(secret: Object) -> bool:
    """Whether the operator has made it."""
    return annotations_of(secret).get(MADE) == "true"


def is_due(pair: Pair, now: datetime) -> bool:
    """Whether it is time to make another one: it will soon end, or has yet to begin, for a clock that was ahead has made it."""
    return now < pair.begin or pair.until - now < (pair.until - pair.begin) / LEFT


def raw(secret: Object | None) -> tuple[bytes, ...]:
    """Certificate, key and bundle as a Secret has them; empty what it has not."""
    data = (secret or {}).get("data") or {}
    try:
        return tuple(base64.b64decode(data.get(name) or "") for name in (CERTIFICATE, KEY, BUNDLE))
    except (ValueError, TypeError, AttributeError):
        return (b"", b"", b"")
