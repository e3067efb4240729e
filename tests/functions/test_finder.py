"""Which function a step means."""

from __future__ import annotations

import pytest

from groundplane.core.function_sources import Source
from groundplane.errors import InvalidInput
from groundplane.functions import BUILT_IN, auto_ready, environment_configs, finder, patch_and_transform

REGISTRY = "xpkg.upbound.io/crossplane-contrib"


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("function-patch-and-transform", patch_and_transform),
        ("function-auto-ready", auto_ready),
        ("function-environment-configs", environment_configs),
        ("crossplane-contrib-function-patch-and-transform", patch_and_transform),
        ("upbound-function-auto-ready", auto_ready),
    ],
)
def test_a_function_is_known_by_its_name_alone_or_behind_an_organisation(name, function):
    assert finder()(name) is function


@pytest.mark.parametrize(
    ("image", "function"),
    [
        (f"{REGISTRY}/function-patch-and-transform:v0.8.2", patch_and_transform),
        ("localhost:5000/mirror/function-auto-ready@sha256:0a1b", auto_ready),
        ("function-environment-configs", environment_configs),
    ],
)
def test_a_declared_function_is_known_by_its_image_whatever_its_name(image, function):
    assert finder({"ours": Source(image)})("ours") is function


@pytest.mark.parametrize(
    ("name", "images", "text"),
    [
        ("function-kcl", {}, 'no function "function-kcl" is built in'),
        ("function-auto-ready-all", {}, "is built in"),
        ("patch-and-transform", {}, "is built in"),
        ("function-auto-ready", {"function-auto-ready": "acme/fork:v1"}, 'is package "acme/fork:v1"'),
        ("ours", {"ours": f"{REGISTRY}/my-function-auto-ready:v1"}, "which is not built in"),
    ],
)
def test_any_other_is_an_error_that_says_what_is_built_in(name, images, text):
    with pytest.raises(InvalidInput) as caught:
        finder({each: Source(image) for each, image in images.items()})(name)
    assert text in caught.value.what
    assert caught.value.mend.endswith(f"use one of: {', '.join(sorted(BUILT_IN))}")
    assert "groundplane.io/endpoint" in caught.value.mend


def test_a_misspelt_name_is_told_the_one_that_is_meant():
    with pytest.raises(InvalidInput) as caught:
        finder()("function-patch-and-transfrom")
    assert caught.value.mend.startswith("did you mean function-patch-and-transform? Else ")
