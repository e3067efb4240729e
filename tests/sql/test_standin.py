"""The server of one's own, and that nothing of PostgreSQL costs anything before it is used."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from groundplane.errors import InvalidInput
from groundplane.sql import standin

BEGUN = "import time\nfrom groundplane.sql.standin import serving\nwith serving():\n    print('up', flush=True)\n    time.sleep(600)\n"


def folders(pid):
    return list(Path(tempfile.gettempdir()).glob(f"{standin.PREFIX}{pid}-*"))


def test_one_whose_parent_was_killed_is_ended_by_the_next():
    parent = subprocess.Popen([sys.executable, "-c", BEGUN], stdout=subprocess.PIPE)
    assert parent.stdout
    assert parent.stdout.readline() == b"up\n"
    (folder,) = folders(parent.pid)
    pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert Path(f"/proc/{pid}").exists()
    standin.end_leftovers()
    assert not folders(parent.pid)
    for _ in range(1000):
        if not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes():
            return
        os.sched_yield()
        subprocess.run(["sleep", "0.01"], check=True)
    raise AssertionError("it still runs")


def test_where_there_are_no_programs_that_is_told_with_the_mend(monkeypatch, tmp_path):
    monkeypatch.setattr(standin, "WHEEL", "no_such_package")
    monkeypatch.setattr(standin, "SYSTEM", tmp_path / "none")
    monkeypatch.delenv(standin.BIN, raising=False)
    assert standin.programs() is None
    with pytest.raises(InvalidInput, match=r"groundplane\[demo\]"):
        with standin.serving():
            pass


def test_the_driver_is_not_imported_before_somebody_connects():
    code = "import sys, groundplane.runtime.clouds as c; c.every(strict_upstream=False, namespace='n', targets=None).kinds(); print('asyncpg' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
