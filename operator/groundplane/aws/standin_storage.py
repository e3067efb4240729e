"""The stand-in's S3: what moto takes and shows otherwise than AWS, mended.

What this adds to moto 5.2: a new bucket is private, owns all that is in it and encrypts it; a bucket's settings come back as they
were put; a request that expects another owner is refused; encryption falls back to S3's own when it is deleted;
who may write logs into a bucket is not checked, for moto looks at the first of a grantee's permissions alone; no log of
access is written, which AWS does hours later if at all, and moto with each request, so that no target could be deleted; a list
of buckets tells their regions.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from typing import Any

# Settings that moto takes in parts; AWS shows them as they were put, in the same document.
ECHOED = ("lifecycle", "versioning", "logging", "notification", "encryption", "cors")
XMLNS = "http://s3.amazonaws.com/doc/2006-03-01/"
ENCRYPTION = (
    f'<ServerSideEncryptionConfiguration xmlns="{XMLNS}"><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256'
    "</SSEAlgorithm></ApplyServerSideEncryptionByDefault><BucketKeyEnabled>false</BucketKeyEnabled></Rule>"
    "</ServerSideEncryptionConfiguration>"
)
DEFAULT = {"Rule": {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": "false"}}
ENTRY = re.compile(r"<((?:Queue|Topic|CloudFunction)Configuration)>((?:(?!<Id>).)*?)</\1>", re.DOTALL)  # without a name
NAME = re.compile(r"<Name>([^<]*)</Name>")
MINIMUM = "x-amz-transition-default-minimum-object-size"


def mend() -> None:
    models: Any = importlib.import_module("moto.s3.models")
    responses: Any = importlib.import_module("moto.s3.responses").S3Response
    errors: Any = importlib.import_module("moto.s3.exceptions")
    uuid4: Any = importlib.import_module("moto.moto_api._internal").mock_random.uuid4
    backend = models.S3Backend
    create, drop_encryption = backend.create_bucket, backend.delete_bucket_encryption
    respond = responses._bucket_response
    list_all = responses.all_buckets
    put, get = responses._bucket_response_put, responses._bucket_response_get

    def create_bucket(self: Any, bucket_name: str, region_name: str, *rest: Any, **named: Any) -> Any:
        bucket = create(self, bucket_name, region_name, *rest, **named)
        bucket.public_access_block = models.PublicAccessBlock("true", "true", "true", "true")
        bucket.ownership_rule = "BucketOwnerEnforced"
        _encrypt(bucket)
        return bucket

    def delete_bucket_encryption(self: Any, bucket_name: str) -> None:
        drop_encryption(self, bucket_name)
        _encrypt(self.get_bucket(bucket_name))

    def all_buckets(self: Any) -> Any:
        status, headers, document = list_all(self)
        regions = {bucket.name: bucket.region_name for bucket in self.backend.list_buckets(None, None, None)}

        def told(found: re.Match[str]) -> str:
            return f"{found[0]}<BucketRegion>{regions[found[1]]}</BucketRegion>" if found[1] in regions else found[0]

        return status, headers, NAME.sub(told, document)

    def _bucket_response(self: Any, request: Any, full_url: str) -> Any:
        expected = request.headers.get("x-amz-expected-bucket-owner")
        if expected and expected != self.current_account:
            raise errors.S3AccessDeniedError()
        return respond(self, request, full_url)

    def _bucket_response_put(self: Any, request: Any, bucket_name: str, querystring: Mapping[str, Any]) -> Any:
        answer = put(self, request, bucket_name, querystring)
        name = next((name for name in ECHOED if name in querystring), None)
        status = answer[0] if isinstance(answer, tuple) else 200
        if name and status < 300:
            bucket = self.backend.get_bucket(bucket_name)
            document = self.body.decode() if isinstance(self.body, bytes) else str(self.body)
            if name == "notification":
                document = ENTRY.sub(lambda entry: f"<{entry[1]}><Id>{uuid4()}</Id>{entry[2]}</{entry[1]}>", document)
            settings = vars(bucket).setdefault("settings", {})
            settings[name] = (document, request.headers.get(MINIMUM))
        return answer

    def _bucket_response_get(self: Any, bucket_name: str, querystring: Mapping[str, Any]) -> Any:
        answer = get(self, bucket_name, querystring)
        name = next((name for name in ECHOED if name in querystring), None)
        settings = vars(self.backend.get_bucket(bucket_name)).get("settings", {}) if name else {}
        status = answer[0] if isinstance(answer, tuple) else 200
        if name not in settings or status >= 300:
            return answer
        document, minimum = settings[name]
        headers = {MINIMUM: minimum or "all_storage_classes_128K"} if name == "lifecycle" else {}
        return 200, headers, document

    models.FakeBucket._log_permissions_enabled_acl = staticmethod(lambda target_bucket: True)
    backend.log_incoming_request = lambda self, request, bucket_name: None
    backend.create_bucket = create_bucket
    backend.delete_bucket_encryption = delete_bucket_encryption
    responses.all_buckets = all_buckets
    responses._bucket_response = _bucket_response
    responses._bucket_response_put = _bucket_response_put
    responses._bucket_response_get = _bucket_response_get


def _encrypt(bucket: Any) -> None:
    bucket.encryption = DEFAULT
    vars(bucket).setdefault("settings", {})["encryption"] = (ENCRYPTION, None)
