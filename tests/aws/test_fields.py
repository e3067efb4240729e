"""Fields of the CRDs against upstream's, version by version, and both shapes of those that changed between versions.

`tests/vectors/aws/fields/*.jsonl`: the versions, then a line for each field: path, type, what else is said of it, and its versions
where it isn't in all of them.  Source: provider-upjet-aws 75a4c57, package/crds; names and types only.
"""

import json
from pathlib import Path

import pytest

from groundplane.aws.crds import crds
from groundplane.core import schema

VECTORS = Path(__file__).parents[1] / "vectors" / "aws" / "fields"
CRDS = {f"{crd['spec']['group']}_{crd['spec']['names']['kind']}": crd for crd in crds(docs=False)}
KINDS = sorted(path.stem for path in VECTORS.glob("*.jsonl"))


def upstream(kind):
    """Version → path → type."""
    first, *rows = map(json.loads, (VECTORS / f"{kind}.jsonl").read_text(encoding="utf-8").splitlines())
    found = {version: {} for version in first}
    for path, type_, *more in rows:
        for version in more[1] if len(more) > 1 else first:
            found[version][path] = type_
    return found


def version_of(kind, version):
    [found] = [entry for entry in CRDS[kind]["spec"]["versions"] if entry["name"] == version]
    return found["schema"]["openAPIV3Schema"]


def types(openapi):
    """The types that a place may have; a place without one takes what it has rules for."""
    if "type" not in openapi:
        either = [
            {**openapi, "type": name} for name, key in (("object", "properties"), ("array", "items")) if key in openapi
        ]
        return {type_ for one in either for type_ in types(one)} or {"any"}
    if openapi["type"] == "array":
        return {f"[{type_}]" for type_ in types(openapi["items"])}
    if isinstance(openapi.get("additionalProperties"), dict):
        return {f"map[{type_}]" for type_ in types(openapi["additionalProperties"])}
    return {openapi["type"]}


def walk(openapi, path=""):
    for name, child in (openapi.get("properties") or {}).items():
        yield f"{path}.{name}".lstrip("."), types(child)
        yield from walk(child, f"{path}.{name}")
    if "items" in openapi:
        yield from walk(openapi["items"], f"{path}[]")


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_upstream_is_there_with_its_type_in_every_served_version(kind):
    expected = upstream(kind)
    assert set(expected) == {version["name"] for version in CRDS[kind]["spec"]["versions"]}
    for version, fields in expected.items():
        ours = dict(walk(version_of(kind, version)))
        assert {path: type_ for path, type_ in fields.items() if type_ not in ours.get(path, ())} == {}


def test_upstreams_fields_are_all_of_those_that_were_recorded():
    assert sum(len(fields) for kind in KINDS for fields in upstream(kind).values()) == 2205


# --- fields whose shape changed between versions


def sample(openapi, shape):
    """A value that fills all of a schema; `shape` says which one, where there are two."""
    kind = openapi.get("type") or {"list": "array", "object": "object"}[shape]
    if kind == "array":
        return [sample(openapi["items"], shape)]
    if kind == "object" and "properties" in openapi:
        return {name: sample(child, shape) for name, child in openapi["properties"].items()}
    return {"object": {"a": "b"}, "string": "text", "number": 7, "integer": 7, "boolean": True}[kind]


def doubled(openapi):
    """Whether a schema has a place that takes an object or a list."""
    if "type" not in openapi and {"items", "properties"} <= set(openapi):
        return True
    inner = [*(openapi.get("properties") or {}).values(), openapi.get("items") or {}]
    return any(doubled(child) for child in inner if child)


def changed(kind):
    """(block, field) → schema, of the fields that upstream's versions spell differently."""
    names = upstream(kind)
    first, last = next(iter(names.values())), list(names.values())[-1]
    found = {}
    for block in ("spec.forProvider", "spec.initProvider", "status.atProvider"):
        paths = [
            path for path in {**first, **last} if path.startswith(f"{block}.") and first.get(path) != last.get(path)
        ]
        for field in {path.split(".")[2].split("[")[0] for path in paths}:
            place = version_of(kind, next(iter(names)))
            for name in (*block.split("."), field):
                place = place["properties"][name]
            found[block, field] = place
    return {place: openapi for place, openapi in found.items() if doubled(openapi)}


CHANGED = {kind: found for kind in KINDS if (found := changed(kind))}


def test_these_are_the_fields_whose_shape_changed():
    names = {kind: sorted({field for _, field in places}) for kind, places in CHANGED.items()}
    assert names == {
        "rds.aws.upbound.io_Instance": ["blueGreenUpdate", "restoreToPointInTime", "s3Import"],
        "s3.aws.upbound.io_Bucket": [
            "lifecycleRule",
            "logging",
            "objectLockConfiguration",
            "replicationConfiguration",
            "serverSideEncryptionConfiguration",
            "versioning",
            "website",
        ],
    }


def filled(kind, version, shape, name="both"):
    group = CRDS[kind]["spec"]["group"]
    needed = {"region": "eu-west-1", **({"instanceClass": "db.t4g.micro"} if kind.endswith("_Instance") else {})}
    obj = {
        "apiVersion": f"{group}/{version}",
        "kind": CRDS[kind]["spec"]["names"]["kind"],
        "metadata": {"name": name},
        "spec": {"forProvider": needed, "initProvider": {}},
        "status": {"atProvider": {}},
    }
    for (block, field), openapi in CHANGED[kind].items():
        part, inner = block.split(".")
        obj[part][inner][field] = sample(openapi, shape)
    return obj


VERSIONS = [(kind, version) for kind in CHANGED for version in upstream(kind)]


@pytest.mark.parametrize("shape", ["list", "object"])
@pytest.mark.parametrize(("kind", "version"), VERSIONS)
def test_the_embedded_store_keeps_either_shape(kind, version, shape):
    obj = filled(kind, version, shape)
    kept = schema.admit(version_of(kind, version), obj)
    assert kept["status"] == obj["status"]
    for block in ("forProvider", "initProvider"):
        assert kept["spec"][block] == obj["spec"][block]


@pytest.fixture(scope="module")
def served(control_plane):
    control_plane.install(*(CRDS[kind] for kind in CHANGED))
    return control_plane


@pytest.mark.parametrize("shape", ["list", "object"])
@pytest.mark.parametrize(("kind", "version"), VERSIONS)
def test_a_real_api_server_keeps_either_shape_from_every_version_to_every_other(served, kind, version, shape):
    plural, group = CRDS[kind]["spec"]["names"]["plural"], CRDS[kind]["spec"]["group"]
    obj = filled(kind, version, shape, name=f"{shape}-{version}")
    text = json.dumps(obj)
    served.kubectl("apply", "--server-side", "--field-manager=a", "-f", "-", input=text)
    served.kubectl("apply", "--server-side", "--field-manager=a", "--subresource=status", "-f", "-", input=text)
    for other in upstream(kind):
        found = json.loads(served.kubectl("get", f"{plural}.{other}.{group}/{shape}-{version}", "-o", "json").stdout)
        assert found["apiVersion"] == f"{group}/{other}"
        assert found["status"]["atProvider"] == obj["status"]["atProvider"]
        for block in ("forProvider", "initProvider"):
            assert found["spec"][block] == obj["spec"][block]
