"""The managed kinds of PostgreSQL, in both generations, as the reconciler must know them.

Source: crossplane-contrib/provider-sql b46be88, apis/{cluster,namespaced}/postgresql/v1alpha1.
"""

from __future__ import annotations

from groundplane.core.references import Reference
from groundplane.ports import ManagedKind, SecretField

DOMAIN, NAMESPACED_DOMAIN, VERSION = "postgresql.sql.crossplane.io", "postgresql.sql.m.crossplane.io", "v1alpha1"
DATABASE, ROLE, GRANT, SCHEMA = "Database", "Role", "Grant", "Schema"
EXTENSION, DEFAULT_PRIVILEGES = "Extension", "DefaultPrivileges"
REFERENCES: dict[str, dict[str, str]] = {
    DATABASE: {"owner": ROLE},
    ROLE: {},
    GRANT: {"role": ROLE, "memberOf": ROLE, "database": DATABASE, "schema": SCHEMA},
    SCHEMA: {"role": ROLE, "database": DATABASE},
    EXTENSION: {"database": DATABASE},
    DEFAULT_PRIVILEGES: {"role": ROLE, "database": DATABASE},
}
"""By kind: the fields that can be filled from another object, and of which kind that is."""

PLURALS = {
    DATABASE: "databases",
    ROLE: "roles",
    GRANT: "grants",
    SCHEMA: "schemas",
    EXTENSION: "extensions",
    DEFAULT_PRIVILEGES: "defaultprivileges",
}
ADOPT = "groundplane.io/adopt"
NAMELESS = (GRANT, EXTENSION, DEFAULT_PRIVILEGES)  # kinds whose things have no name of their own


def _kind(name: str, domain: str) -> ManagedKind:
    return ManagedKind(
        api_versions=(f"{domain}/{VERSION}",),
        kind=name,
        plural=PLURALS[name],
        external_name="composite" if name in NAMELESS else "name",
        references=tuple(
            Reference(field, f"{field}Ref", f"{field}Selector", domain, to, "external-name")
            for field, to in REFERENCES[name].items()
        ),
        secrets=(SecretField("password", "passwordSecretRef", in_connection="password"),) if name == ROLE else (),
        regional=False,
        repeatable=True,
        namespaced=domain == NAMESPACED_DOMAIN,
        cloud="the PostgreSQL server",
        consistent=True,
        marked_by="comment",
    )


KINDS = {
    (f"{domain}/{VERSION}", name): _kind(name, domain) for domain in (DOMAIN, NAMESPACED_DOMAIN) for name in PLURALS
}
