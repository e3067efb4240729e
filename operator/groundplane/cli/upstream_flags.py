"""The flags of Crossplane's `core start` (v1.20 and v2), so that the `args` of an old values file go on being taken.

Each flag of theirs has one row: what it sets here, or what to know since it sets nothing.  Whatever sets nothing is told by one line of the
log when it is given; a flag of our own goes before one of theirs.  An unknown one stays an error.
Source: Crossplane v1.20.11, cmd/crossplane/core/core.go (`startCommand`), and v2.3.4, the same file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from groundplane.runtime import logs

CORE_START = ("core", "start")  # the words that their args may begin with
GIVEN = "groundplane.upstream"  # in click's `meta`: the flags of theirs that were given, with their values

QPS, BURST = 5, 10  # requests for each reconcile a second: crossplane-runtime v1.20, pkg/ratelimiter, LimitRESTConfig

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ms|us|µs|ns|h|m|s)")

log = logs.get_logger(__name__)


class Seconds(click.ParamType[float]):
    """Seconds, or a duration as Go writes it: `90`, `1m30s`."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """
        >>> [Seconds().convert(text, None, None) for text in ("90", "1m30s", "1.5h", "500ms")]
        [90.0, 90.0, 5400.0, 0.5]
        """
        try:
            return float(value)
        except ValueError:
            parts = _PART.findall(value)
        if not parts or "".join(number + unit for number, unit in parts) != value:
            self.fail(f"{value!r} is not a number of seconds, nor a duration as 1m30s.", param, ctx)
        return sum(float(number) * _UNITS[unit] for number, unit in parts)


SECONDS = Seconds()


@dataclass(frozen=True)
class Flag:
    """A flag of theirs; `names` without the dashes, the first is the one that their docs name."""

    names: tuple[str, ...]
    type: Any
    means: str
    """For docs and log: what it sets here, or what is so here whatever it says."""
    sets: Callable[[Any], dict[str, Any]] | None = None
    """Of its value, the settings; None: it sets nothing."""

    @property
    def name(self) -> str:
        return self.names[0]


def _switch(name: str, means: str, *more: str) -> Flag:
    return Flag((name, *more), bool, means)


def _value(name: str, means: str, *more: str, type: Any = str) -> Flag:
    return Flag((name, *more), type, means)


_NO_PACKAGES = "no package is fetched: providers and functions are built in"
_CERTIFICATES = "the webhooks' certificate is in Secret `crossplane-tls-server`, and made if it is not there"
_FUNCTION_CACHE = "`--function-cache` says for how long answers are kept, in memory"
_ALWAYS = "always so"

FLAGS = (
    Flag(("debug", "d"), bool, "`--log-level debug`", lambda on: {"log_level": "debug"} if on else {}),
    Flag(
        ("leader-election", "l"),
        bool,
        "`false` is `--no-leader-election`; by default the Lease is held",
        lambda on: {"no_leader_election": not on},
    ),
    Flag(
        ("max-concurrent-reconciles", "max-reconcile-rate"),
        click.IntRange(min=1),
        "`--qps` five times and `--burst` ten times as much, as there",
        lambda rate: {"qps": float(QPS * rate), "burst": BURST * rate},
    ),
    Flag(
        ("metrics-port",),
        click.IntRange(0, 65535),
        "`--health-port`; of the chart, set `metrics.port` instead",
        lambda port: {"health_port": port},
    ),
    _value("health-probe-port", "probes are answered on the port of the metrics, `--health-port`", type=int),
    _value("profile", "nothing is served for profilers; `--debug-endpoints` serves /debug, for people"),
    _value("service-account", "the Pod's own is used, whatever its name"),
    _value(
        "sync-interval",
        "what is settled is looked at each `--poll-interval`, and all else every ten hours",
        "s",
        type=SECONDS,
    ),
    _value("min-poll-interval", "an annotation `crossplane.io/poll-interval` goes down to a second", type=SECONDS),
    _value("registry", _NO_PACKAGES, "r"),
    _value("ca-bundle-path", _NO_PACKAGES),
    _value("user-agent", _NO_PACKAGES),
    _value("xpkg-cache-dir", _NO_PACKAGES, "cache-dir", "c"),
    _value("package-runtime", "`--function-runtime` says whether packages of functions are run"),
    _value("max-concurrent-package-establishers", _NO_PACKAGES, type=int),
    _switch("enable-dependency-version-upgrades", _NO_PACKAGES),
    _switch("enable-dependency-version-downgrades", _NO_PACKAGES),
    _switch("enable-signature-verification", _NO_PACKAGES),
    _switch("enable-deployment-runtime-configs", "always so, for functions that are run"),
    _switch("enable-provider-deletion-protection", "a Provider that is deleted takes no kind and no object with it"),
    _switch("enable-custom-to-managed-resource-conversion", "managed kinds are chosen by `--activations`"),
    Flag(
        ("enable-webhooks", "webhook-enabled"),
        bool,
        "`--webhooks on`, or `off`; of the chart, set `webhooks.enabled` instead",
        lambda on: {"webhooks": "on" if on else "off"},
    ),
    _switch(
        "enable-composition-webhook-schema-validation",
        "always so: bases and patches are checked against schemas, by webhook and in `FitsSchemas`",
    ),
    _value("tls-server-secret-name", _CERTIFICATES),
    _value("tls-server-certs-dir", _CERTIFICATES),
    _value(
        "tls-client-secret-name", "the Secret for calls of functions is crossplane-tls-client, or what a Function names"
    ),
    Flag(
        ("enable-function-response-cache",),
        bool,
        "`--function-cache 24h`, in memory",
        lambda on: {"function_cache": 86_400.0} if on else {},
    ),
    _value("xfn-cache-dir", _FUNCTION_CACHE),
    _value("xfn-cache-max-ttl", _FUNCTION_CACHE, type=SECONDS),
    _switch("enable-pipeline-inspector", "`groundplane render --explain` shows what each step does"),
    _switch("enable-usages", _ALWAYS),
    _switch("enable-operations", _ALWAYS),
    _switch("enable-external-secret-stores", "connection details go to Secrets only"),
    _switch("enable-environment-configs", "always so: function-environment-configs reads them, built in"),
    _switch("enable-ssa-claims", _ALWAYS),
    _switch("enable-realtime-compositions", _ALWAYS),
    _switch("enable-composition-revisions", _ALWAYS),
    _switch("enable-composition-functions", _ALWAYS),
    _switch("enable-composition-functions-extra-resources", _ALWAYS),
    _switch("restrict-namespaced-events", "events are written beside what they are about"),
    _switch("watch-cache-namespaced", "the whole cluster is followed"),
)


def options(own: set[str]) -> list[click.Option]:
    """Theirs as options that help does not show, but for those that are our `own`, too (`debug`)."""
    return [_option(flag) for flag in FLAGS if not own & set(flag.names)]


def _option(flag: Flag) -> click.Option:
    def given(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        if value is not None:
            ctx.meta.setdefault(GIVEN, []).append((flag, value))

    shape: dict[str, Any] = {"type": flag.type}
    if flag.type is bool:  # alone, or as --debug=false
        shape |= {"is_flag": False, "flag_value": "true"}
    names = [f"{'-' if len(name) == 1 else '--'}{name}" for name in flag.names]
    return click.Option(
        [*names, f"upstream_{flag.name.replace('-', '_')}"], hidden=True, expose_value=False, callback=given, **shape
    )


def settings(ctx: click.Context) -> dict[str, Any]:
    """What the flags of theirs set that were given, but for what a flag of ours says."""
    found: dict[str, Any] = {}
    for flag, value in ctx.meta.get(GIVEN, ()):
        found |= flag.sets(value) if flag.sets else {}
    ours = click.core.ParameterSource.COMMANDLINE
    return {name: value for name, value in found.items() if ctx.get_parameter_source(name) is not ours}


def tell(ctx: click.Context) -> None:
    """One line of the log for each that was given and sets nothing."""
    for flag, _ in ctx.meta.get(GIVEN, ()):
        if flag.sets is None:
            log.warning("a flag of Crossplane's sets nothing here", flag=f"--{flag.name}", means=flag.means)
