"""botocore's clients, each made here: with the account's endpoint, with the gate before what changes AWS, heard when a call has ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping
from typing import Any

from botocore import UNSIGNED, xform_name
from botocore.config import Config

from groundplane import __version__
from groundplane.aws import answers, deadline
from groundplane.aws.account_config import AccountConfig
from groundplane.aws.answers import READING
from groundplane.aws.sdk import ATTEMPTS, CONNECT_TIMEOUT, GLOBAL_REGIONS, READ_TIMEOUT
from groundplane.errors import InvalidInput

Client = Any  # botocore's clients are made at run time
OnCall = Callable[[str, str, Mapping[str, Any] | None, Exception | None, float], None]
FOR_CREDENTIALS = frozenset(
    f"sts:{name}" for name in ("get_caller_identity", "assume_role", "assume_role_with_web_identity")
)
BEGUN = "groundplane_begun"  # in botocore's context of a call: when it began, by the monotonic clock


class ClientFactory:
    """What the clients of all accounts have in common.  Safe to use from many threads, a session from one at a time."""

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        attempts: int = ATTEMPTS,
        may_write: Callable[[], None] = lambda: None,
        on_call: OnCall = lambda service, operation, answer, error, seconds: None,
        only: Container[str] | None = None,
    ) -> None:
        """`only` these calls, `service:method`, get through beside those for credentials; None: all do.

        `may_write` is asked right before each request of a call that changes AWS, repeats included, and raises NotLeader.

        `on_call` is told of each call when it has ended, on whichever thread made it: service, operation, the answer as botocore
        has parsed it, what was raised instead, seconds.
        """
        self.environ = environ
        self._attempts, self._may_write, self._on_call, self._only = attempts, may_write, on_call, only

    def create(
        self, config: AccountConfig, session: Any, service: str, region: str, *, once: bool = False, **keys: Any
    ) -> Client:
        """The client of a service in a region ("" for a global service); `once`: it never repeats a call; `keys`: credentials of its own.

        Raises:
            InvalidInput: there can be no such endpoint, or no such region.
        """
        signing = config.signing_region or region or GLOBAL_REGIONS.get(config.partition(""), "us-east-1")
        options: dict[str, Any] = {
            "retries": {"mode": "standard", "total_max_attempts": 1 if once else self._attempts},
            "connect_timeout": CONNECT_TIMEOUT,
            "read_timeout": READ_TIMEOUT,
            "max_pool_connections": 16,
            "user_agent_extra": f"groundplane/{__version__}",
        }
        if config.spec.get("s3_use_path_style") or config.endpoint.get("hostnameImmutable"):
            options["s3"] = {"addressing_style": "path"}
        if method := config.endpoint.get("signingMethod"):
            options["signature_version"] = method
        url = config.url(service, region)
        if config.source == "None":
            if url or self.environ.get("AWS_ENDPOINT_URL"):
                keys = keys or {"aws_access_key_id": "none", "aws_secret_access_key": "none"}
            else:
                options["signature_version"] = UNSIGNED
        try:
            client = session.create_client(
                service, region_name=signing, endpoint_url=url, config=Config(**options), **keys
            )
            client.meta.events.register("before-send", self._before_send)
            client.meta.events.register("before-call", self._before_call)
            client.meta.events.register("before-parse", answers.check)
            client.meta.events.register("after-call", self._after_call)
            client.meta.events.register("after-call-error", self._after_call)
            return client
        except ValueError as error:  # an endpoint that is no URL, a region that can be no host name
            raise InvalidInput(str(error), where=(config.place,)) from error

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
