"""ProviderConfig → botocore clients: credentials, role chains, endpoints, and the cache of all that.

Source of the fields: provider-upjet-aws 75a4c57, apis/v1beta1 `ProviderConfigSpec`.  One botocore session for each
account (ProviderConfig and state of its credentials), all with one loader of service models, which is what
costs memory.  A session isn't thread-safe and a client is slow to build, so both are made under the account's own
lock, when first used: credentials that are looked for and never found hold up nobody else.  Clients are thread-safe.
"""

from __future__ import annotations

import configparser
import copy
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Container, Mapping, MutableMapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore.session
from botocore import UNSIGNED, xform_name
from botocore.config import Config
from botocore.credentials import (
    AssumeRoleCredentialFetcher,
    AssumeRoleWithWebIdentityCredentialFetcher,
    Credentials,
    DeferredRefreshableCredentials,
)
from botocore.exceptions import BotoCoreError, ClientError, UnknownRegionError
from botocore.loaders import Loader
from botocore.parsers import ResponseParserError
from botocore.regions import EndpointResolver
from botocore.utils import is_valid_endpoint_url

from groundplane import __version__
from groundplane.aws import answers, deadline, endpoints
from groundplane.aws.answers import READING
from groundplane.core.conditions import moment
from groundplane.core.objects import Json, group_of, meta, spec_of
from groundplane.errors import Awaited, Denied, GroundplaneError, InvalidInput, did_you_mean, shown
from groundplane.ports import Account

Client = Any  # botocore's clients are made at run time
OnCall = Callable[[str, str, Mapping[str, Any] | None, Exception | None, float], None]
FOR_CREDENTIALS = frozenset(
    f"sts:{name}" for name in ("get_caller_identity", "assume_role", "assume_role_with_web_identity")
)
BEGUN = "groundplane_begun"  # in botocore's context of a call: when it began, by the monotonic clock

CHAIN = frozenset({"", "InjectedIdentity", "IRSA", "PodIdentity"})
SOURCES = (*sorted(CHAIN - {""}), "Secret", "WebIdentity", "Upbound", "Environment", "Filesystem", "None")
UPBOUND_TOKEN = "/var/run/secrets/upbound.io/provider/token"
CONNECT_TIMEOUT, READ_TIMEOUT = 5, 30  # seconds
ATTEMPTS = 3  # of one call in all; what remains is the queue's to retry
GLOBAL_REGIONS = {
    "aws": "us-east-1",
    "aws-cn": "cn-north-1",
    "aws-us-gov": "us-gov-west-1",
    "aws-iso": "us-iso-east-1",
    "aws-iso-b": "us-isob-east-1",
    "aws-iso-e": "eu-isoe-west-1",
    "aws-iso-f": "us-isof-south-1",
    "aws-eusc": "eusc-de-east-1",
}
REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d+")  # us-gov-west-1, but not us-east-1a, which is a zone
UNUSED = 3600.0  # seconds after which an account's clients are dropped, those of deleted ProviderConfigs among them
FIRST_PAUSE, LONGEST_PAUSE = (
    5.0,
    60.0,
)  # seconds until credentials that were refused are looked for again, doubled each time
LASTING = 600.0  # seconds after which clients that are refused had been good ones
SWEEP = 60.0  # seconds at least between two looks for them
UNKNOWN_ACCOUNT = "000000000000"  # as upstream where it does not ask

LOADER = Loader(include_default_search_paths=True)  # the models, read once for all sessions


class Sessions:
    """The clients of all accounts.  Safe to use from many threads."""

    def __init__(
        self,
        environ: Mapping[str, str] | None = None,
        *,
        attempts: int = ATTEMPTS,
        may_write: Callable[[], None] = lambda: None,
        on_call: OnCall = lambda service, operation, answer, error, seconds: None,
        clock: Callable[[], float] = time.monotonic,
        only: Container[str] | None = None,
    ) -> None:
        """`only` these calls, `service:method`, get through beside those for credentials; None: all do.

        `may_write` is asked right before each request of a call that changes AWS, repeats included, and raises NotLeader.

        `on_call` is told of each call when it has ended, on whichever thread made it: service, operation, the answer as botocore
        has parsed it, what was raised instead, seconds.
        """
        self._may_write, self._on_call, self._clock, self._only = may_write, on_call, clock, only
        self._environ = os.environ if environ is None else environ
        self._attempts = attempts
        self._lock = threading.Lock()  # of the dictionary only: nothing is built or asked under it
        # By the ProviderConfig's group, kind, namespace and name.
        self._accounts: dict[tuple[str, ...], AccountClients] = {}
        self._swept = time.monotonic()

    def clients(self, account: Account, *, for_calls: bool = True) -> AccountClients:
        """The account's clients; made anew when its version changed or they were refused, the earlier ones forgotten.

        Raises:
            Denied: they are `for_calls`, and the account's credentials were refused again a moment ago; in the same words.
        """
        config = account.provider_config
        group, kind = group_of(str(config.get("apiVersion") or "")), str(config.get("kind") or "")
        key = (group, kind, meta(config).get("namespace") or "", meta(config).get("name") or "")
        with self._lock:
            now, clients = time.monotonic(), self._accounts.get(key)
            if now - self._swept > SWEEP:
                self._swept = now
                for other in [other for other, known in self._accounts.items() if now - known.used > UNUSED]:
                    if other != key:
                        del self._accounts[other]
            pause = 0.0
            if clients is not None and clients.version != account.version:
                clients = None
            if clients is not None and clients.refused is not None and for_calls:
                if self._clock() < clients.again:
                    raise copy.copy(clients.refused)
                pause, clients = clients.next_pause, None
            if clients is None:
                clients = self._accounts[key] = AccountClients(
                    account,
                    self._environ,
                    self._attempts,
                    self._may_write,
                    self._on_call,
                    self._clock,
                    pause,
                    only=self._only,
                )
            clients.used = now
            return clients

    @property
    def kept(self) -> int:
        """How many accounts' clients there are."""
        return len(self._accounts)


def check_region(region: str, config: Mapping[str, Any]) -> None:
    """`config` is the spec of the ProviderConfig.  Raises InvalidInput: the region can't be one of AWS."""
    if region and not REGION.fullmatch(region) and not config.get("skip_region_validation"):
        mend = "name one: eu-west-1 (or set skip_region_validation in the ProviderConfig, if the endpoint has others)"
        raise InvalidInput(f"{shown(region)} is no region of AWS", mend=mend, where=("spec.forProvider.region",))


def unlisted(region: str) -> str:
    """What to say of a region that botocore does not list, which may be newer than botocore; "" of one that it lists.

    >>> unlisted("us-west-9"), unlisted("us-west-2"), unlisted("")
    ('the SDK lists no region us-west-9: did you mean us-west-2?', '', '')
    """
    known = [name for partition in LOADER.load_data("endpoints")["partitions"] for name in partition["regions"]]
    return f"the SDK lists no region {region}: {did_you_mean(region, known)}" if region and region not in known else ""


class AccountClients:
    def __init__(
        self,
        account: Account,
        environ: Mapping[str, str],
        attempts: int,
        may_write: Callable[[], None],
        on_call: OnCall,
        clock: Callable[[], float],
        pause: float,
        *,
        only: Container[str] | None = None,
    ) -> None:
        """`pause`: seconds until others take their place, should they be refused soon."""
        self._clock, self._pause, self._made = clock, pause, clock()
        self._may_write, self._on_call, self._only = may_write, on_call, only
        self.version = account.version
        self.refused: GroundplaneError | None = (
            None  # why these clients are not to be used again: AWS did not accept the credentials, or there are none
        )
        self.again = 0.0  # when others take their place then, by the clock that was given
        self.used = 0.0  # when last, by the monotonic clock
        self._spec = spec_of(account.provider_config)
        self._name = meta(account.provider_config).get("name") or ""
        self._namespace = meta(account.provider_config).get("namespace") or ""
        self._secret = account.credentials
        self._environ = environ
        self._lock = threading.RLock()  # the session and what is made of it
        self._attempts = attempts
        self._sessions: dict[str, Any] = {}  # by region: STS is asked in the region that is asked for
        self._clients: dict[tuple[str, str, bool], Client] = {}
        self._account_id = ""
        # Looked at once: the session that it takes costs 12 ms of a core, too much for each user that comes or goes.
        self._is_sound = False

    def refuse(self, error: GroundplaneError) -> None:
        """Their credentials were refused.  Others are looked for at once, since these may just have ended; what is refused again only after
        pauses: to look costs a tenth of a second of a core, and each object of the account would do it anew."""
        if self.refused is None:
            now = self._clock()
            self.again = now + (self._pause if now - self._made < LASTING else 0.0)
            self.refused = copy.copy(error)  # who tells of that one adds to its words

    def renewal(self) -> str:
        """What to do about credentials that AWS refuses, or that have expired; no restart is needed for it."""
        spec = self._credentials_spec
        source = str(spec.get("source") or "")
        block: Mapping[str, Json] = (
            spec.get({"Secret": "secretRef", "Filesystem": "fs", "Environment": "env"}.get(source, "")) or {}
        )
        if source == "Secret":
            namespace = block.get("namespace") or self._namespace
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
        return f"{mend} (ProviderConfig {self._name})"

    @property
    def next_pause(self) -> float:
        """The pause of those that take their place."""
        return min(LONGEST_PAUSE, 2 * self._pause) if self._pause else FIRST_PAUSE

    def check(self) -> None:
        """Raise InvalidInput for what can't work, as far as that shows without a call to AWS; what once could is not looked at again."""
        if self._is_sound:
            return
        self._url(next(iter(self._services()), "sts"), GLOBAL_REGIONS["aws"])
        for hop, role in enumerate(self._spec.get("assumeRoleChain") or ()):
            self._role_arn(role, hop)
        self._base_credentials(_new_session(), "")
        self._is_sound = True

    # --- what the engine asks for -----------------------------------------------------------------

    def client(self, service: str, region: str, *, once: bool = False) -> Client:
        """The service's client for a region ("" for a global service); `once`: one that never repeats a call.

        Raises:
            InvalidInput: the ProviderConfig can't work, or there is no such region.
            Denied: its credentials source offers none.
        """
        found = self._clients.get((service, region, once))
        if found is not None:
            return found
        with self._lock:
            if (service, region, once) not in self._clients:
                deadline.begin(f"{service}, for want of credentials of ProviderConfig {self._name}")
                check_region(region, self._spec)
                attempts = 1 if once else self._attempts
                self._clients[service, region, once] = self._create(self._base(region), service, region, attempts)
            return self._clients[service, region, once]

    def partition(self, region: str) -> str:
        """
        "aws" for eu-west-1; the endpoint block's partitionId comes first.
        """
        given = str(self._endpoint.get("partitionId") or "")
        region = region or str(self._endpoint.get("signingRegion") or "")
        if given or not region:
            return given or "aws"
        try:
            return str(_resolver().get_partition_for_region(region))
        except UnknownRegionError:  # one of the endpoint's own
            return "aws"

    def dns_suffix(self, region: str) -> str:
        """What the host names of the region's services end with: "amazonaws.com.cn" in China."""
        return str(_resolver().get_partition_dns_suffix(self.partition(region)) or "amazonaws.com")

    def has_own_endpoint(self, service: str) -> bool:
        """Whether the ProviderConfig has the service called somewhere else than AWS is: whoever answers there can say anything."""
        return self._url(service, "") is not None

    @property
    def is_identified(self) -> bool:
        """Whether the account's number is known, so that nobody is asked for it."""
        return bool(self._account_id)

    def account_id(self, region: str) -> str:
        """Asked of STS once, when first needed: some things are found by an ARN only.

        Where the ProviderConfig says not to ask, nothing else is done for want of an answer: then it is zeroes.
        """
        if not self._account_id:
            try:
                self._account_id = self.client("sts", region).get_caller_identity()["Account"]
            except (ClientError, BotoCoreError, ResponseParserError):
                if not (self._spec.get("skip_requesting_account_id") and self._spec.get("skip_credentials_validation")):
                    raise
                self._account_id = UNKNOWN_ACCOUNT
        return self._account_id

    def arn(self) -> str:
        """Who the credentials are; STS is asked, whatever the account says of its validation."""
        region = str(self._endpoint.get("signingRegion") or GLOBAL_REGIONS["aws"])
        return str(self.client("sts", region).get_caller_identity()["Arn"])

    # --- clients ----------------------------------------------------------------------------------

    def _create(self, session: Any, service: str, region: str, attempts: int = ATTEMPTS, **credentials: Any) -> Client:
        signing = self._endpoint.get("signingRegion") or region or GLOBAL_REGIONS.get(self.partition(""), "us-east-1")
        options: dict[str, Any] = {
            "retries": {"mode": "standard", "total_max_attempts": attempts},
            "connect_timeout": CONNECT_TIMEOUT,
            "read_timeout": READ_TIMEOUT,
            "max_pool_connections": 16,
            "user_agent_extra": f"groundplane/{__version__}",
        }
        if self._spec.get("s3_use_path_style") or self._endpoint.get("hostnameImmutable"):
            options["s3"] = {"addressing_style": "path"}
        if method := self._endpoint.get("signingMethod"):
            options["signature_version"] = method
        source = self._credentials_spec.get("source") or ""
        url = self._url(service, region)
        if source == "None":
            if url or self._environ.get("AWS_ENDPOINT_URL"):
                credentials = credentials or {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
            else:
                options["signature_version"] = UNSIGNED
        try:
            client = session.create_client(
                service, region_name=signing, endpoint_url=url, config=Config(**options), **credentials
            )
            client.meta.events.register("before-send", self._before_send)
            client.meta.events.register("before-call", self._before_call)
            client.meta.events.register("before-parse", answers.check)
            client.meta.events.register("after-call", self._after_call)
            client.meta.events.register("after-call-error", self._after_call)
            return client
        except ValueError as error:  # an endpoint that is no URL, a region that can be no host name
            raise InvalidInput(str(error), where=(f"ProviderConfig {self._name}",)) from error

    def _before_call(self, model: Any, context: dict[str, Any], **_: Any) -> None:
        """botocore's hook before a call: nothing is sent if it raises; `context` is the one that the hook after it gets."""
        context[BEGUN] = time.monotonic()
        call = f"{model.service_model.service_name}:{xform_name(model.name)}"
        if self._only is not None and call not in FOR_CREDENTIALS and call not in self._only:
            raise InvalidInput(f"{call} is not called here: no kind file names it for looking")

    def _after_call(
        self,
        event_name: str,
        context: dict[str, Any],
        parsed: Mapping[str, Any] | None = None,
        exception: Exception | None = None,
        **_: Any,
    ) -> None:
        """botocore's hook after a call, its repeats included; `event_name` is after-call[-error].<service>.<operation>."""
        service, operation = event_name.split(".")[1:]
        seconds = time.monotonic() - context.get(BEGUN, time.monotonic())
        self._on_call(service, operation, parsed, exception, seconds)

    def _before_send(self, event_name: str, **_: Any) -> None:
        """botocore's last hook before a request; `event_name` is before-send.<service>.<operation>."""
        service, operation = event_name.split(".")[1:]
        deadline.begin(f"{service} {operation}")
        if service != "sts" and not operation.startswith(READING):
            self._may_write()

    @property
    def _endpoint(self) -> Mapping[str, Json]:
        found: Mapping[str, Json] = self._spec.get("endpoint") or {}
        return found

    def _url(self, service: str, region: str) -> str | None:
        block = self._endpoint.get("url") or {}
        services = self._services()
        if services and service not in services:
            return None
        match block.get("type") or ("Static" if block.get("static") else "Auto"):
            case "Static":
                if not block.get("static"):
                    raise self._bad("spec.endpoint.url.static", "is missing", "give a URL: http://host:port")
                return self._checked_url(str(block["static"]), "static")
            case "Dynamic":
                dynamic = block.get("dynamic") or {}
                if not dynamic.get("host"):
                    raise self._bad("spec.endpoint.url.dynamic.host", "is missing", "give a host name")
                parts = [service, *([region] if region and service != "iam" else []), dynamic["host"]]
                return self._checked_url(f"{dynamic.get('protocol') or 'https'}://{'.'.join(parts)}", "dynamic")
            case "Auto":
                return None
            case other:
                raise self._bad("spec.endpoint.url.type", f"unknown: {shown(other)}", "use Static, Dynamic or Auto")

    def _checked_url(self, url: str, field: str) -> str:
        try:
            parts = urlsplit(url)
            is_fit = parts.scheme in ("http", "https") and parts.port != 0 and is_valid_endpoint_url(url)
        except ValueError:  # brackets without end, a port beyond all ports
            is_fit = False
        if not is_fit:
            mend = (
                "give one: http://host:port" if field == "static" else "give a host's name, and protocol http or https"
            )
            raise self._bad(f"spec.endpoint.url.{field}", f"{shown(url)} is no URL", mend)
        return url

    def _services(self) -> list[str]:
        """The services that the endpoint is for; none: all."""
        found, known = [], LOADER.list_available_services("service-2")
        for index, name in enumerate(self._endpoint.get("services") or ()):
            service = endpoints.service(str(name), known)
            if service is None:
                mend = endpoints.mend(str(name), known)
                raise self._bad(f"spec.endpoint.services[{index}]", f"no service of AWS: {shown(name)}", mend)
            found.append(service)
        return found

    def _bad(self, field: str, what: str, mend: str) -> InvalidInput:
        error = InvalidInput(what, mend=mend, where=(f"ProviderConfig {self._name}", field))
        error.on = (Awaited("aws.upbound.io", "ProviderConfig", name=self._name),)
        if secret := self._credentials_spec.get("secretRef"):
            error.on += (Awaited("", "Secret", str(secret.get("namespace") or ""), str(secret.get("name"))),)
        return error

    # --- the session and its credentials ----------------------------------------------------------

    @property
    def _credentials_spec(self) -> Mapping[str, Json]:
        found: Mapping[str, Json] = self._spec.get("credentials") or {}
        return found

    def _base(self, region: str) -> Any:
        if region not in self._sessions:
            session = _new_session()
            if self._spec.get("skip_metadata_api_check"):
                session.get_component("credential_provider").remove("iam-role")
            credentials = self._base_credentials(session, region)
            for hop, role in enumerate(self._spec.get("assumeRoleChain") or ()):
                if credentials is None:
                    credentials = session.get_credentials()
                if credentials is None:
                    raise Denied(
                        "the default credentials chain offers none to assume a role with",
                        mend="give the pod an identity (IRSA, Pod Identity), or use source: Secret",
                        where=(f"ProviderConfig {self._name}",),
                    )
                credentials = self._assumed(credentials, role, hop, region)
            if credentials is not None:
                session._credentials = credentials  # botocore has no public way for refreshable ones
            self._sessions[region] = session
        return self._sessions[region]

    def _base_credentials(self, session: Any, region: str) -> Any:
        """None: the default chain."""
        spec, source = self._credentials_spec, self._credentials_spec.get("source") or ""
        if source in CHAIN or source == "None":
            return None
        if source == "Secret":
            key = (spec.get("secretRef") or {}).get("key") or ""
            if not key:
                raise self._bad("spec.credentials.secretRef.key", "is missing", "name the key of the Secret")
            if key not in self._secret:
                known = ", ".join(sorted(self._secret)) or "none"
                raise self._bad("spec.credentials.secretRef.key", f"the Secret has no key {key}", f"it has: {known}")
            return self._from_ini(self._secret[key].decode("utf-8", "replace"), "spec.credentials.secretRef")
        if source == "Environment":
            name = (spec.get("env") or {}).get("name") or ""
            if not name:
                raise self._bad("spec.credentials.env.name", "is missing", "name the variable")
            if name not in self._environ:
                raise self._bad("spec.credentials.env.name", f"no such variable: {shown(name)}", "set it")
            return self._from_ini(self._environ[name], "spec.credentials.env")
        if source == "Filesystem":
            return self._from_ini(self._file((spec.get("fs") or {}).get("path"), "spec.credentials.fs.path")(),
                                  "spec.credentials.fs")  # fmt: skip
        if source in ("WebIdentity", "Upbound"):
            return self._web_identity(source, region)
        raise self._bad("spec.credentials.source", f"unknown: {shown(source)}", f"use one of: {', '.join(SOURCES)}")

    def _file(self, path: object, field: str) -> Callable[[], str]:
        """A reader of the file, for tokens are rotated."""
        if not isinstance(path, str) or not path:
            raise self._bad(field, "is missing", "give the path of a file")

        def read() -> str:
            try:
                if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would hang, and a device may never end
                    raise self._bad(field, f"{path} is no regular file", "name one that is mounted into the pod")
                return Path(path).read_text(encoding="utf-8")
            except OSError as error:
                raise self._bad(field, f"can't read {path}: {error.strerror}", "mount it into the pod") from error

        return read

    def _from_ini(self, text: str, field: str) -> Credentials:
        """Credentials from INI text; a missing section header is forgiven.  The text is never quoted."""
        values = _ini(text)
        if values is None:
            raise self._bad(
                field, "is no INI text", "write [default], aws_access_key_id = …, aws_secret_access_key = …"
            )
        key, secret = values.get("aws_access_key_id"), values.get("aws_secret_access_key")
        if not key or not secret:
            missing = "aws_access_key_id" if not key else "aws_secret_access_key"
            raise self._bad(field, f"has no {missing} in section [default]", f"add {missing}")
        return Credentials(key, secret, values.get("aws_session_token") or None)

    def _web_identity(self, source: str, region: str) -> DeferredRefreshableCredentials:
        place = "webIdentity" if source == "WebIdentity" else "upbound.webIdentity"
        spec = self._credentials_spec
        block = (
            spec.get("webIdentity") if source == "WebIdentity" else (spec.get("upbound") or {}).get("webIdentity")
        ) or {}
        role = block.get("roleARN")
        if not role:
            raise self._bad(f"spec.credentials.{place}.roleARN", "is missing", "give the role's ARN")
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
        if is_of_operator and self._namespace and self.has_own_endpoint("sts"):
            mend = "name the services that it is for in spec.endpoint.services, without sts; or use credentials of a Secret"
            raise self._bad("spec.endpoint", "is not handed the operator's own token: with that one acts as it", mend)
        if source == "Upbound":
            return self._file(UPBOUND_TOKEN, f"spec.credentials.{place}")
        if not config:
            path = self._environ.get("AWS_WEB_IDENTITY_TOKEN_FILE")
            return self._file(path, f"spec.credentials.{place}.tokenConfig")
        field = f"spec.credentials.{place}.tokenConfig"
        if config.get("source") == "Filesystem":
            return self._file((config.get("fs") or {}).get("path"), f"{field}.fs.path")
        if config.get("source") != "Secret":
            raise self._bad(f"{field}.source", f"unknown: {shown(config.get('source'))}", "use Secret or Filesystem")
        key = (config.get("secretRef") or {}).get("key") or ""
        if key not in self._secret:
            raise self._bad(f"{field}.secretRef.key", f"the Secret has no key {shown(key)}", "add the token under it")
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
                    where=(f"ProviderConfig {self._name}",),
                )
            return found

        return fetch

    def _role_arn(self, role: Mapping[str, Json], hop: int) -> str:
        arn, field = str(role.get("roleARN") or ""), f"spec.assumeRoleChain[{hop}].roleARN"
        if not arn:
            raise self._bad(field, "is missing", "give the role's ARN")
        if not arn.startswith("arn:"):
            raise self._bad(field, f"{shown(arn)} is no ARN", "write arn:aws:iam::ACCOUNT:role/NAME")
        return arn

    def _sts(self, region: str) -> Callable[..., Client]:
        """What botocore's fetchers call with credentials.  Refreshes come from worker threads: hence a session
        and a lock of its own."""
        own, lock = _new_session(), threading.Lock()

        def create(service: str, **credentials: Any) -> Client:
            with lock:
                if credentials.pop("config", None):  # an unsigned call: keys keep botocore from looking for some
                    credentials = {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
                return self._create(own, service, region, self._attempts, **credentials)

        return create


@cache
def _resolver() -> Any:
    """What knows partitions, regions and their suffixes."""
    return EndpointResolver(LOADER.load_data("endpoints"))


def _new_session() -> Any:
    session = botocore.session.Session()
    session.register_component("data_loader", LOADER)
    retries = {"mode": "standard", "total_max_attempts": ATTEMPTS}
    session.set_default_client_config(  # of those that botocore makes for itself: STS, SSO
        Config(retries=retries, connect_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT)
    )
    return session


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
