"""Makes operator/groundplane/cluster/kubernetes_schemas.json from the models of the `kubernetes` package.

    python -m tests.cluster.kubernetes_schemas > operator/groundplane/cluster/kubernetes_schemas.json

After a new minor version of Kubernetes is supported.  How the file is read, says `cluster/kubernetes_schemas.py`.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
import types
import typing
from datetime import date, datetime
from typing import Any

import kubernetes
from kubernetes.client import api, models
from pydantic import BaseModel

SCALARS = {"str": "s", "bytes": "s", "int": "i", "float": "n", "bool": "b", "datetime": "s", "date": "s"}
ANYTHING = "o"
INT_OR_STRING = "q"
QUANTITIES = frozenset(
    [
        "allocatable",
        "capacity",
        "default",
        "defaultRequest",
        "divisor",
        "hard",
        "limits",
        "max",
        "maxLimitRequestRatio",
        "min",
        "overhead",
        "requests",
        "sizeLimit",
        "used",
    ]
)  # fields that take a number as well, where the model says text


def main() -> None:
    kinds, found = {}, {}
    for name, model in sorted(_bodies().items()):
        kinds[name] = model.__name__
        _collect(model, found)
    document = {"kubernetes": kubernetes.__version__, "kinds": kinds, "types": dict(sorted(found.items()))}
    print(json.dumps(document, separators=(",", ":"), sort_keys=True))


def _bodies() -> dict[str, type[BaseModel]]:
    """ "apps/v1 Deployment" → its model, of everything that can be created."""
    found = {}
    for module in pkgutil.iter_modules(api.__path__):
        source = importlib.import_module(f"{api.__name__}.{module.name}")
        for name, cls in inspect.getmembers(source, inspect.isclass):
            if not name.endswith("Api") or cls.__module__ != source.__name__:
                continue
            text = inspect.getsource(cls)
            paths = re.findall(r"resource_path='/(?:api/(v1)|apis/([\w.]+/\w+))/", text)
            if not paths:
                continue
            api_version = "".join(paths[0])
            for method in re.findall(r"def (create_\w+)\(", text):
                body = inspect.signature(getattr(cls, method)).parameters.get("body")
                model = (
                    getattr(models, str(body.annotation), None)
                    if body and isinstance(body.annotation, str)
                    else (body.annotation if body else None)
                )
                if (
                    inspect.isclass(model)
                    and issubclass(model, BaseModel)
                    and {"api_version", "kind", "metadata"} <= set(model.model_fields)
                ):
                    kind = re.sub(r"^(Core|Events|Resource)?V\d+((alpha|beta)\d+)?", "", model.__name__)
                    if "alpha" not in api_version and not re.search(r"V\d", kind):
                        found[f"{api_version} {kind}"] = model
    return found


def _collect(model: type[BaseModel], found: dict[str, Any]) -> None:
    if model.__name__ in found:
        return
    fields: dict[str, str] = {}
    found[model.__name__] = {"f": fields}
    required = []
    for name, field in model.model_fields.items():
        alias = field.serialization_alias or field.alias or name
        fields[alias] = _type(field.annotation, found)
        if alias in QUANTITIES and fields[alias] in ("s", "{}s"):
            fields[alias] = fields[alias].replace("s", INT_OR_STRING)
        if field.is_required():
            required.append(alias)
    if required:
        found[model.__name__]["r"] = required


def _type(annotation: Any, found: dict[str, Any]) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _type(arguments[0], found)
    if origin in (typing.Union, types.UnionType):
        kinds = [each for each in arguments if each is not type(None)]
        made = {_type(each, found) for each in kinds}
        if len(made) == 1:
            return made.pop()
        return INT_OR_STRING if made == {"i", "s"} else ANYTHING
    if origin is list:
        return f"[]{_type(arguments[0], found)}"
    if origin is dict:
        return f"{{}}{_type(arguments[1], found)}"
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        _collect(annotation, found)
        return annotation.__name__
    if annotation in (datetime, date):
        return "s"
    return SCALARS.get(getattr(annotation, "__name__", ""), ANYTHING)


if __name__ == "__main__":
    main()
