"""How `groundplane validate` tells what it found: text as upstream's, JSON and YAML, SARIF, and commands for GitHub's log.

Text begins each line as upstream does, then adds the mend and the place.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from groundplane import __version__
from groundplane.cli import github
from groundplane.cli.documents import Document, Mistake, Place
from groundplane.core import providers
from groundplane.core.objects import Json, group_of, meta
from groundplane.core.validation.findings import Finding, Verdict
from groundplane.errors import mending

WORDS = {  # of lines in text, by type
    "schema": "schema validation error",
    "unknownField": "schema validation error",
    "cel": "CEL validation error",
    "metadata": "metadata error",
    "definition": "definition error",
    "composition": "composition error",
    "patch": "patch error",
    "render": "render error",
    "immutable": "immutable field",
    "breaking": "breaking change",
    "aws": "AWS error",
    "yaml": "YAML error",
}
SARIF = "https://json.schemastore.org/sarif-2.1.0.json"


@dataclass(frozen=True)
class Judged:
    """An object that was judged, and where it was written."""

    document: Document
    verdict: Verdict
    is_extension: bool = False  # others are judged by it; told only if something is wrong with it

    def place(self, finding: Finding | None = None) -> Place:
        if finding is None or not finding.field:
            return self.document.place(self.verdict.within)
        return self.document.place(finding.field, of_name=finding.type == "unknownField")

    def words(self, finding: Finding) -> str:
        """What begins a line of text; what a provider refuses begins with the provider: `PostgreSQL error`."""
        family = providers.of(group_of(str(self.verdict.object.get("apiVersion"))))
        if finding.type == "aws" and family and family.version:
            return f"{family.title} error"
        return WORDS[finding.type]

    @property
    def label(self) -> str:
        """How upstream names an object: `example.org/v1, Kind=XBucket, demo`."""
        found = self.verdict.object
        return f"{found.get('apiVersion')}, Kind={found.get('kind')}, {self.verdict.name}"

    @property
    def is_secret(self) -> bool:
        return self.verdict.object.get("kind") == "Secret"


@dataclass(frozen=True)
class Report:
    """All that was found."""

    judged: Sequence[Judged]
    mistakes: Sequence[Mistake]  # in files, as YAML
    strict: bool = False

    @cached_property
    def _counted(self) -> list[Judged]:
        return [each for each in self.judged if not each.is_extension or each.verdict.status == "invalid"]

    @property
    def missing(self) -> int:
        return sum(each.verdict.status == "missingSchema" for each in self._counted)

    @property
    def invalid(self) -> int:
        return sum(each.verdict.status == "invalid" for each in self._counted) + len(self.mistakes)

    @property
    def is_wrong(self) -> bool:
        return bool(self.invalid)

    def written(self, output: str, *, skip_success: bool = False) -> str:
        if output == "text":
            return "".join(f"{line}\n" for line in self._lines(skip_success=skip_success))
        if output == "github":
            return "".join(f"{line}\n" for line in self._github())
        document = self._sarif() if output == "sarif" else self._record()
        if output == "yaml":
            from groundplane.core import goyaml

            return goyaml.dumps(document)
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def findings(self) -> Iterator[tuple[str, Place, str]]:
        """All that is wrong, or might be: severity, place, words."""
        for mistake in self.mistakes:
            yield "error", mistake.place, _with_mend(mistake)
        for each in self._counted:
            name = f"{each.verdict.object.get('kind')} {each.verdict.name}"
            for finding in each.verdict.findings:
                level = "error" if self.strict else finding.severity
                yield level, each.place(finding), f"{name}: {finding.text}"

    # --- text -----------------------------------------------------------------------------------------------

    def _lines(self, *, skip_success: bool) -> Iterator[str]:
        for mistake in self.mistakes:
            yield f"[x] {WORDS['yaml']} {mistake.place} : {_with_mend(mistake)}"
        for each in self._counted:
            verdict = each.verdict
            for finding in verdict.findings:
                sign = "x" if finding.severity == "error" or self.strict else "!"
                yield f"[{sign}] {each.words(finding)} {each.label} : {finding.text} ({each.place(finding)})"
            for what, mend in verdict.unchecked:
                yield f"[{'x' if self.strict else '!'}] CEL rule not checked {each.label} : {what}. Mend: {mend}."
            if verdict.status == "missingSchema":
                yield f"[!] {self._unjudged(each)}"
            elif verdict.status != "invalid" and not skip_success:
                yield f"[✓] {each.label} validated successfully"
        total, good = (
            len(self._counted) + len(self.mistakes),
            len(self._counted) + len(self.mistakes) - self.missing - self.invalid,
        )
        yield f"Total {total} resources: {self.missing} missing schemas, {good} success cases, {self.invalid} failure cases"
        warnings, unchecked = self._softer
        if warnings or unchecked:
            yield f"Beside that: {_count(warnings, 'warning')}, {_count(unchecked, 'rule')} not checked"

    @property
    def _softer(self) -> tuple[int, int]:
        findings = [finding for each in self._counted for finding in each.verdict.findings]
        return (
            sum(finding.severity == "warning" for finding in findings),
            sum(len(each.verdict.unchecked) for each in self._counted),
        )

    def _unjudged(self, each: Judged) -> str:
        if each.verdict.broken:
            return f"not judged, for its definition {each.verdict.broken} is wrong: {each.label}"
        meant = f" ({each.verdict.meant})" if each.verdict.meant else ""
        return f"could not find CRD/XRD for: {_gvk(each.verdict)}{meant}"

    # --- GitHub ---------------------------------------------------------------------------------------------

    def _github(self) -> Iterator[str]:
        """Commands that GitHub shows beside the lines of a pull request."""
        for mistake in self.mistakes:
            yield github.command("error", mistake.place, "YAML error", _with_mend(mistake))
        for each in self._counted:
            name = f"{each.verdict.object.get('kind')} {each.verdict.name}"
            for finding in each.verdict.findings:
                level = "error" if self.strict else finding.severity
                yield github.command(level, each.place(finding), f"{name}: {each.words(finding)}", finding.text)
            for what, mend in each.verdict.unchecked:
                yield github.command(
                    "error" if self.strict else "warning",
                    each.place(),
                    f"{name}: CEL rule not checked",
                    f"{what}. Mend: {mend}.",
                )
            if each.verdict.status == "missingSchema":
                yield github.command(
                    "warning",
                    each.place(),
                    name,
                    self._unjudged(each),
                )

    # --- JSON ------------------------------------------------------------------------------------------------

    def _record(self) -> dict[str, Json]:
        warnings, unchecked = self._softer
        files: list[Json] = [
            {
                "apiVersion": "",
                "kind": "",
                "name": "",
                "namespace": "",
                "status": "invalid",
                "file": mistake.place.file,
                "errors": [_problem("yaml", "", mistake.message, mistake.mend, mistake.place)],
            }
            for mistake in self.mistakes
        ]
        return {
            "summary": {
                "total": len(self._counted) + len(self.mistakes),
                "valid": len(self._counted) + len(self.mistakes) - self.missing - self.invalid,
                "invalid": self.invalid,
                "missingSchemas": self.missing,
                "unchecked": unchecked,
                "warnings": warnings,
            },
            "resources": [*files, *map(self._resource, self._counted)],
        }

    def _resource(self, each: Judged) -> Json:
        verdict, place = each.verdict, each.place()
        errors: list[Json] = []
        for finding in verdict.findings:
            problem = _problem(finding.type, finding.field, finding.message, finding.mend, each.place(finding))
            problem["severity"] = "error" if self.strict else finding.severity
            value = _value(verdict, finding.field)
            if value is not None and not each.is_secret:
                problem["value"] = value
            errors.append(problem)
        for what, mend in verdict.unchecked:
            errors.append({**_problem("cel", "", what, mend, place), "severity": "error" if self.strict else "warning"})
        found: dict[str, Json] = {
            "apiVersion": str(verdict.object.get("apiVersion")),
            "kind": str(verdict.object.get("kind")),
            "name": verdict.name,
            "namespace": str(meta(verdict.object).get("namespace") or ""),
            "status": verdict.status,
            "file": place.file,
            "line": place.line,
        }
        return {**found, "errors": errors} if errors else found

    # --- SARIF -----------------------------------------------------------------------------------------------

    def _sarif(self) -> dict[str, Json]:
        results: list[Json] = [
            _result("yaml", "error", _with_mend(mistake), mistake.place) for mistake in self.mistakes
        ]
        for each in self._counted:
            for finding in each.verdict.findings:
                level = "error" if self.strict else finding.severity
                results.append(_result(finding.type, level, f"{each.label} : {finding.text}", each.place(finding)))
            if each.verdict.status == "missingSchema":
                results.append(_result("schema", "note", self._unjudged(each), each.place()))
        rules: list[Json] = [{"id": type_, "shortDescription": {"text": words}} for type_, words in WORDS.items()]
        driver = {"name": "groundplane validate", "version": __version__, "rules": rules}
        return {"$schema": SARIF, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}


def _gvk(verdict: Verdict) -> str:
    """As Go prints it: the core group is empty, but for its comma."""
    api_version = str(verdict.object.get("apiVersion"))
    shown = api_version if group_of(api_version) else f"/{api_version}"
    return f"{shown}, Kind={verdict.object.get('kind')}"


def _with_mend(mistake: Mistake) -> str:
    return f"{mistake.message}. {mending(mistake.mend)}" if mistake.mend else mistake.message


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _problem(type_: str, field: str, message: str, mend: str, place: Place) -> dict[str, Json]:
    return {
        "type": type_,
        "severity": "error",
        "field": field,
        "message": message,
        "mend": mend,
        "file": place.file,
        "line": place.line,
        "column": place.column,
    }


def _value(verdict: Verdict, path: str) -> Json:
    """The value of a field, if it is no object or list."""
    from groundplane.core import fieldpath
    from groundplane.errors import GroundplaneError

    try:
        found: Any = fieldpath.get(verdict.object, fieldpath.parse(path)) if path else None
    except GroundplaneError:
        return None
    return None if isinstance(found, dict | list) else found


def _result(rule: str, level: str, text: str, place: Place) -> Json:
    region = {"startLine": max(place.line, 1), **({"startColumn": place.column} if place.column else {})}
    location = {"physicalLocation": {"artifactLocation": {"uri": place.file}, "region": region}}
    return {"ruleId": rule, "level": level, "message": {"text": text}, "locations": [location]}
