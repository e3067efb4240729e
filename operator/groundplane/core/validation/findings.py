"""What a validation finds: one record for each thing that is wrong, and one verdict for each object.

The types and statuses are those of `crossplane resource validate -o json`, and more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from groundplane.core.naming import TEMPLATE_ANNOTATION
from groundplane.core.objects import Object, annotations_of, meta
from groundplane.errors import GroundplaneError

Severity = Literal["error", "warning"]
Type = Literal[
    "schema",
    "unknownField",
    "cel",
    "metadata",
    "definition",
    "composition",
    "patch",
    "render",
    "immutable",
    "breaking",
    "aws",
    "yaml",
]
Status = Literal["valid", "invalid", "missingSchema", "unchecked"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong, or doubtful."""

    type: Type
    message: str  # with its place, in upstream's words where upstream has some
    field: str = ""  # its path in the manifest, as messages write it; "" for the object as a whole
    mend: str = ""
    severity: Severity = "error"

    @property
    def text(self) -> str:
        """The message with its mend.

        >>> Finding(type="schema", message="spec.size: Required value", mend="write a string").text
        'spec.size: Required value. Mend: write a string.'
        """
        return str(GroundplaneError(self.message, mend=self.mend))


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How one object does."""

    object: Object
    status: Status
    findings: Sequence[Finding] = ()
    unchecked: Sequence[tuple[str, str]] = field(default=())  # rules that could not be asked, each with its mend
    meant: str = ""  # "did you mean …?", of a kind without a schema
    broken: str = ""  # of a kind without a schema: the name of its definition, which is wrong
    within: str = ""  # the path in the manifest, where it is a part of one: a pipeline step's input

    @property
    def name(self) -> str:
        """By what upstream calls it: its name, or the template's that it was made from."""
        return str(meta(self.object).get("name") or annotations_of(self.object).get(TEMPLATE_ANNOTATION) or "")

    @property
    def is_wrong(self) -> bool:
        return any(finding.severity == "error" for finding in self.findings)
