"""The reference of the AWS kinds: its examples are what the API server takes, and it and the README name every kind."""

from __future__ import annotations

import re

import pytest
import yaml

from groundplane.aws import catalogue, crds
from groundplane.cli.demo import standin_environment
from groundplane.core import schema
from tests.chart import aws_pages, generate

REPOSITORY = generate.CHART.parents[1]
README = (REPOSITORY / "README.md").read_text()
PAGES = {path.stem: path.read_text() for path in sorted(aws_pages.FOLDER.glob("*.md")) if path.stem != "README"}


def examples(text):
    return [each for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) for each in yaml.safe_load_all(block)]


@pytest.mark.parametrize("service", PAGES)
def test_an_example_of_the_reference_fits_its_kind(service):
    for manifest in examples(PAGES[service]):
        whole = crds.schema_of(manifest["apiVersion"], manifest["kind"])
        assert schema.validate(whole, manifest) == [], manifest
        assert schema.undeclared(whole, manifest) == [], manifest


def test_every_kind_has_an_example_in_both_generations():
    told = [(each["apiVersion"], each["kind"]) for text in PAGES.values() for each in examples(text)]
    assert sorted(told) == sorted((f"{each.group}/{each.versions[0]}", each.kind) for each in catalogue.every())


def test_what_is_refused_stands_in_the_reference():
    assert "`securityGroupNames` (EC2-Classic is gone)" in PAGES["rds"]


def test_a_page_of_no_kind_is_stale(monkeypatch):
    monkeypatch.setattr(generate, "files", dict)
    monkeypatch.setattr("sys.argv", ["generate", "--check"])
    with pytest.raises(SystemExit, match="docs/reference/aws/README.md"):
        generate.main()


def test_the_readme_names_every_service_and_links_the_reference():
    assert "](docs/reference/aws/README.md)" in README
    for service in PAGES:
        assert f"`{service}`" in README, service


def test_the_readme_has_what_the_stand_in_is_reached_by():
    wanted = set(standin_environment("")) - {"NO_PROXY"}
    assert wanted <= set(re.findall(r"AWS_[A-Z0-9_]+", README))


def test_no_entry_of_the_changelog_is_there_twice():
    entries = re.split(r"\n(?=- |## )", (REPOSITORY / "CHANGELOG.md").read_text())
    beginnings = [each[:60] for each in entries if each.startswith("- ")]
    assert [each for each in beginnings if beginnings.count(each) > 1] == []
