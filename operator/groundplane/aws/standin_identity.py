"""IAM and KMS as AWS has them, in the stand-in.

What moto 5.2 lacks and this adds: policies in use kept, boundaries of users, credentials for single services (nobody has any), the period of a key's rotation, numbers in a policy's conditions.
"""

from __future__ import annotations

import importlib
import json
from typing import Any


def mend() -> None:
    """Replace the methods of moto's IAM and KMS that behave otherwise than AWS."""
    _take_numbers()
    _mend_iam()
    _mend_kms()


def _take_numbers() -> None:
    """AWS takes numbers in conditions, moto texts and booleans alone."""
    policies: Any = importlib.import_module("moto.iam.policy_validation").IAMPolicyDocumentValidator
    check = policies._validate_condition_syntax

    def check_conditions(statement: dict[str, Any]) -> None:
        tests = statement.get("Condition")
        if isinstance(tests, dict) and all(isinstance(test, dict) for test in tests.values()):
            texts = {name: {key: _as_text(value) for key, value in test.items()} for name, test in tests.items()}
            statement = {**statement, "Condition": texts}
        check(statement)

    policies._validate_condition_syntax = staticmethod(check_conditions)


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) else value


def _mend_iam() -> None:
    """Users have boundaries; nobody has credentials for single services; a list of policies names them."""
    iam: Any = importlib.import_module("moto.iam.responses").IamResponse
    user: Any = importlib.import_module("moto.iam.models").User
    responses: Any = importlib.import_module("moto.core.responses")
    models: Any = importlib.import_module("moto.iam.models").IAMBackend
    conflict: Any = importlib.import_module("moto.iam.exceptions").DeleteConflictException
    create, delete = iam.create_user, models.delete_policy

    def delete_policy(self: Any, policy_arn: str) -> Any:
        policy = self.get_policy(policy_arn)
        if policy.attachment_count > 0:
            raise conflict("Cannot delete a policy attached to entities.")
        if len(policy.versions) > 1:
            raise conflict("This policy has more than one version. Delete the others first.")
        return delete(self, policy_arn)

    def create_user(self: Any) -> Any:
        answer = create(self)
        self.backend.get_user(self._get_param("UserName")).boundary = self._get_param("PermissionsBoundary")
        return answer

    def put_user_permissions_boundary(self: Any) -> Any:
        self.backend.get_user(self._get_param("UserName")).boundary = self._get_param("PermissionsBoundary")
        return responses.EmptyResult()

    def delete_user_permissions_boundary(self: Any) -> Any:
        self.backend.get_user(self._get_param("UserName")).boundary = None
        return responses.EmptyResult()

    def permissions_boundary(self: Any) -> Any:
        arn = getattr(self, "boundary", None)
        return {"PermissionsBoundaryType": "PermissionsBoundaryPolicy", "PermissionsBoundaryArn": arn} if arn else None

    policy: Any = importlib.import_module("moto.iam.models").ManagedPolicy
    policy.policy_name, policy.policy_id = property(lambda self: self.name), property(lambda self: self.id)
    iam.create_user = create_user
    models.delete_policy = delete_policy
    iam.put_user_permissions_boundary = put_user_permissions_boundary
    iam.delete_user_permissions_boundary = delete_user_permissions_boundary
    iam.list_service_specific_credentials = lambda self: responses.ActionResult({"ServiceSpecificCredentials": []})
    user.permissions_boundary = property(permissions_boundary)


def _mend_kms() -> None:
    """Let keys keep the period of their rotation."""
    kms: Any = importlib.import_module("moto.kms.responses").KmsResponse
    enable, status = kms.enable_key_rotation, kms.get_key_rotation_status

    def enable_key_rotation(self: Any) -> str:
        answer: str = enable(self)
        key = self.kms_backend.keys[self.kms_backend.get_key_id(self._get_param("KeyId"))]
        key.rotation_period = self._get_param("RotationPeriodInDays") or getattr(key, "rotation_period", 365)
        return answer

    def get_key_rotation_status(self: Any) -> str:
        answer = json.loads(status(self))
        if answer["KeyRotationEnabled"]:
            key = self.kms_backend.keys[self.kms_backend.get_key_id(self._get_param("KeyId"))]
            answer["RotationPeriodInDays"] = getattr(key, "rotation_period", 365)
        return json.dumps(answer)

    kms.enable_key_rotation = enable_key_rotation
    kms.get_key_rotation_status = get_key_rotation_status
