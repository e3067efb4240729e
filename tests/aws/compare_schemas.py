"""Our CRDs of AWS kinds against upstream's schemas, field by field, in both generations and every served version.

    python -m tests.aws.compare_schemas FOLDER [service.Kind…]

FOLDER has a file for each kind and generation, `rds.aws.upbound.io_Instance.json`: `plural categories shortNames scope`, and for each version
`served`, `columns` (name, path, type, priority), `requiredUnlessObserved` and `fields` (path, type, and what else is said of it).
"""

import json
import sys
from pathlib import Path

from groundplane.aws import catalogue, crds

# what differs on purpose: DECISIONS 43 and 50, and a Secret's name that may be left out
KNOWN = ("spec.writeConnectionSecretToRef.name: required", "status: default")


def type_of(schema):
    if schema.get("type") == "array":
        return f"[{type_of(schema.get('items', {}))}]"
    values = schema.get("additionalProperties")
    if schema.get("type") == "object" and isinstance(values, dict):
        return f"map[{type_of(values)}]"
    return schema.get("type", "any")


def walk(schema, path="", *, required=False):
    """Every field below: path, type, whether it is required, and its schema."""
    if path:
        yield path, (type_of(schema), required, schema)
    for prefix, inner in ((f"{path}.".lstrip("."), schema), (f"{path}[].", schema.get("items") or {})):
        for name, below in (inner.get("properties") or {}).items():
            yield from walk(below, f"{prefix}{name}", required=name in (inner.get("required") or ()))


def takes_either(schema, kind):
    """Whether a field without a type has what is inside of a list and of an object, where upstream's has one of the two.

    One is a list in one version, and a text in the other.
    """
    inside = {"object": {"items", "properties"}, "[object]": {"items"}, "string": {"items"}}
    return type_of(schema) == "any" and inside.get(kind, {"?"}) <= set(schema)


def differences(label, version, theirs):
    """(what differs, how many fields are as theirs, how many of these take a list or an object)."""
    root = version["schema"]["openAPIV3Schema"]
    ours, found, same, either = dict(walk(root)), [], 0, 0
    columns = [
        [column["name"], column["jsonPath"], column["type"], column.get("priority", 0)]
        for column in version["additionalPrinterColumns"]
    ]
    if version["storage"] != theirs["storage"]:
        found.append(f"{label}: is {'' if version['storage'] else 'not '}stored")
    if columns != theirs["columns"]:
        found.append(f"{label}: columns are {columns}")
    rules = root["properties"]["spec"].get("x-kubernetes-validations") or []
    demanded = sorted(rule["message"].split()[0] for rule in rules if "is a required parameter" in rule["message"])
    if demanded != sorted(theirs["requiredUnlessObserved"]):
        found.append(f"{label}: rules demand {demanded}, upstream's {sorted(theirs['requiredUnlessObserved'])}")
    for path, kind, *more in theirs["fields"]:
        extra = more[0] if more else {}
        is_loose = path in ours and takes_either(ours[path][2], kind)
        if path not in ours or (ours[path][0] != kind and not is_loose):
            found.append(f"{label}: {path} is {ours[path][0] if path in ours else 'missing'}, upstream's {kind}")
        else:
            same, either = same + 1, either + is_loose
            _, required, schema = ours[path]
            if bool(extra.get("required")) != required:
                found.append(f"{label}: {path}: required is {required}")
            found += [
                f"{label}: {path}: {key} is {schema.get(key)!r}, upstream's {extra.get(key)!r}"
                for key in ("default", "enum", "format")
                if extra.get(key) != schema.get(key)
            ]
    return [line for line in found if not any(known in line for known in KNOWN)], same, either


def main(folder, *names):
    total = good = loose = 0
    for kind in catalogue.every():
        if names and f"{kind.group.partition('.')[0]}.{kind.kind}" not in names:
            continue
        file = Path(folder) / f"{kind.group}_{kind.kind}.json"
        if not file.exists():
            continue
        upstream = json.loads(file.read_text())
        spec = crds.of_kind(kind, docs=False, strict_upstream=False)["spec"]
        ours = {version["name"]: version for version in spec["versions"]}
        named = [spec["names"]["plural"], spec["names"].get("categories"), spec["scope"]]
        if named != [upstream["plural"], upstream["categories"], upstream["scope"]]:
            print(f"{kind.kind}.{kind.group}: plural, categories and scope are {named}")
        for name, theirs in upstream["versions"].items():
            total += len(theirs["fields"])
            if name not in ours:
                print(f"{kind.kind}.{kind.group} {name}: is not served")
                continue
            found, same, either = differences(f"{kind.kind}.{kind.group} {name}", ours[name], theirs)
            good, loose = good + same, loose + either
            for line in found:
                print(line)
    print(f"{good} of {total} fields have upstream's path and type, {loose} of them take a list or an object")


if __name__ == "__main__":
    main(*sys.argv[1:])
