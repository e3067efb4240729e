"""A small platform without a cloud: a Note becomes a ConfigMap.  And the command line, run in this process."""

from __future__ import annotations

import textwrap
from pathlib import Path

from click.testing import CliRunner, Result

from groundplane.cli.main import main

DEFINITION = """
apiVersion: apiextensions.crossplane.io/v1
kind: CompositeResourceDefinition
metadata: {name: xnotes.tests.example.com}
spec:
  group: tests.example.com
  names: {kind: XNote, plural: xnotes}
  claimNames: {kind: Note, plural: notes, shortNames: [nt]}
  versions:
  - name: v1
    served: true
    referenceable: true
    additionalPrinterColumns:
    - {name: Text, type: string, jsonPath: .spec.text}
    - {name: Length, type: integer, jsonPath: .spec.length, priority: 1}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [text]
            properties: {text: {type: string, maxLength: 20}, length: {type: integer}}
"""
COMPOSITION = """
apiVersion: apiextensions.crossplane.io/v1
kind: Composition
metadata: {name: notes}
spec:
  compositeTypeRef: {apiVersion: tests.example.com/v1, kind: XNote}
  resources:
  - name: map
    base: {apiVersion: v1, kind: ConfigMap, data: {by: groundplane}}
    readinessChecks: [{type: None}]
    patches:
    - {fromFieldPath: spec.claimRef.namespace, toFieldPath: metadata.namespace}
    - {fromFieldPath: spec.text, toFieldPath: data.text}
"""
CLAIM = """
apiVersion: tests.example.com/v1
kind: Note
metadata: {name: first, namespace: team, labels: {tier: gold}}
spec: {text: hello, length: 5}
"""
BROKEN = COMPOSITION.replace(
    "toFieldPath: data.text}", "toFieldPath: data.text, transforms: [{type: map, map: {hi: there}}]}"
)


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(textwrap.dedent(text))
    return folder


def groundplane(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments], catch_exceptions=False)
