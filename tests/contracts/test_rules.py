"""CEL rules: what a real API server says of the vectors that our own evaluation is held against in tests/core/test_rules.py."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
import yaml

from groundplane.cluster import slots
from groundplane.cluster.cache import Cache
from groundplane.cluster.client import Api
from groundplane.cluster.credentials import load
from groundplane.cluster.kubernetes import KubernetesCluster
from groundplane.errors import NoSuchKind, Rejected
from tests.contracts.conftest import eventually

VECTORS = Path(__file__).parents[1] / "vectors" / "cel"
GROUP = "rules.example.org"
TOGETHER = 8  # fields of one CustomResourceDefinition: what its rules may cost is limited in sum


def table(name):
    return yaml.safe_load((VECTORS / f"{name}.yaml").read_text(encoding="utf-8"))


def with_rule(row):
    return row["schema"] | ({"x-kubernetes-validations": [{"rule": row["rule"]}]} if "rule" in row else {})


def definition(number, properties):
    """A kind whose objects have these fields, and one version."""
    kind = f"Ruled{number}"
    root = {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": root}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.lower()}s.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Cluster",
            "names": {"kind": kind, "plural": f"{kind.lower()}s"},
            "versions": [version],
        },
    }


@pytest.fixture
async def real(control_plane):
    api = Api(load(str(control_plane.kubeconfig)))
    yield KubernetesCluster(api, Cache())
    await api.close()


def problems_of(error, field):
    """The problems of a refusal, with `v` for the field; that rules were not asked is said besides."""
    told = error.what.partition(" is invalid: ")[2]
    texts = re.split(r", (?=spec\.f\d+[.:\[])", told[1:-1]) if told.startswith("[") else [told]
    return sorted(text.replace(f"spec.{field}", "v").rstrip(",") for text in texts)


async def answer(cluster, kind, field, row):
    """What is wrong with a row's value, by the API server."""
    obj = {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": field}}
    try:
        if "old" in row:
            made = await cluster.create(obj | {"spec": {field: row["old"]}})
            await cluster.update(made | {"spec": {field: row["value"]}})
        else:
            await cluster.create(obj | {"spec": {field: row["value"]}})
    except Rejected as error:
        return problems_of(error, field)
    return []


async def few_at_a_time(questions):
    """With more writes of one kind a server that is late would look like a webhook of that kind that is silent."""
    places = asyncio.Semaphore(slots.HANGING)

    async def one(question):
        async with places:
            return await question

    return await asyncio.gather(*map(one, questions))


@pytest.mark.cluster
async def test_the_api_server_answers_every_rule_as_the_vectors_have_it(real):
    rows = table("rules")
    kinds = [rows[at : at + TOGETHER] for at in range(0, len(rows), TOGETHER)]
    for number, group in enumerate(kinds):
        try:
            await real.create(definition(number, {f"f{index}": with_rule(row) for index, row in enumerate(group)}))
        except Rejected as e:
            print("BAD", e.what[:1500])

    async def asked(number, index, row):
        async def is_served():
            try:
                await real.list(f"{GROUP}/v1", f"Ruled{number}")
            except NoSuchKind:
                return False
            return True

        await eventually(is_served, f"Ruled{number} is served")
        return await answer(real, f"Ruled{number}", f"f{index}", row)

    places = [(number, index, row) for number, group in enumerate(kinds) for index, row in enumerate(group)]
    answers = await few_at_a_time(asked(*place) for place in places)
    found = {row["case"]: wrong for (_, _, row), wrong in zip(places, answers, strict=True)}
    assert found == {row["case"]: sorted(row["wrong"]) for row in rows}


@pytest.mark.cluster
async def test_the_api_server_refuses_every_rule_that_the_vectors_call_a_mistake(real):
    async def refusal(index, row):
        try:
            await real.create(definition(f"mistaken{index}", {"v": with_rule(row)}))
        except Rejected as error:
            return error.what
        return ""

    rows = table("mistakes")
    found = await few_at_a_time(refusal(index, row) for index, row in enumerate(rows))
    assert {
        row["case"]: told for row, told in zip(rows, found, strict=True) if not told or row.get("says", "") not in told
    } == {}
