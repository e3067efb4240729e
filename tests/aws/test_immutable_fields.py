"""Every field that can't be changed, of every kind: whoever edits it is told so by its name, and nothing is sent."""

import copy

import pytest

from groundplane.aws import catalogue
from groundplane.errors import InvalidInput
from tests.aws.conftest import made
from tests.aws.test_life import World, make_policies, secrets

KINDS = {found.file: found for found in catalogue.first_generation()}


def another(value, rule):
    """A value of the same type that is not the one that is there."""
    if rule.values:
        return next((each for each in rule.values if each != value), None)
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}x"
        case list():
            return [*value[:-1], another(value[-1], rule)] if value and isinstance(value[-1], str) else None
    return None


@pytest.mark.soak
@pytest.mark.parametrize("found", KINDS.values(), ids=KINDS)
async def test_an_edit_of_what_can_t_be_changed_is_told_by_its_name(cloud, patient_cloud, account, standin, found):
    make_policies(standin)
    world, hidden = World(cloud, patient_cloud, account), secrets(found)
    thing = await world.thing(found, "orders-one")
    thing["metadata"]["annotations"] |= (await cloud.observe(thing, account, hidden)).to_note
    shown = (await made(cloud, thing, account, hidden)).at_provider
    standin.forget_calls()
    silent = []
    for name, rule in found.fields.items():
        is_seen = rule.observe or f"{{spec.{name}}}" in found.external_name.format
        if not rule.immutable or rule.secret or not is_seen:
            continue
        edited, asked = copy.deepcopy(thing), thing["spec"]["forProvider"]
        current = asked.get(name, shown.get(name))
        value = None if current is None else another(current, rule)
        if value is None:  # AWS, or the stand-in, shows nothing of it
            continue
        edited["spec"]["forProvider"][name] = value
        try:
            cloud.check(edited)
            observation = await cloud.observe(edited, account, hidden)
        except InvalidInput as error:
            if name not in str(error):
                silent.append(f"{name}: {error}")
            continue
        if name not in [each.field for each in observation.immutable] or name in [
            each.field for each in observation.drift
        ]:
            silent.append(f"{name}: {value}: {observation.immutable} {observation.drift} {observation.exists}")
    assert not silent
