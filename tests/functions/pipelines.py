"""One function, asked as a step of a pipeline."""

from __future__ import annotations

from groundplane.core.pipeline import Request, Resource, State
from groundplane.functions import BUILT_IN

COMPOSITE = {"apiVersion": "example.org/v1", "kind": "XApp", "metadata": {"name": "shop"}, "spec": {"size": "small"}}


def bucket(name="b", **more):
    return {"apiVersion": "s3.aws.upbound.io/v1beta1", "kind": "Bucket", "metadata": {"name": name}} | more


def state(resources, composite=COMPOSITE):
    """A state; a resource is an object, or an object with whether it is ready."""
    made = {}
    for name, given in resources.items():
        made[name] = Resource(given[0], ready=given[1]) if isinstance(given, tuple) else Resource(given)
    return State(Resource(composite), made)


def asked(function, given, desired=(), observed=(), *, composite=COMPOSITE, context=None, required=None):
    """What a function that is built in answers; its input must be a valid one."""
    module = BUILT_IN[f"function-{function}"]
    assert module.check(given) == []
    seen = state(dict(observed), composite)
    wanted = state(dict(desired), {"apiVersion": composite["apiVersion"], "kind": composite["kind"]})
    return module.compile(given)(Request(seen, wanted, context or {}, required or {}))


def fatal(response):
    """The one fatal result of an answer."""
    [result] = [result for result in response.results if result.severity == "Fatal"]
    return result.message
