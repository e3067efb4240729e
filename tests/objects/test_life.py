"""An Object's life: its object is made, mended and deleted, in both generations."""

from __future__ import annotations

from datetime import timedelta

import pytest

from groundplane.core import managed as core
from groundplane.core.objects import Key, has_finalizer, key_of, meta
from groundplane.objects.account import OF_AWS
from groundplane.objects.crds import IDENTITIES
from tests.contracts.conftest import definition
from tests.objects.conftest import (
    GROUP,
    NAMESPACED,
    TEAM,
    again,
    applied,
    config,
    configmap,
    deleted,
    edited,
    is_quiet,
    is_ready,
    made,
    message,
    secret,
    seen,
    texts,
    thing,
)

OLD = "kubernetes.crossplane.io/v1alpha1"
SOURCE = {"apiVersion": "v1", "kind": "Namespace", "name": TEAM}


@pytest.mark.parametrize("version", [GROUP, OLD, NAMESPACED])
async def test_an_object_is_made_mended_and_deleted(version):
    world = await made()
    place = {"namespace": TEAM} if version == NAMESPACED else {}
    mine = thing(configmap(), version=version, **place)
    obj = await applied(world, mine)
    assert is_ready(obj), message(obj)
    live = await seen(world, configmap())
    assert live["data"] == {"colour": "blue"}
    assert {e["manager"] for e in meta(live)["managedFields"]} == {
        f"provider-kubernetes/{TEAM}/some" if place else "provider-kubernetes/some"
    }
    assert obj["status"]["atProvider"]["manifest"]["data"] == {"colour": "blue"}
    assert await is_quiet(world, mine)

    await world.patch(key_of(configmap()), {"data": {"colour": "red", "size": "xl"}})
    await world.settle(seconds=70)
    assert (await seen(world, configmap()))["data"] == {"colour": "blue", "size": "xl"}, "others' fields stay"
    await world.cluster.delete(key_of(configmap()))
    await world.settle(seconds=70)
    assert (await seen(world, configmap()))["data"] == {"colour": "blue"}

    assert is_ready(await edited(world, mine, {"forProvider": {"manifest": configmap(shape="round")}}))
    await edited(world, mine, {"forProvider": {"manifest": {"data": {"colour": None}}}})
    assert (await seen(world, configmap()))["data"] == {"shape": "round"}
    assert await deleted(world, mine) is None
    assert await seen(world, configmap()) is None


async def test_without_a_name_it_has_its_objects_and_in_a_namespace_it_is_in_that():
    world = await made()
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}}
    assert is_ready(await applied(world, thing(manifest, "mine", namespace=TEAM)))
    assert await world.cluster.get(Key("v1", "ConfigMap", TEAM, "mine"))


# --- policies


@pytest.mark.parametrize(
    ("spec", "version", "stays"),
    [
        ({"deletionPolicy": "Orphan"}, GROUP, True),
        ({"managementPolicies": ["Observe", "Create", "Update"]}, GROUP, True),
        ({"managementPolicy": "ObserveCreateUpdate"}, OLD, True),
        ({"managementPolicy": "Default"}, OLD, False),
    ],
)
async def test_what_may_not_be_deleted_stays(spec, version, stays):
    world = await made()
    mine = thing(configmap(), version=version, **spec)
    assert is_ready(await applied(world, mine))
    assert await deleted(world, mine) is None
    assert bool(await seen(world, configmap())) is stays


@pytest.mark.parametrize(
    "spec",
    [{"managementPolicies": ["Observe"]}, {"managementPolicy": "Observe"}, {"managementPolicy": "ObserveDelete"}],
)
async def test_who_only_looks_changes_nothing(spec):
    world = await made()
    mine = thing(configmap(colour="green"), version=OLD, **spec)
    obj = await applied(world, mine)
    assert "does not exist" in message(obj)
    assert await seen(world, configmap()) is None
    await world.apply(configmap())
    await world.settle(seconds=70)
    obj = await seen(world, mine)
    assert is_ready(obj), message(obj)
    assert obj["status"]["atProvider"]["manifest"]["data"] == {"colour": "blue"}
    assert await is_quiet(world, mine)
    assert await deleted(world, mine) is None
    assert bool(await seen(world, configmap())) is (spec != {"managementPolicy": "ObserveDelete"})


async def test_an_operator_that_only_looks_tells_what_it_would_do():
    world = await made(observe_only=True)
    mine = thing(configmap())
    assert "would be created" in message(await applied(world, mine))
    await world.apply(configmap(colour="green"))
    await world.settle(seconds=70)
    assert 'manifest.data.colour (there "green", here "blue")' in message(await seen(world, mine))
    assert (await seen(world, configmap()))["data"] == {"colour": "green"}


@pytest.mark.parametrize("policy", ["Orphan", "Delete"])
async def test_an_operator_that_only_looks_lets_an_object_go_that_leaves_all_as_it_is_and_no_other(policy):
    world, base = await made(), configmap("base")
    await world.apply(base)
    mine = thing(
        configmap(),
        references=[{"dependsOn": {"apiVersion": "v1", "kind": "ConfigMap", "name": "base", "namespace": TEAM}}],
        deletionPolicy=policy,
    )
    assert is_ready(await applied(world, mine, seconds=5))
    assert meta(await seen(world, base))["finalizers"]
    fresh = again(world, observe_only=True)
    left = await deleted(fresh, mine, seconds=70)
    if policy == "Delete":
        assert "would be deleted" in message(left)
    assert (left is None) == (not meta(await seen(world, base)).get("finalizers")) == (policy == "Orphan")
    assert (await seen(world, configmap()))["data"] == {"colour": "blue"}
    assert await deleted(again(fresh), mine, seconds=70) is None
    assert (await seen(world, configmap()) is None) == (policy == "Delete")


async def test_what_was_there_before_is_adopted_and_that_is_told():
    world = await made()
    await world.apply(configmap(colour="green", size="xl"))
    assert is_ready(await applied(world, thing(configmap()), seconds=5))
    assert (await seen(world, configmap()))["data"] == {"colour": "blue", "size": "xl"}
    assert world.told.text().count("it is adopted") == 1


class Asked:
    """A cluster, and the requests about some objects."""

    def __init__(self, inner, keys):
        self._inner, self._keys, self.found = inner, keys, []

    def __getattr__(self, name):
        found = getattr(self._inner, name)
        if name not in ("get", "create", "update", "apply", "patch", "delete"):
            return found

        async def told(what, *args, **how):
            if (key := what if isinstance(what, Key) else key_of(what)) in self._keys:
                self.found.append((name, key.kind))
            return await found(what, *args, **how)

        return told


async def made_with_requests(mine, *before, **how):
    """The world in which an Object was applied, and what was asked of the cluster that its object is in."""
    world = await made(**how)
    await world.apply(*before)
    here = Asked(world.cluster, [key_of(mine["spec"]["forProvider"]["manifest"])])
    world.targets.replace(here)
    obj = await applied(world, mine)
    assert is_ready(obj), message(obj)
    return world, obj, here.found


@pytest.mark.parametrize("place", [{}, {"namespace": TEAM}])
async def test_a_new_object_is_one_apply_and_leaves_no_notes_of_its_create(place):
    """crossplane-runtime goes on with an object without these notes, and stops at one with the first alone."""
    world, obj, asked = await made_with_requests(thing(configmap(), **place))
    assert asked == [("apply", "ConfigMap")]
    assert not [each for each in meta(obj)["annotations"] if "external-create" in each]
    assert "it is adopted" not in world.told.text()


@pytest.mark.parametrize(
    "spec",
    [
        {"watch": True},
        {"managementPolicies": ["Observe", "Create"]},
        {
            "connectionDetails": [
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "namespace": TEAM,
                    "name": "settings",
                    "fieldPath": "data.colour",
                    "toConnectionSecretKey": "colour",
                }
            ]
        },
    ],
)
async def test_what_the_answer_to_an_apply_does_not_tell_is_looked_at_before(spec):
    _, _, asked = await made_with_requests(thing(configmap(), **spec))
    assert asked[0] == ("get", "ConfigMap")


async def test_what_may_not_be_changed_is_not_though_it_was_there_before():
    mine = thing(configmap(), managementPolicies=["Observe", "Create", "Delete"])
    world, _, _ = await made_with_requests(mine, configmap(colour="green"))
    assert (await seen(world, configmap()))["data"] == {"colour": "green"}


async def test_with_strict_upstream_a_create_has_its_notes():
    _, obj, asked = await made_with_requests(thing(configmap()), strict=True)
    assert {core.CREATE_PENDING, core.CREATE_SUCCEEDED} <= set(meta(obj)["annotations"])
    assert asked[0] == ("get", "ConfigMap")


async def test_an_object_that_was_restored_without_its_status_deletes_what_it_has_made():
    world, obj, _ = await made_with_requests(thing(configmap()))
    await world.patch(key_of(obj), {"metadata": {"finalizers": None}})
    await world.cluster.delete(key_of(obj))
    restored = {**obj, "metadata": {n: meta(obj)[n] for n in ("name", "annotations")}}
    del restored["status"]
    assert is_ready(await applied(world, restored))
    assert "it is adopted" not in world.told.text()
    assert await deleted(world, restored) is None
    assert await seen(world, configmap()) is None


async def test_what_another_process_may_still_be_making_is_waited_for_before_its_object_goes():
    world = await made(create_wait=75.0)
    mine = thing({**configmap(), "metadata": {"name": "UPPER", "namespace": TEAM}})
    await applied(world, mine)
    world = again(world)  # to which the first is another one, and may have an apply on its way
    found = await deleted(world, mine, seconds=60)
    assert "another process began a create that may still be under way" in message(found)
    assert await seen(world, mine)
    await world.settle(seconds=60)
    assert await seen(world, mine) is None


async def test_who_began_it_itself_knows_how_it_ended():
    world = await made(create_wait=75.0)
    mine = thing({**configmap(), "metadata": {"name": "UPPER", "namespace": TEAM}})
    await applied(world, mine)
    assert await deleted(world, mine) is None


async def test_an_object_that_can_not_be_made_is_not_written_again_and_again():
    world = await made()
    mine = thing({**configmap(), "metadata": {"name": "UPPER", "namespace": TEAM}})
    assert "UPPER" in message(await applied(world, mine))
    writes = world.cluster.writes
    await world.settle(seconds=1000)
    assert world.cluster.writes == writes


async def test_the_users_of_a_config_are_counted_by_and_by_where_many_come():
    world, versions = await made(), set()
    for number in range(30):
        await applied(world, thing(configmap(f"c{number}"), f"o{number}"))
        versions.add(meta(await seen(world, config()))["resourceVersion"])
    assert len(versions) < 10
    await world.settle(seconds=3)
    assert (await seen(world, config()))["status"]["users"] == 30


async def test_what_is_but_a_name_and_was_there_before_is_adopted_too():
    world = await made()
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "acting", "namespace": TEAM}}
    await world.cluster.create(account)
    await world.settle(seconds=2)
    await applied(world, thing({**account, "metadata": {**account["metadata"], "labels": {"team": "shop"}}}))
    assert world.told.text().count("it is adopted") == 1


async def test_an_object_that_never_did_anything_deletes_nothing():
    world = await made()
    await world.apply(configmap())
    mine = thing(
        configmap(),
        references=[{"dependsOn": {"apiVersion": "v1", "kind": "ConfigMap", "name": "no", "namespace": TEAM}}],
    )
    await applied(world, mine)
    assert await deleted(world, mine) is None
    assert await seen(world, configmap())


async def test_the_propagation_of_the_deletion_is_said():
    world = await made()
    mine = thing(configmap(), for_provider={"deletionPropagationPolicy": "Foreground"})
    await applied(world, mine)
    owner = await seen(world, configmap())
    reference = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "settings",
        "uid": meta(owner)["uid"],
        "blockOwnerDeletion": True,
    }
    held = configmap("held")
    held["metadata"] |= {"ownerReferences": [reference], "finalizers": ["example.org/hold"]}
    await world.apply(held)
    assert await deleted(world, mine, seconds=5)
    assert "foregroundDeletion" in meta(await seen(world, owner))["finalizers"]
    await world.patch(key_of(held), {"metadata": {"finalizers": None}})
    await world.settle(seconds=30)
    assert await seen(world, mine) is None
    assert await seen(world, owner) is None


# --- bad input


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("kind", "Secret", "manifest.kind cannot be changed from 'ConfigMap' to 'Secret'"),
        (
            "metadata",
            {"name": "other", "namespace": TEAM},
            "manifest.metadata.name cannot be changed from 'settings' to 'other'",
        ),
        (
            "metadata",
            {"name": "settings", "namespace": "x"},
            "manifest.metadata.namespace cannot be changed from 'shop' to 'x'",
        ),
    ],
)
async def test_a_manifest_that_becomes_another_object_is_refused_and_nothing_is_done(field, value, said):
    world = await made()
    mine = thing(configmap())
    await applied(world, mine)
    changed = {**configmap(), field: value}
    obj = await edited(world, mine, {"forProvider": {"manifest": changed}})
    assert said in message(obj)
    assert "Mend: set the old value again" in message(obj)
    assert await seen(world, configmap())
    assert len([each for each in world.objects() if each["kind"] in ("ConfigMap", "Secret")]) == 1
    assert is_ready(await edited(world, mine, {"forProvider": {"manifest": configmap()}}))
    await edited(world, mine, {"forProvider": {"manifest": changed}})
    assert await deleted(world, mine) is None, "and it goes with what it has made, whatever it says by now"
    assert await seen(world, configmap()) is None


async def test_a_manifest_that_becomes_another_one_is_followed_once_the_old_is_gone():
    world = await made()
    mine = thing(configmap())
    await applied(world, mine)
    await edited(world, mine, {"forProvider": {"manifest": configmap("other")}})
    await world.cluster.delete(key_of(configmap()))
    await world.settle(seconds=400)
    assert is_ready(await seen(world, mine)), message(await seen(world, mine))
    assert await seen(world, configmap("other"))


async def test_with_strict_upstream_another_name_is_another_object_and_the_old_one_stays():
    world = await made(strict=True)
    mine = thing(configmap())
    await applied(world, mine)
    await edited(world, mine, {"forProvider": {"manifest": configmap("other")}}, seconds=5)
    assert await seen(world, configmap())
    assert await seen(world, configmap("other"))


@pytest.mark.parametrize(
    ("manifest", "spec", "said"),
    [
        (
            {"apiVersion": "v1", "kind": "Gadget", "metadata": {"name": "a"}},
            {},
            'spec.forProvider.manifest: no matches for kind "Gadget"',
        ),
        (
            configmap(namespace=""),
            {},
            "spec.forProvider.manifest: ConfigMap settings has no namespace. Mend: set metadata.namespace",
        ),
        (
            {"apiVersion": "v1", "kind": "ConfigMapList", "items": [configmap()]},
            {},
            "it is a list of objects. Mend: write an Object for each of them",
        ),
        (
            configmap(),
            {"references": [{"patchesFrom": {**SOURCE, "fieldPath": "data[*]"}}]},
            'spec.references[0] › patchesFrom.fieldPath: "data[*]" means many values. Mend: name one of them',
        ),
        (
            configmap(),
            {"references": [{"patchesFrom": {**SOURCE, "fieldPath": ""}}]},
            "spec.references[0] › patchesFrom.fieldPath: no field is named. Mend: write one",
        ),
        (
            configmap(),
            {
                "references": [
                    {"patchesFrom": {**SOURCE, "fieldPath": "metadata.name"}, "toFieldPath": "data.colour[0]"}
                ]
            },
            "data.colour: not an array, but a string. Mend: correct toFieldPath",
        ),
        (
            configmap(),
            {"connectionDetails": [{**SOURCE, "fieldPath": "data[*]", "toConnectionSecretKey": "a"}]},
            'spec.connectionDetails[0] › fieldPath: "data[*]" means many values. Mend: name one of them',
        ),
        (
            configmap(),
            {"references": [{}]},
            "spec.references[0]: neither patchesFrom nor dependsOn is set. Mend: set one of them",
        ),
        (
            configmap(),
            {"references": [{"patchesFrom": {"name": "a", "fieldPath": "a..b"}}]},
            "spec.references[0] › patchesFrom.fieldPath",
        ),
        (
            configmap(),
            {"references": [{"dependsOn": {"apiVersion": "v1", "kind": "Secret", "name": "login"}}]},
            "spec.references[0]: Secret login has no namespace, where its kind lives in one. Mend: set namespace",
        ),
        (
            configmap(),
            {
                "connectionDetails": [
                    {
                        "apiVersion": "v1",
                        "kind": "Secret",
                        "name": "login",
                        "fieldPath": "data.password",
                        "toConnectionSecretKey": "a",
                    }
                ]
            },
            "spec.connectionDetails[0]: Secret login has no namespace, where its kind lives in one. Mend: set namespace",
        ),
        (
            configmap(),
            {"connectionDetails": [{**SOURCE, "fieldPath": "data.colour", "toConnectionSecretKey": "a b"}]},
            'spec.connectionDetails[0] › toConnectionSecretKey: "a b" can\'t be a key of a Secret. Mend: write letters',
        ),
        (
            configmap(),
            {"connectionDetails": [{"kind": "Secret"}]},
            "spec.connectionDetails[0]: apiVersion and name and fieldPath",
        ),
        (
            configmap(),
            {"readiness": {"policy": "DeriveFromCelQuery", "celQuery": "object."}},
            "spec.readiness: celQuery: ",
        ),
        (
            configmap(),
            {"readiness": {"policy": "DeriveFromCelQuery", "celQuery": "size(object.data)"}},
            "spec.readiness: celQuery gives int, not bool",
        ),
        (
            {**configmap(), "metadata": {"name": "UPPER", "namespace": TEAM}},
            {},
            'spec.forProvider.manifest: ConfigMap "UPPER" is',
        ),
    ],
)
async def test_what_can_not_be_is_told_with_field_value_and_mend(manifest, spec, said):
    world = await made()
    mine = thing(manifest, **spec)
    obj = await applied(world, mine)
    assert any(each in message(obj) for each in said.split("|")), message(obj)
    assert await deleted(world, mine) is None


async def test_an_object_is_not_its_own_manifest():
    world = await made()
    mine = thing(
        {
            "apiVersion": GROUP,
            "kind": "Object",
            "metadata": {"name": "some"},
            "spec": {"forProvider": {"manifest": configmap()}},
        }
    )
    assert "the manifest is the Object itself" in message(await applied(world, mine))


async def test_two_who_set_the_same_field_are_slowed_down():
    world = await made()
    await applied(world, thing(configmap(), watch=True))
    writes = world.cluster.writes
    await applied(world, thing(configmap(colour="red"), "other", watch=True), seconds=60)
    assert world.cluster.writes - writes < 150
    both = [await seen(world, thing(configmap(), name)) for name in ("some", "other")]
    assert any("changes the object back at once, again and again" in message(each) for each in both)


async def test_a_clock_that_is_set_back_slows_nobody_down():
    world, mine = await made(), thing(configmap())
    await applied(world, mine)
    for number in range(4):
        if number == 3:
            world.clock.moment -= timedelta(hours=1)
        wanted = configmap(colour=f"shade-{number}")
        obj = await edited(world, mine, {"forProvider": {"manifest": wanted}})
        assert (await seen(world, wanted))["data"] == wanted["data"], message(obj)


async def test_nothing_is_made_while_it_is_paused():
    world = await made()
    await applied(world, thing(configmap(), annotations={"crossplane.io/paused": "true"}))
    assert await seen(world, configmap()) is None


async def test_what_a_server_says_of_an_object_is_no_wish():
    world = await made()
    manifest = configmap()
    manifest["metadata"] |= {"uid": "1234", "resourceVersion": "7", "creationTimestamp": None, "managedFields": [{}]}
    mine = thing({**manifest, "status": {}})
    assert is_ready(await applied(world, mine))
    assert await is_quiet(world, mine)


async def test_its_finalizer_is_there_before_its_object_is():
    world = await made()
    mine = thing(configmap())
    obj = await applied(world, mine)
    assert has_finalizer(obj, "finalizer.managedresource.crossplane.io")
    assert "stands-for" in str(meta(obj)["annotations"])
    assert texts(world)


async def test_a_namespace_goes_though_its_kubeconfig_goes_first():
    world, other = await made(), await made()
    world.targets.others["theirs"] = other.cluster
    reference = {"name": "kubeconfig", "key": "kubeconfig"}
    await world.apply(
        secret("kubeconfig", kubeconfig="theirs"),
        config("ProviderConfig", "theirs", TEAM, {"source": "Secret", "secretRef": reference}),
    )
    named = {"providerConfigRef": {"kind": "ProviderConfig", "name": "theirs"}}
    mine = thing(configmap(), namespace=TEAM, **named)
    assert is_ready(await applied(world, mine, seconds=5)), message(await seen(world, mine))
    await world.cluster.delete(key_of(secret("kubeconfig")))
    await world.settle(seconds=70)
    assert "kubeconfig not found" in message(await seen(world, mine)), "whoever stays needs it"
    await other.patch(key_of(configmap()), {"metadata": {"finalizers": ["example.org/theirs"]}})
    await world.cluster.delete(Key("v1", "Namespace", "", TEAM))
    await world.settle(seconds=5)
    assert await seen(world, mine)
    await other.patch(key_of(configmap()), {"metadata": {"finalizers": None}})
    await world.settle(seconds=5)
    assert await seen(other, configmap()) is None
    assert not [obj for obj in world.objects() if meta(obj).get("namespace") == TEAM and obj["kind"] != "Event"]


IDENTITY = "put a ServiceAccount's token into the kubeconfig"
SOURCE = "use InjectedIdentity for this cluster, or Secret with a kubeconfig"
REFUSED = [("type", each, namespace) for each in IDENTITIES if each != OF_AWS for namespace in ("", TEAM)]
REFUSED += [("source", "None", TEAM), *(("source", each, "") for each in ("None", "Environment", "Filesystem"))]


@pytest.mark.parametrize(("field", "value", "namespace"), REFUSED)
async def test_a_way_to_log_in_that_there_is_not_is_refused_by_its_config_and_by_who_uses_it(field, value, namespace):
    """It is not passed over: the object would be made with another identity than the one that is asked for."""
    world = await made()
    spec = {"identity": {"type": value, "source": "None"}} if field == "type" else {"credentials": {"source": value}}
    words = f"spec.identity.type: {value} is not" if field == "type" else f"spec.credentials.source: {value} names no"
    account = config(name="other", namespace=namespace, **spec)
    reference = {"name": "other", **({"kind": "ProviderConfig"} if namespace else {})}
    told = message(await applied(world, account, thing(configmap(), namespace=namespace, providerConfigRef=reference)))
    assert f'ProviderConfig "other" › {words}' in told
    assert (IDENTITY if field == "type" else SOURCE) in told
    own = await seen(world, account)
    assert any(words in each.get("message", "") for each in own["status"]["conditions"]), own["status"]
    assert await seen(world, configmap()) is None


KUBECONFIG = {"source": "Secret", "secretRef": {"name": "kubeconfig", "namespace": TEAM, "key": "kubeconfig"}}


async def test_an_object_is_in_a_cluster_of_eks():
    world, other = await made(), await made()
    world.targets.others["eks"] = other.cluster
    await world.apply(secret("kubeconfig", kubeconfig="eks"))
    identity = {"type": OF_AWS, "source": "InjectedIdentity"}
    for place in ("", TEAM):
        reference = {"name": "eks", "kind": "ClusterProviderConfig"} if place else {"name": "eks"}
        account = config(
            "ClusterProviderConfig" if place else "ProviderConfig", "eks", "", KUBECONFIG, identity=identity
        )
        mine = thing(configmap(f"in{place}"), namespace=place, providerConfigRef=reference)
        assert is_ready(await applied(world, account, mine)), message(await seen(world, mine))
        assert await seen(other, configmap(f"in{place}"))
    assert world.targets.by_aws == {True}, "the kubeconfig's own user is not who logs in"


@pytest.mark.parametrize(
    ("namespace", "identity", "credentials", "said"),
    [
        (
            TEAM,
            {"source": "InjectedIdentity"},
            KUBECONFIG,
            'ProviderConfig "other" › spec.identity.type: AWSWebIdentityCredentials is the operator\'s own identity',
        ),
        (
            "",
            {"source": "Secret", "secretRef": KUBECONFIG["secretRef"]},
            KUBECONFIG,
            'ProviderConfig "other" › spec.identity.source: AWSWebIdentityCredentials is for source InjectedIdentity alone',
        ),
        (
            "",
            {"source": "InjectedIdentity"},
            {"source": "InjectedIdentity"},
            'ProviderConfig "other" › spec.credentials.source: InjectedIdentity is no cluster of EKS. Mend: use Secret',
        ),
    ],
)
async def test_the_operators_identity_in_aws_is_for_kubeconfigs_that_are_no_tenants(
    namespace, identity, credentials, said
):
    world, other = await made(), await made()
    world.targets.others["eks"] = other.cluster
    account = config(name="other", namespace=namespace, credentials=credentials, identity={"type": OF_AWS, **identity})
    reference = {"name": "other", **({"kind": "ProviderConfig"} if namespace else {})}
    mine = thing(configmap(), namespace=namespace, providerConfigRef=reference)
    told = message(await applied(world, secret("kubeconfig", kubeconfig="eks"), account, mine))
    assert said in told
    assert not [each for each in (*world.objects(), *other.objects()) if each["kind"] == "ConfigMap"]


def what_comes_later(*versions):
    crd = definition("example.org", "Widget", "widgets")
    crd["spec"]["versions"] = [each for each in crd["spec"]["versions"] if each["name"] in versions]
    crd["spec"]["versions"][0]["storage"] = True
    return crd


@pytest.mark.parametrize("namespace", ["", TEAM])
@pytest.mark.parametrize("there", [(), ("v1",)], ids=["kind", "version"])
async def test_what_is_served_by_nobody_yet_is_made_as_soon_as_it_is(there, namespace):
    """However long it has been looked for, and also what is only referred to."""
    world, crd = await made(), what_comes_later("v1", "v1beta1")
    if there:
        await world.apply(what_comes_later(*there))
    manifest = {"apiVersion": "example.org/v1beta1", "kind": "Widget", "metadata": {"name": "one", "namespace": TEAM}}
    depends = {"apiVersion": "example.org/v1beta1", "kind": "Widget", "name": "one", "namespace": TEAM}
    mine = thing(manifest, namespace=namespace)
    other = thing(configmap(), "other", namespace=namespace, references=[{"dependsOn": depends}])
    await applied(world, mine, other, seconds=600)
    for each in (mine, other):
        assert 'no matches for kind "Widget" in version "example.org/v1beta1"' in message(await seen(world, each))
    await applied(world, crd)
    for each in (mine, other):
        assert is_ready(await seen(world, each)), message(await seen(world, each))
