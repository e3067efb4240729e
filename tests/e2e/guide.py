"""A claim for a database as people write it who come from Crossplane, in `manifests/`, and what a person does with it."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

from tests.cluster.rig import ControlPlane

REPOSITORY = Path(__file__).resolve().parents[2]
MANIFESTS = Path(__file__).parent / "manifests"
GUIDE = tuple(MANIFESTS / f"{name}.yaml" for name in ("provider", "definition", "composition", "claim"))
PROVIDER, DEFINITION, COMPOSITION, CLAIM = GUIDE
NETWORK = REPOSITORY / "compositions" / "database-aws" / "network.yaml"
NAME, TEAM = "my-service-db", "my-team"
# In full, and not the short "provider": to kubectl that is the category of ProviderConfigs.
DECLARED = (
    "compositeresourcedefinitions.apiextensions.crossplane.io",
    "compositions.apiextensions.crossplane.io",
    "providers.pkg.crossplane.io",
    "providerconfigs.aws.upbound.io",
)
MADE = (
    "managed",
    "composite",
    "compositionrevisions.apiextensions.crossplane.io",
    "providerrevisions.pkg.crossplane.io",
    "providerconfigusages.aws.upbound.io",
)


def apply(plane: ControlPlane, *paths: Path) -> None:
    """`kubectl apply -f`, repeated until the API server takes it, as a person or a GitOps tool would."""
    for path in paths:
        plane.wait(
            f"{path.name} is taken", lambda path=path: plane.kubectl("apply", "-f", path, check=False).returncode == 0
        )


def claim(plane: ControlPlane) -> dict:
    return plane.get("databases.platform.example.com", NAME, "-n", TEAM) or {}


def condition(obj: dict, type_: str) -> dict:
    found = [each for each in obj.get("status", {}).get("conditions", []) if each["type"] == type_]
    return found[0] if found else {}


def wait_ready(plane: ControlPlane) -> None:
    try:
        plane.wait("the claim is ready", lambda: condition(claim(plane), "Ready").get("status") == "True")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{json.dumps(claim(plane).get('status'), indent=1)}") from error


def secret(plane: ControlPlane) -> dict[str, str]:
    """The claim's Secret, decoded; empty if there is none."""
    found = plane.get("secret", f"{NAME}-credentials", "-n", TEAM)
    return {name: base64.b64decode(value).decode() for name, value in found["data"].items()} if found else {}


def connection_secrets(plane: ControlPlane) -> list[str]:
    return [s["metadata"]["name"] for s in plane.get("secrets", "-A")["items"] if s["type"].startswith("connection.")]


def left(plane: ControlPlane) -> list[str]:
    """What there still is of the guide, as `kind/name`."""
    return [name for kind in (*MADE, *DECLARED) for name in any_of(plane, kind)]


def let_go(plane: ControlPlane) -> None:
    """Nothing holds any more what is being deleted of the guide."""
    for kind in (*MADE, *DECLARED):
        for each in (plane.get(kind) or {"items": []})["items"]:
            group, _, version = each["apiVersion"].rpartition("/")
            metadata, patch = each["metadata"], '{"metadata": {"finalizers": null}}'
            place = ("-n", metadata["namespace"]) if "namespace" in metadata else ()
            resource = f"{each['kind']}.{version}.{group}"
            plane.kubectl("patch", resource, metadata["name"], *place, "--type=merge", "-p", patch, check=False)


def any_of(plane: ControlPlane, kind: str) -> list[str]:
    """What there is of a kind or a category, as `kind/name`; nothing if it is not served."""
    found = plane.get(kind) or {"items": []}
    return [f"{each['kind']}/{each['metadata']['name']}" for each in found["items"]]


def at_rest(plane: ControlPlane, seconds: float = 2.0, user: str = "operator") -> None:
    """Return when the operator has written nothing for so long, and has renewed its Lease twice meanwhile: who gets no CPU does not rest."""
    begun = len(plane.requests())
    written, renewed, since = 0, 0, time.monotonic()

    def rests() -> bool:
        nonlocal written, renewed, since
        asked = plane.requests()[begun:]
        renewals = sum(
            e["verb"] == "update" and e["objectRef"].get("resource") == "leases" and _by(e, user) for e in asked
        )
        if written != (written := len(writes(plane, begun, user))):
            renewed, since = renewals, time.monotonic()
        return renewals >= renewed + 2 and time.monotonic() >= since + seconds

    plane.wait("the operator rests", rests)


NOT_KEPT = ("leases", "selfsubjectaccessreviews")  # written all the time; a question that changes nothing


def writes(plane: ControlPlane, since: int = 0, user: str = "operator") -> list[str]:
    """The operator's writing requests but for its Lease's renewals and questions for its rights, from the audit log's entry `since` on."""
    verbs = ("create", "update", "patch", "delete", "deletecollection")
    return [
        f"{e['verb']} {e['objectRef'].get('resource')}/{e['objectRef'].get('subresource', '')} {e['objectRef'].get('name')}"
        for e in plane.requests()[since:]
        if e["verb"] in verbs and _by(e, user) and e["objectRef"].get("resource") not in NOT_KEPT
    ]


def _by(entry: dict, user: str) -> bool:
    return entry["user"].get("username") == user
