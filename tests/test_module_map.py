"""The map of the code in DEVELOPMENT.md, and what `make map` prints, are complete."""

import re

from tests import module_map

PAGE = (module_map.OPERATOR.parents[1] / "DEVELOPMENT.md").read_text(encoding="utf-8")


def test_every_module_says_what_it_is_for_and_none_says_what_another_does():
    said = {path: module_map.purpose(path) for path in module_map.modules()}
    assert [path.name for path, text in said.items() if not text] == []
    assert len(set(said.values())) == len(said)


def test_the_map_names_every_package_and_none_that_is_gone():
    there = {path.parent.name for path in module_map.OPERATOR.glob("*/__init__.py")}
    assert set(re.findall(r"^\| `operator/groundplane/(\w+)/`", PAGE, re.MULTILINE)) == there


def test_the_modules_that_the_page_names_are_there():
    named = re.findall(r"`((?:core|functions|runtime|aws|cluster|reconcile|objects|sql|remote|nop|cli)/\w+\.py)", PAGE)
    assert named
    assert [name for name in named if not (module_map.OPERATOR / name).is_file()] == []
