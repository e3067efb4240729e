"""What of chart and docs is made from the code: rights, the settings in the schema, the tables of values, metrics and flags, the AWS kinds, the commands.  `make chart` writes it.

`python -m tests.chart.generate --check` ends with an error if a file is stale.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import typing
from pathlib import Path

import yaml

from groundplane.cli import upstream_flags
from groundplane.core import goyaml
from groundplane.runtime import metrics, rights
from groundplane.runtime.settings import POSITIVE, Settings
from tests.chart import aws_pages, command_pages

CHART = Path(__file__).resolve().parents[2] / "charts" / "groundplane"
# What the chart sets itself: from the Pod, from `metrics.port`, `leaderElection`, `crds`, `provider`, `function`, `objects`, `rbac` and `webhooks`.
SET = {
    "kubeconfig",
    "context",
    "namespace",
    "no_leader_election",
    "health_port",
    "health_host",
    "crds",
    "activations",
    "rbac",
    "secret_namespaces",
    "webhooks",
    "webhook_port",
    "webhook_host",
    "webhook_url",
    "webhook_owner",
    "function_runtime",
    "objects_identity",
}
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}
METRICS = CHART.parents[1] / "docs" / "metrics.md"
METRICS_MARK = "<!-- metrics: made by `make chart` from operator/groundplane/runtime/metrics.py -->\n"
INSTALL = CHART.parents[1] / "docs" / "install.md"
FLAGS_MARK = "<!-- flags: made by `make chart` from operator/groundplane/cli/upstream_flags.py -->\n"
MARK = "<!-- values: made by `make chart` from values.yaml -->\n"


def files() -> dict[Path, str]:
    """The generated files and what they should hold."""
    return {
        CHART / "files" / "rights.yaml": rights_file(),
        CHART / "values.schema.json": schema((CHART / "values.schema.json").read_text()),
        METRICS: metrics_page(METRICS.read_text()),
        INSTALL: flags_page(INSTALL.read_text()),
        CHART / "README.md": readme((CHART / "README.md").read_text(), (CHART / "values.yaml").read_text()),
        **aws_pages.pages(),
        **command_pages.pages(),
    }


def rights_file() -> str:
    """The table of rights as the templates read it."""
    concerns = [
        {"name": each.name, "why": each.why, "rules": policies(each.rules)}
        | ({"inNamespace": True} if each.in_namespace else {})
        | ({"mode": each.mode} if each.mode else {})
        | ({"part": each.part} if each.part else {})
        | ({"confinedBy": each.confined_by} if each.confined_by else {})
        for each in rights.CONCERNS
    ]
    managed = {
        rule.group: list(rule.resources) for rule in rights.managed() if not any("/" in each for each in rule.resources)
    }
    people = {who: policies(rules) for who, rules in rights.PEOPLE.items()}
    return "# Made by `make chart` from operator/groundplane/runtime/rights.py.  Do not edit.\n" + goyaml.dumps(
        {"concerns": concerns, "hold": list(rights.HOLD), "managed": managed, "people": people}
    )


def policies(rules: typing.Iterable[rights.Rule]) -> list[dict]:
    return [rule.policy for rule in rules]


def schema(before: str) -> str:
    """The schema with exactly the operator's settings."""
    whole, types = json.loads(before), typing.get_type_hints(Settings)
    properties = {}
    for field in dataclasses.fields(Settings):
        type_ = types[field.name]
        if field.name not in SET:
            choice = {"enum": list(typing.get_args(type_))} if typing.get_args(type_) else {"type": TYPES[type_]}
            bound = {"exclusiveMinimum": 0} if field.name in POSITIVE else {}
            properties[camel(field.name)] = {"description": field.metadata["help"]} | choice | bound
    whole["properties"]["settings"]["properties"] = properties
    return json.dumps(whole, indent=2) + "\n"


def declared() -> dict[str, tuple[str, tuple[str, ...], str]]:
    """Type, labels and explanation of each metric, by the name that it is scraped under."""
    found = {}
    for metric in vars(metrics).values():
        if type(metric).__module__ == "prometheus_client.metrics":
            name = metric._name + ("_total" if metric._type == "counter" else "")
            found[name] = metric._type, tuple(metric._labelnames), metric._documentation
    return found


def metrics_page(before: str) -> str:
    """The page with a row for each metric."""
    rows = ["| metric | type | labels | |", "|---|---|---|---|"]
    for name, (type_, labels, explanation) in sorted(declared().items()):
        rows.append(f"| `{name}` | {type_} | {' '.join(f'`{label}`' for label in labels)} | {explanation} |")
    return before.partition(METRICS_MARK)[0] + METRICS_MARK + "\n" + "\n".join(rows) + "\n"


def flags_page(before: str) -> str:
    """The page with a row for what flags of Crossplane's mean."""
    meanings: dict[str, list[str]] = {}
    for flag in upstream_flags.FLAGS:
        meanings.setdefault(flag.means, []).append(f"`--{flag.name}`")
    rows = ["| flag | here |", "|---|---|"]
    rows += [f"| {' '.join(names)} | {means} |" for means, names in meanings.items()]
    return before.partition(FLAGS_MARK)[0] + FLAGS_MARK + "\n" + "\n".join(rows) + "\n"


def camel(name: str) -> str:
    return re.sub("_([a-z])", lambda found: found[1].upper(), name)


def readme(before: str, values: str) -> str:
    """The README with a row for each value that has a comment with two dashes."""
    rows = ["| value | default | |", "|---|---|---|"]
    for path, default, comment in documented(values):
        rows.append(f"| `{path}` | `{json.dumps(default)}` | {comment} |")
    return before.partition(MARK)[0] + MARK + "\n" + "\n".join(rows) + "\n"


def documented(values: str) -> list[tuple[str, object, str]]:
    """Path, default and comment of each value that is documented."""
    whole, found, path, comment = yaml.safe_load(values), [], [], ""
    for line in values.splitlines():
        if dashes := re.match(r" *# -- (.*)", line):
            comment = dashes[1]
        elif key := re.match(r"( *)([A-Za-z]+):", line):
            path[len(key[1]) // 2 :] = [key[2]]
            if comment:
                default = whole
                for part in path:
                    default = default[part]
                found.append((".".join(path), default, comment))
                comment = ""
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.chart.generate", description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only look whether the files are fresh")
    only_check, wanted = parser.parse_args().check, files()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    gone = [path for path in aws_pages.FOLDER.glob("*.md") if path not in wanted]
    if (stale or gone) and only_check:
        names = ", ".join(str(path.relative_to(CHART.parents[1])) for path in stale + gone)
        raise SystemExit(f"stale: {names}; run make chart")
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path])
    for path in gone:
        path.unlink()


if __name__ == "__main__":
    main()
