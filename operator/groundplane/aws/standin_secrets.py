"""The stand-in's Secrets Manager, mended.

What this adds to moto 5.2: a description that is emptied, another key, and a name that waits for its deletion is refused as by AWS.
"""

from __future__ import annotations

import importlib
from typing import Any

OWN_KEY = "alias/aws/secretsmanager"  # used without being shown


def mend() -> None:
    models: Any = importlib.import_module("moto.secretsmanager.models")
    errors: Any = importlib.import_module("moto.secretsmanager.exceptions")
    backend = models.SecretsManagerBackend
    change, create = backend.update_secret, backend.create_secret

    def update_secret(self: Any, secret_id: str, *rest: Any, description: str | None = None, **named: Any) -> Any:
        answer = change(self, secret_id, *rest, description=description, **named)
        secret = self.secrets[secret_id]
        if description == "":
            secret.description = ""
        if key := named.get("kms_key_id"):
            secret.kms_key_id = None if key == OWN_KEY else key
        return answer

    def create_secret(self: Any, name: str, *rest: Any, **named: Any) -> Any:
        if name in self.secrets and self.secrets[name].is_deleted():
            raise errors.InvalidRequestException(
                "You can't create this secret because a secret with this name is already scheduled for deletion."
            )
        return create(self, name, *rest, **named)

    backend.update_secret = update_secret
    backend.create_secret = create_secret
