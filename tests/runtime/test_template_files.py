"""The folder that templates may come from."""

import os

import pytest

from groundplane.errors import InvalidInput
from groundplane.runtime import template_files


def test_all_files_but_hidden_ones_are_read_by_their_paths(tmp_path):
    data = tmp_path / "..data"  # as a mounted ConfigMap has it
    data.mkdir()
    (data / "b.yaml").write_text("b")
    (tmp_path / "b.yaml").symlink_to(data / "b.yaml")
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "a.yaml").write_text("ä")
    (tmp_path / ".hidden").write_text("no")
    assert template_files.read(str(tmp_path)) == {"b.yaml": "b", "db/a.yaml": "ä"}
    assert template_files.read("") is None


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InvalidInput, match="is no folder. Mend: mount it"):
        template_files.read(str(tmp_path / "no"))


def test_what_is_no_text_or_far_too_much_is_told(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"\xff")
    with pytest.raises(InvalidInput, match="let it be text in UTF-8"):
        template_files.read(str(tmp_path))
    (tmp_path / "a").write_bytes(b"x" * 11)
    monkeypatch.setattr(template_files, "MOST", 10)
    with pytest.raises(InvalidInput, match="of templates, with"):
        template_files.read(str(tmp_path))
    os.remove(tmp_path / "a")
    assert template_files.read(str(tmp_path)) == {}
