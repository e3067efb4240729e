"""Everything that can be set about the operator, in one place: each field with its unit, default and reason.

`cli/run.py` makes a flag and an environment variable of every field: `poll_interval` is `--poll-interval` and
`GROUNDPLANE_POLL_INTERVAL`; a flag goes before its variable.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

from groundplane.core.function_runtime import Bounds
from groundplane.core.function_sources import Rules
from groundplane.errors import InvalidInput, did_you_mean, shown
from groundplane.ports import Options, StaticBinding
from groundplane.runtime.election import JITTER, Terms

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")
BINDINGS = get_args(StaticBinding)
FUNCTION_RUNTIMES = ("none", "Deployment")
CRDS = ("install", "adopt", "leave")
RBAC = ("static", "aggregated")
POSITIVE = (
    "poll_interval",
    "aws_threads",
    "function_calls",
    "qps",
    "burst",
    "circuit_breaker_burst",
    "circuit_breaker_refill_rate",
    "circuit_breaker_cooldown",
)
WEBHOOKS = ("auto", "on", "off")


def setting(default: Any, help: str) -> Any:
    """A field with the sentence that flags, documentation and a test show."""
    return dataclasses.field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Settings:
    """The settings of `groundplane run`.  Raises InvalidInput for values that can't work."""

    kubeconfig: str = setting(
        "", "Kubeconfig file. Default: $KUBECONFIG, else ~/.kube/config, else the Pod's service account."
    )
    context: str = setting("", "Context in that file. Default: its current one.")
    namespace: str = setting(
        "crossplane-system",
        "Namespace for Secrets without a better place; made if it is absent. The default is the one that manifests"
        " written for Crossplane name.",
    )
    strict_upstream: bool = setting(
        False, "Behave exactly as Crossplane v1.20: no helpful defaults, no additional status."
    )
    static_binding: Literal["free", "marked", "never"] = setting(
        "free",
        "Which composites that no claim has yet a claim may take by naming them in spec.resourceRef: free: all, as"
        " upstream; marked: those annotated groundplane.io/bindable-to: NAMESPACE/NAME or NAMESPACE/*; never: none.",
    )
    force: bool = setting(
        False, "Do not look for a Crossplane at work; one that holds our Lease is waited for all the same."
    )
    no_leader_election: bool = setting(
        False, "Write without holding the Lease: for a laptop, where nobody else runs on the cluster."
    )
    takeover_wait: bool = setting(
        False, "Beside a live Crossplane, wait until it has gone, however long, instead of ending with an error."
    )
    crds: Literal["install", "adopt", "leave"] = setting(
        "install",
        "Our CustomResourceDefinitions: install: applied and upgraded by whoever leads, those that somebody else brought stay as they"
        " are; adopt: these, too; leave: to you. None is ever deleted or taken back to an older version.",
    )
    nop_scope: Literal["namespaced", "cluster"] = setting(
        "namespaced",
        "Where a NopResource of provider-nop lives: namespaced, beside ClusterNopResource, as since v0.5; cluster, as until v0.4.",
    )
    activations: str = setting(
        "*",
        "Managed kinds that are ours, as globs over the names of their definitions, with commas: *.rds.aws.upbound.io,*.ec2.*."
        " The others get no definition, and objects of them are somebody else's.",
    )
    rbac: Literal["static", "aggregated"] = setting(
        "static",
        "Rights to the kinds of definitions: static: somebody else gives them; aggregated: each definition gets ClusterRoles, the operator's"
        " and people's, as upstream's RBAC manager makes them, which takes the right to escalate.",
    )
    secret_namespaces: str = setting(
        "",
        "Namespaces whose Secrets are read and written, with commas, the operator's own always among them: rights to Secrets are needed there"
        " alone, and who wants one elsewhere is told so in its condition. Default: all.",
    )
    lease_duration: float = setting(
        15.0,
        "Seconds that the Lease lasts: another replica leads no sooner after the last renewal, whatever has happened.",
    )
    renew_deadline: float = setting(
        10.0,
        "Seconds after its last renewal in which a leader still begins to write; the rest is for what it has begun.",
    )
    retry_period: float = setting(2.0, "Seconds between two renewals.")
    create_wait: float = setting(
        75.0,
        "Seconds until a create that another process began, and that has left no trace in AWS, is repeated: its lease, its longest"
        " call and AWS's delay.",
    )
    poll_interval: float = setting(
        600.0,
        "Seconds between two looks at a settled external resource, give or take a tenth, as upstream's provider for AWS;"
        " each look costs an AWS call. What is in transition is looked at every 2 to 10 seconds.",
    )
    aws_threads: int = setting(
        16,
        "AWS calls at the same time, besides those that hang, and three quarters of them for one account at most:"
        " 16 make about 240 a second at 60 ms; more delay everything else.",
    )
    function_calls: int = setting(16, "Calls at the same time of one function that does not run in this process.")
    function_cache: float = setting(
        0.0,
        "Seconds for which a function's answer to the same request is kept in memory at most, if it allows as much itself by its ttl;"
        " 0: none is, as upstream's default.",
    )
    function_hosts: str = setting(
        "",
        "Hosts outside the cluster at which functions may be called, as globs with commas: Functions hand them the Secrets of composites.",
    )
    function_plaintext: str = setting(
        "",
        "Functions, by name with commas, that may be called without TLS beyond this machine: where a service mesh encrypts.",
    )
    function_templates_dir: str = setting(
        "",
        "Folder with templates for function-go-templating's source FileSystem, read when the operator starts: a ConfigMap that is mounted."
        " Default: none, and that source is refused.",
    )
    function_runtime: Literal["none", "Deployment"] = setting(
        "none",
        "Functions whose package is not built in, and that nobody serves: none: they are refused; Deployment: each is run as a Deployment in"
        " our namespace, with a Service and certificates, as Crossplane does.",
    )
    function_limits: str = setting(
        "",
        "What the container of a function that is run may take at most, cpu=1,memory=512Mi, unless its DeploymentRuntimeConfig says otherwise.",
    )
    function_requests: str = setting("", "What is kept free for it: cpu=100m,memory=64Mi.")
    function_node_selector: str = setting(
        "",
        "Labels of the nodes that functions run on, as name=value with commas, unless a DeploymentRuntimeConfig says otherwise.",
    )
    function_allowed_images: str = setting(
        "",
        "Images of functions that may be run, as globs with commas: xpkg.crossplane.io/crossplane-contrib/*, where a * ends at a slash, and tag or"
        " digest count. What counts is what is pulled. Default: all.",
    )
    tls_client_certs_dir: str = setting(
        "",
        "Folder with ca.crt, tls.crt and tls.key for calls of functions, as upstream's. Default: their Secret, crossplane-tls-client.",
    )
    observe_only: bool = setting(
        False,
        "Change nothing in AWS: what would be created, changed or deleted there is told in Synced=False of the object, with the fields that differ."
        " For a look before a restored or migrated control plane goes to work.",
    )
    objects_identity: str = setting(
        "",
        "ServiceAccount, as NAMESPACE/NAME, that provider-kubernetes' Objects act as in this cluster, by impersonation: they can do what that may, and"
        " no more. Default: the operator's own rights.",
    )
    qps: float = setting(
        500.0, "Requests to the API server per second, on average: what one with two cores takes in its stride."
    )
    burst: int = setting(1000, "Requests to the API server at once, before that average counts.")
    circuit_breaker_burst: float = setting(
        100.0,
        "Changes by others of what a composite is made of, or of itself, that it is reconciled for at once: an update counts twice, as upstream.",
    )
    circuit_breaker_refill_rate: float = setting(
        1.0, "How many more each second; a composite that has none left is reconciled only every ten seconds."
    )
    circuit_breaker_cooldown: float = setting(300.0, "Seconds until it is reconciled at each change again.")
    health_port: int = setting(
        8080, "Port of /livez, /readyz and /metrics, upstream's for metrics; 0 takes any that is free."
    )
    health_host: str = setting("0.0.0.0", "Address of that port: a kubelet asks from outside the Pod.")
    debug_endpoints: bool = setting(
        False,
        "Serve /debug on that port: queues, who waits for what, budgets of AWS. It names objects and ProviderConfigs, to"
        " whoever can reach the port; never what is in them.",
    )
    webhooks: Literal["auto", "on", "off"] = setting(
        "auto",
        "Admission webhooks: on: the API server asks before it stores a definition or a Composition, so that kubectl refuses what is wrong;"
        " needs the chart's Service, or --webhook-url. off: what is wrong is told in conditions. auto: on if there is a --webhook-url, or the API"
        " server is on this machine, and reaches them; at an orderly end they are withdrawn.",
    )
    webhook_port: int = setting(9443, "Port of the webhooks, upstream's, also in the Service.")
    webhook_host: str = setting("0.0.0.0", "Address of that port: the API server asks from outside the Pod.")
    webhook_url: str = setting(
        "",
        "Where the API server reaches that port, as https://HOST:PORT, if the operator runs outside of the cluster. Default: by the Service"
        " crossplane-webhooks in the namespace.",
    )
    webhook_owner: str = setting(
        "",
        "ClusterRole that owns the webhooks' configurations, so that they go when it is deleted: the chart's. Default: they stay until an"
        " operator with --webhooks off leads.",
    )
    shutdown_grace: float = setting(
        20.0, "Seconds that running reconciles get to finish; below the 30 that Kubernetes waits before it kills."
    )
    trace_endpoint: str = setting(
        "",
        "Where traces go, as http://HOST:4318: a collector that takes OTLP over HTTP. Default: what $OTEL_EXPORTER_OTLP_ENDPOINT says; without"
        " either there are none. $OTEL_EXPORTER_OTLP_HEADERS, $OTEL_RESOURCE_ATTRIBUTES and $OTEL_SERVICE_NAME count as well.",
    )
    trace_ratio: float = setting(1.0, "Which part of the traces is kept, from 0 to 1.")
    log_format: Literal["text", "json"] = setting("text", "text for people, json for machines.")
    log_level: Literal["debug", "info", "warning", "error"] = setting("info", "The least that is logged.")

    def __post_init__(self) -> None:
        for name in POSITIVE:
            if getattr(self, name) <= 0:
                raise _wrong(name, getattr(self, name), "give a number above 0")
        if not self.lease_duration > self.renew_deadline > JITTER * self.retry_period > 0:
            raise InvalidInput(
                f"--lease-duration {self.lease_duration:g}, --renew-deadline {self.renew_deadline:g} and --retry-period"
                f" {self.retry_period:g} can't work together",
                mend=f"the first above the second, the second above {JITTER} times the third",
            )
        for name in ("create_wait", "function_cache"):
            if getattr(self, name) < 0:
                raise _wrong(name, getattr(self, name), "give 0 or more seconds")
        if not 0 <= self.trace_ratio <= 1:
            raise _wrong("trace_ratio", self.trace_ratio, "give a number from 0 to 1")
        if self.trace_endpoint and urlsplit(self.trace_endpoint).scheme not in ("http", "https"):
            raise _wrong("trace_endpoint", self.trace_endpoint, "give http://HOST:PORT or https://HOST:PORT")
        if self.shutdown_grace < 0:
            raise _wrong("shutdown_grace", self.shutdown_grace, "give 0 or more seconds")
        for name in ("health_port", "webhook_port"):
            if not 0 <= getattr(self, name) <= 65535:
                raise _wrong(name, getattr(self, name), "give a port from 0 to 65535")
        if self.webhook_url and not _is_address(self.webhook_url):
            raise _wrong(
                "webhook_url",
                self.webhook_url,
                "give https://HOST:PORT; the API server takes no path, query or user here",
            )
        if not self.namespace:
            raise _wrong("namespace", self.namespace, "name one")
        for name, known in (
            ("log_format", FORMATS),
            ("log_level", LEVELS),
            ("static_binding", BINDINGS),
            ("crds", CRDS),
            ("rbac", RBAC),
            ("webhooks", WEBHOOKS),
            ("function_runtime", FUNCTION_RUNTIMES),
        ):
            if getattr(self, name) not in known:
                raise _wrong(name, getattr(self, name), did_you_mean(getattr(self, name), known))
        for name in ("function_limits", "function_requests", "function_node_selector"):
            _pairs(self, name)
        if self.objects_identity and not all(map(_is_namespace, self.objects_identity.split("/", 1))):
            raise _wrong("objects_identity", self.objects_identity, "name a ServiceAccount as NAMESPACE/NAME")
        if self.objects_identity and "/" not in self.objects_identity:
            raise _wrong("objects_identity", self.objects_identity, "name a ServiceAccount as NAMESPACE/NAME")
        for word in _words(self.secret_namespaces):
            if not _is_namespace(word):
                raise _wrong("secret_namespaces", word, "name namespaces, with commas between several")

    @property
    def options(self) -> Options:
        """What of it the reconcilers see."""
        return Options(
            namespace=self.namespace,
            strict_upstream=self.strict_upstream,
            static_binding=self.static_binding,
            nop_scope=self.nop_scope,
            makes_roles=self.rbac == "aggregated",
            poll_interval=self.poll_interval,
            observe_only=self.observe_only,
            create_wait=self.create_wait,
            functions=Rules(
                plaintext=_words(self.function_plaintext),
                hosts=_words(self.function_hosts),
                runs=self.function_runtime == "Deployment",
            ),
            has_certificates=bool(self.tls_client_certs_dir),
            function_bounds=Bounds(
                _pairs(self, "function_limits"),
                _pairs(self, "function_requests"),
                _pairs(self, "function_node_selector"),
                _words(self.function_allowed_images),
            ),
        )

    @property
    def active(self) -> tuple[str, ...]:
        """The globs of `activations`; "-", which is no name, for none."""
        return tuple(glob for glob in _words(self.activations) if glob != "-")

    @property
    def secret_places(self) -> tuple[str, ...]:
        """The namespaces of `secret_namespaces` and the operator's own; none: all there are."""
        named = _words(self.secret_namespaces)
        return tuple(sorted({self.namespace, *named})) if named else ()

    @property
    def terms(self) -> Terms:
        """Of the Lease."""
        return Terms(self.lease_duration, self.renew_deadline, self.retry_period)


_is_namespace = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?").fullmatch


def _words(text: str) -> tuple[str, ...]:
    """What commas separate."""
    return tuple(word for each in text.split(",") if (word := each.strip()))


def _pairs(settings: Settings, name: str) -> dict[str, str]:
    """What commas separate, each a name and a value."""
    found = {}
    for word in _words(getattr(settings, name)):
        key, equals, value = word.partition("=")
        if not (equals and key and value):
            raise _wrong(name, word, "write NAME=VALUE, with commas between several")
        found[key] = value
    return found


def _is_address(url: str) -> bool:
    """Whether it is https with a host, perhaps a port, and nothing else."""
    try:
        parts = urlsplit(url)
        is_plain = parts.path in ("", "/") and not (parts.query or parts.fragment or "@" in parts.netloc)
        return parts.scheme == "https" and bool(parts.hostname) and is_plain and parts.port != 0
    except ValueError:
        return False


def _wrong(name: str, value: object, mend: str) -> InvalidInput:
    return InvalidInput(f"--{name.replace('_', '-')} can't be {shown(value)}", mend=mend)
