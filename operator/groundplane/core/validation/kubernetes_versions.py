"""Which functions of CEL an API server of a version knows: it refuses a schema whose rules ask for later ones.

Source: k8s.io/apiserver v0.34.4, pkg/cel/environment/base.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from groundplane.core import cel
from groundplane.core.objects import Object, spec_of
from groundplane.core.validation.findings import Finding

OLDEST = 25  # the first minor version that asks rules by default

_NAME: Final = r"[A-Za-z_]\w*"  # of a variable
_SINCE: Final = tuple(
    (minor, re.compile(pattern))
    for minor, pattern in (
        (28, r"\.\s*\?\s*[A-Za-z_]|\[\s*\?|\{\s*\?|\boptional\s*\.\s*(?:of|none|ofNonZeroValue)\s*\("),
        (28, r"\.\s*(?:optMap|optFlatMap|orValue)\s*\(|(?<![.\w])(?:quantity|isQuantity)\s*\("),
        (
            29,
            r"(?<![.\w])(?:sets\s*\.\s*(?:contains|intersects|equivalent)|strings\s*\.\s*quote)\s*\(|\.\s*format\s*\(",
        ),
        (30, r"(?<![.\w])(?:ip|isIP|cidr|isCIDR|ip\s*\.\s*isCanonical)\s*\("),
        (31, r"(?<![.\w])format\s*\.\s*(?:named|[a-z]\w*)\s*\("),
        (32, rf"\.\s*(?:all|exists|exists_one|existsOne)\s*\(\s*{_NAME}\s*,\s*{_NAME}\s*,"),
        (32, r"\.\s*(?:transformList|transformMap|transformMapEntry)\s*\("),
        (33, r"(?<![.\w])(?:semver|isSemver)\s*\("),
        (34, r"\.\s*(?:slice|flatten|distinct|sort|sortBy)\s*\(|(?<![.\w])lists\s*\.\s*range\s*\("),
    )
)


def minor_of(text: str) -> int | None:
    """The minor version that a text names; None if it names none that has rules.

    >>> minor_of("1.30"), minor_of("v1.31.4"), minor_of("2.0"), minor_of("1.24")
    (30, 31, None, None)
    """
    found = re.fullmatch(r"v?1\.(\d{1,3})(?:\.\d+)?(?:[-+].*)?", text)
    return int(found[1]) if found and int(found[1]) >= OLDEST else None


def too_new(obj: Object, minor: int) -> Iterator[Finding]:
    """What the rules of a definition, or CustomResourceDefinition, ask for that Kubernetes 1.`minor` does not know."""
    versions = spec_of(obj).get("versions")
    for index, version in enumerate(versions if isinstance(versions, list) else ()):
        schema = version.get("schema") if isinstance(version, dict) else None
        openapi = schema.get("openAPIV3Schema") if isinstance(schema, dict) else None
        for place, text in _texts(openapi, f"spec.versions[{index}].schema.openAPIV3Schema"):
            code = cel.masked(text)
            for since, pattern in _SINCE:
                if since > minor and (found := pattern.search(code)):
                    asked = " ".join(found[0].split()).rstrip("(").strip()
                    yield Finding(
                        type="definition",
                        field=place,
                        message=f"{place}: Kubernetes 1.{minor} does not know `{asked}`, which came with 1.{since}",
                        mend="say it otherwise, or leave it to API servers of that version",
                    )


def _texts(openapi: Any, place: str) -> Iterator[tuple[str, str]]:
    """The expressions in a schema, with their places; what is no schema, others tell."""
    if isinstance(openapi, list):
        for index, each in enumerate(openapi):
            yield from _texts(each, f"{place}[{index}]")
    if not isinstance(openapi, Mapping):
        return
    rules = openapi.get("x-kubernetes-validations")
    for index, rule in enumerate(rules if isinstance(rules, list) else ()):
        for word in ("rule", "messageExpression"):
            if isinstance(rule, Mapping) and isinstance(rule.get(word), str):
                yield f"{place}.x-kubernetes-validations[{index}].{word}", rule[word]
    properties = openapi.get("properties")
    for name, child in properties.items() if isinstance(properties, Mapping) else ():
        yield from _texts(child, f"{place}.properties.{name}")
    for word in ("items", "additionalProperties", "allOf", "anyOf", "oneOf", "not"):
        yield from _texts(openapi.get(word), f"{place}.{word}")
