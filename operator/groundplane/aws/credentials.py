"""Where an account's credentials come from: the sources that a ProviderConfig can name, and the roles assumed with them.

Source of the fields: provider-upjet-aws 75a4c57, apis/v1beta1 `ProviderConfigSpec`.  No credential is ever in a message.
"""

from __future__ import annotations

import configparser
import os
import stat
import threading
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    AssumeRoleWithWebIdentityCredentialFetcher,
    Credentials,
    DeferredRefreshableCredentials,
)

from groundplane.aws import sdk
from groundplane.aws.account_config import AccountConfig
from groundplane.core.conditions import moment
from groundplane.core.objects import Json
from groundplane.errors import Denied, shown

CHAIN = frozenset({"", "InjectedIdentity", "IRSA", "PodIdentity"})
SOURCES = (*sorted(CHAIN - {""}), "Secret", "WebIdentity", "Upbound", "Environment", "Filesystem", "None")
UPBOUND_TOKEN = "/var/run/secrets/upbound.io/provider/token"

Create = Callable[..., Any]  # (session, service, region, **keys) → a client, of the account's endpoints


class CredentialsSource:
    """The credentials of one account.  Not thread-safe, but what it gives refreshes itself from any thread."""

    def __init__(
        self, config: AccountConfig, secret: Mapping[str, bytes], environ: Mapping[str, str], create: Create
    ) -> None:
        """`secret`: the data of the Secret that the ProviderConfig names; `create` makes the clients of STS."""
        self._config, self._secret, self._environ, self._create = config, secret, environ, create

    def check(self) -> None:
        """Raise InvalidInput: they can't be had, as far as that shows without a call."""
        for hop, role in enumerate(self._config.spec.get("assumeRoleChain") or ()):
            self._role_arn(role, hop)
        self._base(sdk.new_session(), "")

    def session(self, region: str) -> Any:
        """A session that has them; STS is asked in that region.

        Raises:
            InvalidInput: the ProviderConfig can't work.
            Denied: there are none to assume a role with.
        """
        session = sdk.new_session()
        if self._config.spec.get("skip_metadata_api_check"):
            session.get_component("credential_provider").remove("iam-role")
        credentials = self._base(session, region)
        for hop, role in enumerate(self._config.spec.get("assumeRoleChain") or ()):
            if credentials is None:
                credentials = session.get_credentials()
            if credentials is None:
                raise Denied(
                    "the default credentials chain offers none to assume a role with",
                    mend="give the pod an identity (IRSA, Pod Identity), or use source: Secret",
                    where=(self._config.place,),
                )
            credentials = self._assumed(credentials, role, hop, region)
        if credentials is not None:
            session._credentials = credentials  # botocore has no public way for refreshable ones
        return session

    def renewal(self) -> str:
        """What to do about credentials that AWS refuses, or that have expired; no restart is needed for it."""
        spec, source = self._config.credentials, self._config.source
        block: Mapping[str, Json] = (
            spec.get({"Secret": "secretRef", "Filesystem": "fs", "Environment": "env"}.get(source, "")) or {}
        )
        if source == "Secret":
            namespace = block.get("namespace") or self._config.namespace
            mend = f"store valid ones under key {block.get('key')} of Secret {namespace}/{block.get('name')}"
        elif source == "Filesystem":
            mend = f"write valid ones to {block.get('path')}"
        elif source == "Environment":
            mend = f"start the operator with valid ones in {block.get('name')}"
        elif source in ("WebIdentity", "Upbound"):
            mend = "look whether the token is still valid, and whether the role trusts who issued it"
        else:
            mend = (
                "look at the identity of the operator's Pod or machine, on a laptop at the credentials that AWS's command line would take"
                " ($AWS_PROFILE, $AWS_ACCESS_KEY_ID); a login by SSO is renewed by `aws sso login`"
            )
        return f"{mend} ({self._config.place})"

    def _base(self, session: Any, region: str) -> Any:
        """Those of the source, before any role is assumed; None: the default chain."""
        spec, source = self._config.credentials, self._config.source
        if source in CHAIN or source == "None":
            return None
        if source == "Secret":
            key = (spec.get("secretRef") or {}).get("key") or ""
            if not key:
                raise self._config.wrong("spec.credentials.secretRef.key", "is missing", "name the key of the Secret")
            if key not in self._secret:
                known = ", ".join(sorted(self._secret)) or "none"
                raise self._config.wrong(
                    "spec.credentials.secretRef.key", f"the Secret has no key {key}", f"it has: {known}"
                )
            return self._from_ini(self._secret[key].decode("utf-8", "replace"), "spec.credentials.secretRef")
        if source == "Environment":
            name = (spec.get("env") or {}).get("name") or ""
            if not name:
                raise self._config.wrong("spec.credentials.env.name", "is missing", "name the variable")
            if name not in self._environ:
                raise self._config.wrong("spec.credentials.env.name", f"no such variable: {shown(name)}", "set it")
            return self._from_ini(self._environ[name], "spec.credentials.env")
        if source == "Filesystem":
            return self._from_ini(self._file((spec.get("fs") or {}).get("path"), "spec.credentials.fs.path")(),
                                  "spec.credentials.fs")  # fmt: skip
        if source in ("WebIdentity", "Upbound"):
            return self._web_identity(source, region)
        raise self._config.wrong(
            "spec.credentials.source", f"unknown: {shown(source)}", f"use one of: {', '.join(SOURCES)}"
        )

    def _file(self, path: object, field: str) -> Callable[[], str]:
        """A reader of the file, for tokens are rotated."""
        if not isinstance(path, str) or not path:
            raise self._config.wrong(field, "is missing", "give the path of a file")

        def read() -> str:
            try:
                if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would hang, and a device may never end
                    raise self._config.wrong(
                        field, f"{path} is no regular file", "name one that is mounted into the pod"
                    )
                return Path(path).read_text(encoding="utf-8")
            except OSError as error:
                raise self._config.wrong(
                    field, f"can't read {path}: {error.strerror}", "mount it into the pod"
                ) from error

        return read

    def _from_ini(self, text: str, field: str) -> Credentials:
        """Credentials from INI text; a missing section header is forgiven.  The text is never quoted."""
        values = _ini(text)
        if values is None:
            raise self._config.wrong(
                field, "is no INI text", "write [default], aws_access_key_id = …, aws_secret_access_key = …"
            )
        if not values:
            mend = "call the profile that is meant [default]: of several sections no other is read"
            raise self._config.wrong(field, "section [default] is missing, or has nothing in it", mend)
        key, secret = values.get("aws_access_key_id"), values.get("aws_secret_access_key")
        if not key or not secret:
            missing = "aws_access_key_id" if not key else "aws_secret_access_key"
            raise self._config.wrong(field, f"has no {missing} in section [default]", f"add {missing}")
        return Credentials(key, secret, values.get("aws_session_token") or None)

    def _web_identity(self, source: str, region: str) -> DeferredRefreshableCredentials:
        place = "webIdentity" if source == "WebIdentity" else "upbound.webIdentity"
        spec = self._config.credentials
        block = (
            spec.get("webIdentity") if source == "WebIdentity" else (spec.get("upbound") or {}).get("webIdentity")
        ) or {}
        role = block.get("roleARN")
        if not role:
            raise self._config.wrong(f"spec.credentials.{place}.roleARN", "is missing", "give the role's ARN")
        fetcher = AssumeRoleWithWebIdentityCredentialFetcher(
            client_creator=self._sts(region),
            web_identity_token_loader=self._token(source, block, place),
            role_arn=role,
            extra_args={"RoleSessionName": block.get("roleSessionName") or "groundplane"},
        )
        return DeferredRefreshableCredentials(self._fresh(fetcher), "assume-role-with-web-identity")

    def _token(self, source: str, block: Mapping[str, Json], place: str) -> Callable[[], str]:
        config = block.get("tokenConfig")
        is_of_operator = source == "Upbound" or not config
        if is_of_operator and self._config.namespace and self._config.has_own_endpoint("sts"):
            mend = "name the services that it is for in spec.endpoint.services, without sts; or use credentials of a Secret"
            raise self._config.wrong(
                "spec.endpoint", "is not handed the operator's own token: with that one acts as it", mend
            )
        if source == "Upbound":
            return self._file(UPBOUND_TOKEN, f"spec.credentials.{place}")
        if not config:
            path = self._environ.get("AWS_WEB_IDENTITY_TOKEN_FILE")
            if not path:
                raise self._config.wrong(
                    f"spec.credentials.{place}.tokenConfig",
                    "is missing, and the operator has no token of its own: $AWS_WEB_IDENTITY_TOKEN_FILE is not set",
                    "name the Secret or the file that has one, or have the cluster give the operator's service account one (IRSA)",
                )
            return self._file(path, f"spec.credentials.{place}.tokenConfig")
        field = f"spec.credentials.{place}.tokenConfig"
        if config.get("source") == "Filesystem":
            return self._file((config.get("fs") or {}).get("path"), f"{field}.fs.path")
        if config.get("source") != "Secret":
            raise self._config.wrong(
                f"{field}.source", f"unknown: {shown(config.get('source'))}", "use Secret or Filesystem"
            )
        key = (config.get("secretRef") or {}).get("key") or ""
        if key not in self._secret:
            raise self._config.wrong(
                f"{field}.secretRef.key", f"the Secret has no key {shown(key)}", "add the token under it"
            )
        token = self._secret[key].decode("utf-8", "replace").strip()
        return lambda: token

    def _assumed(self, credentials: Any, role: Mapping[str, Json], hop: int, region: str) -> Any:
        arn = self._role_arn(role, hop)
        arguments: dict[str, Any] = {"RoleSessionName": role.get("roleSessionName") or "groundplane"}
        if role.get("externalID"):
            arguments["ExternalId"] = role["externalID"]
        if role.get("tags"):
            arguments["Tags"] = [{"Key": tag["key"], "Value": tag["value"]} for tag in role["tags"]]
        if role.get("transitiveTagKeys"):
            arguments["TransitiveTagKeys"] = list(role["transitiveTagKeys"])
        fetcher = AssumeRoleCredentialFetcher(self._sts(region), credentials, arn, arguments)
        return DeferredRefreshableCredentials(self._fresh(fetcher), "assume-role")

    def _fresh(self, fetcher: Any) -> Callable[[], Mapping[str, Any]]:
        """What fetches credentials that last; botocore has no error of its own for those that do not."""

        def fetch() -> Mapping[str, Any]:
            found: Mapping[str, Any] = fetcher.fetch_credentials()
            ends = moment(str(found.get("expiry_time") or ""))
            if ends and ends <= datetime.now(UTC):
                raise Denied(
                    f"STS gave credentials that ended at {found['expiry_time']} already",
                    mend="set the clock of the machine that the operator runs on",
                    where=(self._config.place,),
                )
            return found

        return fetch

    def _role_arn(self, role: Mapping[str, Json], hop: int) -> str:
        arn, field = str(role.get("roleARN") or ""), f"spec.assumeRoleChain[{hop}].roleARN"
        if not arn:
            raise self._config.wrong(field, "is missing", "give the role's ARN")
        if not arn.startswith("arn:"):
            raise self._config.wrong(field, f"{shown(arn)} is no ARN", "write arn:aws:iam::ACCOUNT:role/NAME")
        return arn

    def _sts(self, region: str) -> Callable[..., Any]:
        """What botocore's fetchers call with credentials.  Refreshes come from worker threads: hence a session
        and a lock of its own."""
        own, lock = sdk.new_session(), threading.Lock()

        def create(service: str, **credentials: Any) -> Any:
            with lock:
                if credentials.pop("config", None):  # an unsigned call: keys keep botocore from looking for some
                    credentials = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
                return self._create(own, service, region, **credentials)

        return create


def _ini(text: str) -> MutableMapping[str, str] | None:
    """The options of section [default] (or of the only section), names lower-cased; None if it is no INI."""
    for prefix in ("", "[default]\n"):
        parser = configparser.RawConfigParser(strict=False, default_section="\0none")
        try:
            parser.read_string(prefix + text)
        except configparser.Error:
            continue
        sections = {name.strip().lower(): name for name in parser.sections()}
        name = sections.get("default") or (next(iter(sections.values())) if len(sections) == 1 else None)
        return {key: value.strip() for key, value in parser[name].items() if value} if name else {}
    return None
