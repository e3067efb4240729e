"""What a kind's own module may add to its YAML file: the extension points, all of them optional.

`kinds/<service>_<kind>.py` subclasses `Hooks` under the same name.  Hooks run in a worker thread, get the
`Resource` at hand (spec, external name, calls) and let botocore's errors out: the engine translates them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from groundplane.core.objects import Json
from groundplane.ports import Default, Difference

if TYPE_CHECKING:
    from groundplane.aws.resource import Resource

Item = dict[str, Any]  # a thing as AWS describes it
Parameters = dict[str, Any]  # of a call


class Hooks:
    def defaults(self, resource: Resource) -> Sequence[Default]:
        """Helpful values for fields that the user left out; `resource` can make no calls here."""
        return ()

    def check(self, resource: Resource) -> None:
        """Raise InvalidInput for what can't work whether it exists or not; no calls here."""

    def check_create(self, resource: Resource) -> None:
        """Raise InvalidInput for what a create lacks, and an existing thing may lack; no calls here."""

    def resolved(self, resource: Resource) -> str:
        """The external name to observe with, where the annotation may hold something else of the thing's."""
        return resource.external_name

    def create_call(self, resource: Resource) -> tuple[str, Parameters]:
        """Another call than the kind's create, "" for that one, and parameters of its own."""
        return "", {}

    def created(self, resource: Resource, answer: Item) -> None:
        """Right after a create.  May fail or be lost to a crash: what matters must also be found by `drift`."""

    def observed(self, resource: Resource, item: Item) -> Item:
        """Complete what was read, before anything is compared."""
        return item

    def drift(self, resource: Resource, item: Item, found: list[Difference]) -> list[Difference]:
        """Add differences that the fields can't tell, drop those that are none."""
        return found

    def notes(self, resource: Resource, item: Item) -> Sequence[str]:
        """What is worth an event, once per text."""
        return ()

    def published(self, resource: Resource, item: Item, at_provider: dict[str, Json]) -> None:
        """Adjust status.atProvider."""

    def connection(self, resource: Resource, item: Item) -> Mapping[str, str]:
        """Connection details beyond the kind file's."""
        return {}

    def parameters(self, resource: Resource, group: str, item: Item, parameters: Parameters) -> Parameters:
        """The last word on an update call's parameters."""
        return parameters

    def update(self, resource: Resource, group: str, item: Item, fields: Sequence[str]) -> None:
        """Send an update group that has no call of its own."""
        raise NotImplementedError(f"{resource.kind.kind}: update group {group} needs a hook")

    def before_delete(self, resource: Resource, item: Item, parameters: Parameters) -> None:
        """Clean up what stands in the way; complete the delete call's parameters, in place."""

    def delete_refused(self, resource: Resource, code: str, text: str) -> bool:
        """Cure what AWS refused the delete for.  True: try once more."""
        return False
