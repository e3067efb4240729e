"""What the reconcilers need from the world: Protocols and the plain data that crosses them.

Adapters: `cluster/kubernetes.py` and `cluster/sqlite.py` (Cluster), `aws/cloud.py` (Cloud; `runtime/clouds.py` over all of them),
`runtime/events.py` (Recorder), `runtime/watches.py` (Watches).  Adapters translate the outside's errors into
those of `groundplane.errors`; nothing else gets through.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from groundplane.core import conditions, health
from groundplane.core.accounts import Accounts
from groundplane.core.activation import Policies
from groundplane.core.circuit import Circuits
from groundplane.core.compiled_revisions import CompiledRevisions
from groundplane.core.conditions import Condition
from groundplane.core.declared_kinds import Definitions
from groundplane.core.followers import Followers
from groundplane.core.function_runtime import Bounds
from groundplane.core.function_sources import Rules, Source
from groundplane.core.interests import Interests
from groundplane.core.managed import Creates
from groundplane.core.objects import Json, Key, Object, group_of, key_of, meta
from groundplane.core.paces import Paces
from groundplane.core.references import Reference as Reference  # of a ManagedKind
from groundplane.core.turns import Lane
from groundplane.core.usages import Referent
from groundplane.errors import Awaited, GroundplaneError, InvalidInput

if TYPE_CHECKING:
    from groundplane.core.composition import Compiled
    from groundplane.core.pipeline import Endpoint, Remote, Request, Response, RunFunction

Propagation = Literal["Background", "Foreground", "Orphan"]
MANAGER = "crossplane"  # the field manager of plain updates, as upstream's
UNTRACKED = "before-first-apply"  # the API server's, of what was there when nothing had been tracked


@dataclass(frozen=True)
class Result:
    """What a reconcile that went through wants next.  None: nothing but the next event."""

    requeue_after: float | None = None  # seconds; the queue adds jitter,
    exactly: bool = False  # but not to these: something is due then
    again: bool = False  # what the run itself changed calls for another one: soon, and less soon each time
    on: tuple[Awaited, ...] = ()  # what calls for another one by changing


@dataclass(frozen=True)
class Resource:
    """How a kind is served: where its objects are and what they can do."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    has_status: bool = True  # whether status is a subresource


class Cluster(Protocol):
    """A Kubernetes API.  Objects that come out are the caller's to change; nothing is shared.

    Reads may be served from a cache that is never older than our own last write of the object.
    """

    async def resource(self, api_version: str, kind: str) -> Resource:
        """How the kind is served.  Raises NoSuchKind if it is not."""

    async def get(self, key: Key, *, live: bool = False) -> Object | None:
        """The object, or None if there is none.  `live` asks the API server itself.

        Raises NoSuchKind if the kind is not served: "not there" is only said when it is certain.
        """

    async def referenced(self, key: Key) -> Object | None:
        """As `get`, for a Secret that is read over and over: fetched anew only when a watch tells of its change.

        Needs a watch of its kind's metadata (`Watches.ensure`); without one, each read asks the API server.
        """

    async def count(self, api_version: str, kind: str, label: tuple[str, str]) -> int:
        """How many objects of a kind have this label, as (name, value).  Raises NoSuchKind if the kind is not served."""

    async def list(
        self,
        api_version: str,
        kind: str,
        *,
        namespace: str = "",
        labels: Mapping[str, str] | None = None,
        controller: str = "",
    ) -> list[Object]:
        """All objects of a kind (of all namespaces if "" is given), sorted by namespace and name.

        With `controller`, a UID, only what that object controls.  Raises NoSuchKind if the kind is not served.
        """

    async def heads(
        self, api_version: str, kind: str, cut: Callable[[Object], Object], *, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        """As `list`, but of each object only what `cut` leaves, which is remembered: large objects are read once."""

    async def dependents(self, group: str, kind: str) -> Sequence[Object]:
        """The objects, of all followed kinds, whose controller is of that kind, be it there or not."""

    async def usages_of(self, used: Referent) -> Sequence[Key]:
        """The usages, of all three kinds, that keep this object from being deleted, sorted by kind, namespace and name."""

    async def create(self, obj: Object) -> Object:
        """POST.  Raises AlreadyExists, Rejected, NoSuchKind, Denied; NotFound: no such namespace."""

    async def update(self, obj: Object, *, subresource: Literal["", "status"] = "") -> Object:
        """PUT with the object's resourceVersion.  Equal to what is there: no request.

        Raises Conflict (somebody wrote in between), NotFound (it is gone), Rejected.
        """

    async def apply(
        self, obj: Object, *, manager: str, subresource: Literal["", "status"] = "", dry_run: bool = False
    ) -> Object:
        """Server-side apply with force: exactly `obj`'s fields are owned by `manager` afterwards.

        What the manager owned and `obj` no longer has is removed.  If all is as wanted already, no
        request is sent.  A null in `obj` is dropped first.  With a resourceVersion in `obj` it is a Conflict if
        somebody wrote in between: "1", which no object has, makes one and takes none that is there.  With `dry_run` nothing is
        written: the object comes as it would be.  Raises Rejected, Conflict, NoSuchKind, Denied.
        """

    async def patch(
        self,
        key: Key,
        patch: Sequence[Mapping[str, Json]] | Mapping[str, Json],
        *,
        subresource: Literal["", "status"] = "",
    ) -> Object:
        """A sequence is a JSON patch, a mapping a JSON merge patch.  Raises NotFound, Conflict, Rejected.

        A failed `test` operation of a JSON patch is a Conflict.
        """

    async def delete(self, key: Key, *, uid: str = "", propagation: Propagation | None = None) -> bool:
        """Ask for deletion; False if it was gone already.  With `uid`, only that incarnation (else Conflict).

        Raises InUse: a usage protects it.
        """


class Recorder(Protocol):
    def event(
        self,
        about: Object,
        type_: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        *,
        source: str = "",
        annotations: Mapping[str, str] | None = None,
    ) -> None:
        """Tell what happened, on the object that it is about.  Never blocks, never fails, dedupes."""


class Watches(Protocol):
    """Which kinds are followed beyond those that are always followed."""

    async def ensure(self, kinds: Iterable[tuple[str, str]], *, whole: bool = False) -> None:
        """Follow kinds, as (api version, kind), from now on: their changes enqueue them and their owners.

        What is composed of them is enough, unless they are wanted `whole`.

        Returns when they are followed and listed once, or at once if they are already; a kind that
        is not served is not followed (a later call tries again).
        """

    async def follow(self, api_version: str, kind: str, plural: str, *, namespaced: bool, role: str) -> None:
        """Follow a kind that a definition brought into being; `role` is "claim" or "composite".

        Returns when it is really followed, or after a while if that takes long.
        """

    def expect(self, awaited: Sequence[Awaited]) -> None:
        """Somebody waits for these: have their changes told for a while, of kinds, too, that are not followed otherwise."""

    def unfollow(self, api_version: str, kind: str) -> None:
        """No more; the kind's CustomResourceDefinition is gone."""

    def enqueue(self, key: Key) -> None:
        """Have another object reconciled, by whichever controller its kind has."""

    def enqueue_listed(self, obj: Object) -> None:
        """Have an object looked at that was there before its kind was followed: soon if somebody waits for that."""

    def wake(self, keys: Sequence[Key]) -> None:
        """What these work with has changed: have those reconciled soon that have failed, and the others by and by, twenty a second."""


# --- the Cloud port -------------------------------------------------------------------------------


@dataclass(frozen=True)
class SecretField:
    """A write-only input that comes from a Secret."""

    field: str  # its name in AWS terms of the kind file: "password"
    ref: str  # "passwordSecretRef" in forProvider
    generate: str = ""  # the boolean in forProvider that asks for a generated value: "autoGeneratePassword"
    length: int = 27  # characters, alphanumeric, of a generated value
    in_connection: str = ""  # the key of the own connection Secret where it is, generated, if nothing is named


@dataclass(frozen=True)
class Shared:
    """A forProvider field that is, in AWS, what objects of another kind are: a topic's policy, and a TopicPolicy."""

    field: str
    group: str
    kind: str


@dataclass(frozen=True)
class ManagedKind:
    """What the managed reconciler must know of a kind; the rest stays in the adapter."""

    api_versions: tuple[str, ...]  # ("rds.aws.upbound.io/v1beta1", …), the first is the preferred one
    kind: str
    plural: str
    external_name: Literal["name", "assigned", "composite"]
    references: tuple[Reference, ...] = ()
    secrets: tuple[SecretField, ...] = ()
    required: tuple[str, ...] = ()  # forProvider fields without which a create can't work
    regional: bool = True
    asynchronous: bool = False  # upstream calls in the background: conditions AsyncOperation, LastAsyncOperation
    repeatable: bool = False  # a create that is sent twice makes no second thing: by its name, or by a token
    shared: tuple[Shared, ...] = ()  # fields that other kinds set, too
    namespaced: bool = False  # its objects live in namespaces
    cloud: str = "AWS"  # what its things are in, in texts
    consistent: bool = False  # what was written is seen at once: "not there" is true right after a create
    ready_at_once: bool = False  # what is there is usable: it is in no state on its way there
    marked_by: str = "tags"  # what says there whose a thing is, in texts
    connection: tuple[str, ...] = ()  # the keys of its connection Secret, sorted
    refers: bool = False  # to objects of any kind: it watches them, and leaves a finalizer on them
    # What is made says who made it, and made twice it is one thing: its creates need no notes of when they began and ended.
    tells_maker: bool = False

    @property
    def group(self) -> str:
        return group_of(self.api_versions[0])

    @property
    def versions(self) -> tuple[str, ...]:
        """Without their group, the preferred one first."""
        return tuple(each.rpartition("/")[2] for each in self.api_versions)

    @property
    def name(self) -> str:
        """Of its definition: "instances.rds.aws.upbound.io"."""
        return f"{self.plural}.{self.group}"


@dataclass(frozen=True)
class Account:
    """Whose account with a provider, with which credentials.  Never printed: it holds secrets."""

    provider_config: Object  # {}: of a provider that has none
    credentials: Mapping[str, bytes] = field(default_factory=dict, repr=False)  # the referenced Secret's data
    version: str = ""  # changes when the credentials do (uid, generation, digest of what the Secret holds)
    lane: Lane = "change"  # why it is called: where calls wait, changes go first


@dataclass(frozen=True)
class Difference:
    """One field that is not as desired."""

    field: str
    desired: Json
    observed: Json


@dataclass(frozen=True)
class Observation:
    """What was found in the cloud, and how it compares with what is desired."""

    exists: bool
    ready: Condition | None = None  # what the resource's own state says; None: keep what was there
    at_provider: Mapping[str, Json] = field(default_factory=dict)
    late: Mapping[str, Json] = field(default_factory=dict)  # unset forProvider fields that AWS filled
    drift: tuple[Difference, ...] = ()  # may be sent in an update now
    immutable: tuple[Difference, ...] = ()  # differ, and can't be changed: the spec must be reverted
    notes: tuple[str, ...] = ()  # worth an event, once per text
    contested: tuple[str, ...] = ()  # fields that somebody else sets back after each update
    connection: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    external_name: str = ""  # canonical, if it differs from the annotation (lower-cased by AWS)
    settled: bool = True  # False: in transition, observe again soon
    deleting: bool = False  # AWS is at it: no further delete call
    item: Any = field(default=None, repr=False)  # the adapter's own
    owner: Mapping[str, str] = field(default_factory=dict)  # tags that say whose it is, where atProvider has none
    obstacle: GroundplaneError | None = None  # not there, and can't be created yet: what for
    to_note: Mapping[str, str] = field(default_factory=dict)  # not there: annotations to save before it is created
    may_come: bool = False  # not there, and another process may be making it just now
    conditions: tuple[Condition, ...] = ()  # further ones, beside Ready and before Synced
    next_look: float | None = None  # seconds, where it is known when something will have changed
    rests: bool = False  # once it is settled it is not looked at by and by: somebody has asked for that
    released: tuple[str, ...] = ()  # finalizers that its deletion does not wait for
    watches: tuple[Key, ...] = ()  # objects of this cluster at whose changes it is looked at again
    wakes: tuple[
        Key, ...
    ] = ()  # objects that may lack something once this is updated or deleted, or that waited until it is gone: they are looked at then
    renew: tuple[str, ...] = ()  # generated secrets that an update is to replace: stored anew before it


@dataclass(frozen=True)
class Default:
    """A forProvider field that the user left out and that a create needs: written into spec before the create."""

    field: str
    value: Json
    note: str  # for an event


@dataclass(frozen=True)
class Creation:
    external_name: str
    connection: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    observation: Observation | None = None  # what the answer shows, where that spares a look
    wakes: tuple[Key, ...] = ()  # objects that have waited for it: they are looked at now


class Cloud(Protocol):
    """A cloud whose resources managed resources stand for.

    Raises Denied, Throttled, Unavailable, InvalidInput (the cloud refuses the spec: terminal until
    it is edited), Waiting (busy or depending on others; soon again).  "Not there" is never raised: it is
    `Observation(exists=False)`, and only a positive "not found" says so.
    """

    def kind(self, api_version: str, kind: str) -> ManagedKind | None: ...

    def kinds(self) -> Sequence[ManagedKind]: ...

    def default_external_name(self, managed: Object) -> str:
        """The name that we choose for it, or "" where the cloud assigns it."""

    def check(self, managed: Object) -> None:
        """Raise InvalidInput for a spec that can't work, before any call (names, combinations)."""

    async def check_account(self, account: Account) -> None:
        """Raise InvalidInput for a ProviderConfig that can't work, as far as that shows without a call to the cloud."""

    def defaults(self, managed: Object) -> Sequence[Default]:
        """Helpful values to write into forProvider before a create; none with strict upstream behaviour."""

    async def observe(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Observation: ...

    async def find(self, managed: Object, account: Account) -> str | None:
        """Search by our ownership tags for what an interrupted create made: its external name, "" if certainly nothing, None if unknowable."""

    async def create(self, managed: Object, account: Account, secrets: Mapping[str, str]) -> Creation: ...

    async def update(
        self, managed: Object, account: Account, secrets: Mapping[str, str], observation: Observation
    ) -> Mapping[str, bytes]: ...

    async def delete(self, managed: Object, account: Account, observation: Observation) -> None: ...

    async def let_go(self, managed: Object) -> None:
        """Of a kind that `refers`: take off what it has left on others' objects, before its own object goes."""


class Targets(Protocol):
    """The clusters that provider-kubernetes' Objects stand for something in."""

    async def here(self) -> Cluster:
        """This one, as whoever Objects act as in it."""

    async def there(self, config: str, version: str, kubeconfig: bytes, *, by_aws: bool = False) -> Cluster:
        """The one that a kubeconfig leads to; it belongs to the ProviderConfig of that UID, and `version` changes with it.

        `by_aws`: one of EKS, where we log in as who we are in AWS.  Raises InvalidInput for one that can't be used.
        """

    def check(self, kubeconfig: bytes, *, by_aws: bool = False) -> None:
        """Raise InvalidInput for a kubeconfig that can't be used.  No call is made."""


class Collected(Protocol):
    """What an ObservedObjectCollection finds."""

    async def collected(self, collection: Object, account: Account) -> Sequence[Object]:
        """The objects that it selects in the cluster of its account, sorted by namespace and name.

        Raises as `Cloud`.
        """


# --- functions that run elsewhere ---------------------------------------------------------------------


@dataclass(frozen=True)
class Certificates:
    """PEM: whom to trust, and who we are.  Never printed: it holds a private key."""

    ca: bytes = field(repr=False)
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)


class Certifier(Protocol):
    """Makes certificates that the operator's own authority signs."""

    async def ensure(self, secret: str, hosts: Sequence[str], owner: Object | None) -> str:
        """Have a Secret in our namespace with a certificate for these names, renewed in time; what changes when it does.

        `owner` is an owner reference.  One that somebody else has put there is used.  Raises InvalidInput if that can't be.
        """


class Functions(Protocol):
    """Composition functions that do not run in this process."""

    async def run(self, remote: Remote, request: Request, certificates: Certificates | None) -> Response:
        """Ask a function; without certificates, in plaintext.

        Raises Unavailable (it does not answer; it may later), Busy (its turn has not come), InvalidInput (it refuses the
        request, or its answer can't be used).
        """

    async def problem(self, name: str, endpoint: Endpoint, certificates: Certificates | None) -> str:
        """Why there is no connection to a function, in words; "": there is one."""


class NoFunctions:
    """Functions where there is nothing to call them with."""

    async def run(self, remote: Remote, request: Request, certificates: Certificates | None) -> Response:
        raise InvalidInput(f"Function {remote.name} does not run in this process, and nothing here can call it")

    async def problem(self, name: str, endpoint: Endpoint, certificates: Certificates | None) -> str:
        return "nothing here can call functions that run elsewhere"


class Work(Protocol):
    """Where functions of this process run."""

    async def run(self, function: RunFunction, request: Request) -> Response:
        """Run one; what takes long holds up nobody.  Raises what it raises, and Busy: its turn has not come."""


class AtOnce:
    """Work that is done where it comes up."""

    async def run(self, function: RunFunction, request: Request) -> Response:
        return function(request)


# --- the definitions that are built in ----------------------------------------------------------------


class BuiltIn(Protocol):
    """The managed kinds that are built in, by the names of their definitions (`vpcs.ec2.aws.upbound.io`): how they come to the cluster."""

    def has(self, name: str) -> bool:
        """Whether it is one of them, and ours to bring."""

    def inactive(self, api_version: str, kind: str) -> str:
        """The name of a kind's definition, if it is one of them and is not active here; else ""."""

    async def bring(self, name: str) -> None:
        """Have its CustomResourceDefinition applied, unless one is there.  Raises Denied, Rejected, Conflict, Unavailable."""

    async def declare(self, name: str) -> None:
        """Have its ManagedResourceDefinition made, if it is one of them and has none.  Raises as `bring`."""


class NothingBuiltIn:
    """Where all definitions are there from the start, or are somebody else's business."""

    def has(self, name: str) -> bool:
        return False

    def inactive(self, api_version: str, kind: str) -> str:
        return ""

    async def bring(self, name: str) -> None:
        return None

    async def declare(self, name: str) -> None:
        return None


# --- what a reconciler is handed ----------------------------------------------------------------------

StaticBinding = Literal["free", "marked", "never"]


@dataclass(frozen=True)
class Options:
    """The settings that change what reconcilers decide."""

    namespace: str = "crossplane-system"  # the operator's own: Secrets without a better place
    strict_upstream: bool = False  # switches helpful defaults and additive status off
    static_binding: StaticBinding = "free"  # which composites that no claim has yet a claim may name
    nop_scope: str = "namespaced"  # where a NopResource lives: "namespaced" or "cluster"
    makes_roles: bool = False  # definitions get their ClusterRoles from us
    poll_interval: float = 600.0  # seconds between two looks at a settled external resource
    observe_only: bool = False  # nothing in AWS is created, changed or deleted: what would be is told
    create_wait: float = 75.0  # seconds until a create that another process began and that left no trace is repeated
    functions: Rules = field(default_factory=Rules)  # where functions of pipelines may run
    templates: Mapping[str, str] | None = None  # of function-go-templating's folder, by path; None: there is none
    has_certificates: bool = False  # the process has certificates for functions; no Secret needs to
    function_bounds: Bounds = field(default_factory=Bounds)  # of the Pods of functions' packages that are run


@dataclass(frozen=True)
class Context:
    """The ports, the clock and the options, the same for the whole process; and why this reconcile is run."""

    cluster: Cluster
    cloud: Cloud
    events: Recorder
    watches: Watches
    now: Callable[[], datetime]
    choose: Callable[[int], int]  # a random index below n, for names and for selection
    compiled: Callable[[Object, Mapping[str, Source]], Compiled]  # compiles a revision; its functions' sources by name
    functions: Functions = field(default_factory=NoFunctions)
    work: Work = field(default_factory=AtOnce)
    certifier: Certifier | None = None  # None: nothing is run for packages of functions
    collected: Collected | None = None  # None: nothing is collected
    definitions: Definitions = field(default_factory=Definitions)
    interests: Interests = field(default_factory=Interests)
    followers: Followers = field(default_factory=Followers)
    accounts: Accounts = field(default_factory=Accounts)
    circuits: Circuits = field(default_factory=Circuits)
    paces: Paces = field(default_factory=Paces)
    policies: Policies = field(default_factory=Policies)
    built_in: BuiltIn = field(default_factory=NothingBuiltIn)
    compiled_revisions: CompiledRevisions = field(default_factory=CompiledRevisions)
    options: Options = field(default_factory=Options)
    is_waiting: Callable[[Key], bool] = lambda key: (
        False
    )  # whether an object's reconcile waits for its turn, or has just begun
    draw: Callable[[int], int] = secrets.randbelow  # an index below n that nobody can guess, for passwords
    uptime: Callable[[], float] = time.monotonic  # seconds of a clock that nobody sets
    creates: Creates = field(default_factory=Creates)
    noted: dict[str, tuple[str, ...]] = field(default_factory=dict)  # what was said once, by UID; silence.py bounds it
    lane: Lane = "change"  # in which the queue had it

    def tell(self, obj: Object, *told: Condition, outlook: Condition | None, generation: int | None = None) -> None:
        """Set conditions on an object's status, in place, and what is still to come of it (`health.tell`).

        With strict upstream behaviour the conditions alone, as of that `generation`.
        """
        if self.options.strict_upstream:
            conditions.set_on(obj, *told, now=self.now(), generation=generation)
        else:
            health.tell(obj, *told, outlook=outlook, now=self.now(), counted=self.counts(obj))

    def counts(self, obj: Object) -> bool:
        """Whether status.observedGeneration of an object is ours: a definition may have a field of that name of its own."""
        key = key_of(obj)
        known = self.definitions.composite(key.group, key.kind) or self.definitions.claim(key.group, key.kind)
        return known is None or not known.has_own_generation

    def observed_generation(self, obj: Object) -> int | None:
        """What conditions say as observedGeneration; upstream's v1 schemas have no such field."""
        return None if self.options.strict_upstream else meta(obj).get("generation")
