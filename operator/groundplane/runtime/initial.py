"""What Crossplane's init leaves in a cluster for those who look for it: the Lock, and what Functions run as unless they say otherwise.

Each is made where it is missing when we begin to lead, or to work on a store; whoever edits it has the last word.
Source: Crossplane v2.3, internal/initializer/{lock,deployment_runtime_config}.go.
"""

from __future__ import annotations

from groundplane.core.objects import Object, key_of
from groundplane.errors import AlreadyExists, Denied, NoSuchKind
from groundplane.ports import Cluster
from groundplane.runtime import logs

_VERSION = "pkg.crossplane.io/v1beta1"
OBJECTS: tuple[Object, ...] = (
    {"apiVersion": _VERSION, "kind": "Lock", "metadata": {"name": "lock"}},
    {"apiVersion": _VERSION, "kind": "DeploymentRuntimeConfig", "metadata": {"name": "default"}, "spec": {}},
)

log = logs.get_logger(__name__)


async def make(cluster: Cluster) -> None:
    """Make what is missing; what may not be made is told of in the log, for nothing here needs it.

    Raises:
        NotLeader, Unavailable: it may be missing still.
    """
    for obj in OBJECTS:
        key = key_of(obj)
        try:
            if await cluster.get(key) is None:
                await cluster.create(obj)
                log.info("object of the start made", key=str(key))
        except AlreadyExists:
            continue  # somebody else was faster
        except (NoSuchKind, Denied) as error:
            log.warning("object of the start could not be made", key=str(key), error=str(error))
