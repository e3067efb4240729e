"""Which packages are built in, and what the revision of a declared one is called."""

import re

import pytest

from groundplane.core import packages


@pytest.mark.parametrize(
    "package",
    [
        "xpkg.upbound.io/upbound/provider-aws:v0.47.0",
        "upbound/provider-aws",
        "registry.example.org:5000/mirror/upbound/provider-aws:v1",
        "registry.example.org:5000/upbound/provider-aws",
        "xpkg.upbound.io/upbound/provider-family-aws:v1.2.3",
        "xpkg.upbound.io/upbound/provider-aws-rds:v1.2.3",
        "xpkg.upbound.io/crossplane-contrib/provider-aws-ec2:v1",
        "xpkg.crossplane.io/crossplane-contrib/provider-upjet-aws:v1",
        "xpkg.crossplane.io/crossplane-contrib/provider-nop:v0.4.0",
        "xpkg.upbound.io/crossplane-contrib/provider-sql:v0.9.0",
        "xpkg.upbound.io/crossplane-contrib/provider-kubernetes:v1.2.1",
        "xpkg.upbound.io/upbound/provider-aws@sha256:0123abcd",
        "xpkg.upbound.io/upbound/provider-aws:v1@sha256:0123abcd",
    ],
)
def test_the_providers_are_built_in_whatever_registry_and_tag(package):
    assert packages.is_built_in("Provider", package)
    assert not packages.is_built_in("Function", package)
    assert not packages.is_built_in("Configuration", package)


@pytest.mark.parametrize(
    "package",
    [
        "xpkg.upbound.io/upbound/provider-gcp:v1",
        "xpkg.upbound.io/upbound/provider-awsome:v1",
        "xpkg.upbound.io/someone/provider-aws:v1",
        "xpkg.upbound.io/upbound/my-provider-aws",
        "xpkg.upbound.io/notupbound/provider-aws",
        "",
    ],
)
def test_other_providers_are_not(package):
    assert not packages.is_built_in("Provider", package)


def test_patch_and_transform_is_the_function_that_is_built_in():
    assert packages.is_built_in("Function", "xpkg.upbound.io/crossplane-contrib/function-patch-and-transform:v0.8.2")
    assert not packages.is_built_in("Function", "xpkg.upbound.io/crossplane-contrib/function-kcl:v1")


def test_a_revision_is_named_by_its_package_and_twelve_digits_of_the_text():
    name = packages.revision_name("provider-aws", "upbound/provider-aws:v1")
    assert re.fullmatch("provider-aws-[0-9a-f]{12}", name)
    assert name == packages.revision_name("provider-aws", "upbound/provider-aws:v1")
    assert name != packages.revision_name("provider-aws", "upbound/provider-aws:v2")


@pytest.mark.parametrize("length", [1, 49, 50, 51, 200])
def test_a_revisions_name_is_a_label_however_long_the_package_is_called(length):
    assert len(packages.revision_name("a" * length, "x")) == min(length, 50) + 13
    assert re.fullmatch("[a-z0-9]([a-z0-9-]*[a-z0-9])?", packages.revision_name("a-" * 60, "x"))


@pytest.mark.parametrize("name", ["provider.aws", "provider-aws"])
def test_a_revisions_name_is_a_label_whatever_the_package_is_called(name):
    assert packages.revision_name(name, "x").startswith("provider-aws-")


@pytest.mark.parametrize(("one", "other"), [("a" * 50, "a" * 51), ("a" * 50 + "b", "a" * 50 + "c"), ("a.b", "a-b")])
def test_no_two_packages_share_a_revisions_name(one, other):
    assert packages.revision_name(one, "x") != packages.revision_name(other, "x")
