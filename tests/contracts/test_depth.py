"""What is nested deeper than anything here can work with: it is cut, kept by name, and told; pure."""

from __future__ import annotations

import json

import orjson
import pytest

from groundplane.cluster import depth
from groundplane.cluster.cache import Cache
from groundplane.core.objects import Key
from groundplane.errors import Rejected, TooDeep

BOX = ("example.org/v1", "Box")
PLACE = Key(*BOX, "ns", "deep")


def nested(levels, opening=b'{"a":', closing=b"}"):
    return opening * levels + b"1" + closing * levels


def box(levels):
    metadata = {"name": "deep", "namespace": "ns", "uid": "u", "resourceVersion": "7", "labels": {"a": "b"}}
    text = json.dumps({"apiVersion": BOX[0], "kind": BOX[1], "metadata": metadata}).encode()
    return text[:-1] + b', "spec": {"region": "eu", "deep": ' + nested(levels) + b'}, "status": {"phase": "up"}}'


@pytest.mark.parametrize("inside", [nested(10_000), nested(10_000, b"[", b"]"), nested(5_000, b'[{"a":', b"}]")])
def test_what_no_reader_can_take_is_cut_and_all_around_it_stays(inside):
    text = b'{"before": "[[{{\\"\\\\", "deep": ' + inside + b', "twice": ' + inside + b', "after": [1, {"b": "]"}]}'
    found = depth.read(text)
    assert (found["before"], found["after"]) == ('[[{{"\\', [1, {"b": "]"}])
    json.loads(depth.cut(text))  # kopf's reader can, too


def test_what_can_be_read_is_not_touched_however_broad_it_is():
    broad = orjson.dumps([{"a": [number]} for number in range(2000)])
    assert depth.cut(broad) is broad
    assert depth.read(nested(700)) == orjson.loads(nested(700))


def test_what_is_no_json_stays_an_error():
    with pytest.raises(orjson.JSONDecodeError):
        depth.read(b"[" * 2000)


@pytest.mark.parametrize("levels", [260, 900, 9000])
def test_the_cache_keeps_what_is_too_deep_by_its_name_and_whoever_reads_it_is_told(levels):
    cache, told = Cache(), []
    cache.follow(*BOX, told.append)
    cache.put(depth.read(box(levels)))
    assert [change.key for change in told] == [PLACE]
    assert [obj["metadata"]["name"] for obj in cache.list(*BOX, labels={"a": "b"})] == ["deep"]
    with pytest.raises(TooDeep, match="Box ns/deep is nested too deep") as caught:
        depth.checked(cache.get(PLACE))
    left = caught.value.object
    assert left["metadata"]["resourceVersion"] == "7"  # a status can be written on it
    assert left["spec"].pop("deep", {}).keys() <= {"a"}
    assert (left["spec"], left["status"]) == ({"region": "eu"}, {"phase": "up"})  # it can be deleted by what is shallow
    assert "spec" not in cache.list(*BOX)[0]  # nobody takes a part for the whole


def test_what_is_too_deep_is_not_written():
    with pytest.raises(Rejected, match="nested too deep"):
        depth.written(orjson.loads(nested(300)))
    with pytest.raises(TypeError):
        depth.written({"a": object()})
