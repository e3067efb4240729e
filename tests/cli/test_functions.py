"""Functions that run elsewhere, on a laptop: `--function` of `render` and `up`, and the annotations of Crossplane's `render`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from groundplane.cli import function_flag
from groundplane.errors import InvalidInput
from groundplane.runtime.local import LocalControlPlane
from tests.cli.platform import groundplane, write
from tests.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
SERVER = [sys.executable, "-m", "tests.remote.server"]
EXEC = f"exec:{sys.executable} -m tests.remote.server"

DEFINITION = """
apiVersion: apiextensions.crossplane.io/v1
kind: CompositeResourceDefinition
metadata: {name: xnotes.tests.example.com}
spec:
  group: tests.example.com
  names: {kind: XNote, plural: xnotes}
  claimNames: {kind: Note, plural: notes}
  versions:
  - name: v1
    served: true
    referenceable: true
    schema: {openAPIV3Schema: {type: object, properties: {status: {type: object, properties: {text: {type: string}}}}}}
"""
COMPOSITE = """
apiVersion: tests.example.com/v1
kind: XNote
metadata: {name: first}
spec: {}
"""
CLAIM = """
apiVersion: tests.example.com/v1
kind: Note
metadata: {name: first, namespace: default}
spec: {}
"""
FUNCTION = """
apiVersion: pkg.crossplane.io/v1
kind: Function
metadata: {name: acme}
spec: {package: "example.org/acme/function-acme:v1"}
"""


def composition(**given):
    given |= {"apiVersion": "acme.fn.example.org/v1", "kind": "Input"}
    source = {
        "apiVersion": "apiextensions.crossplane.io/v1",
        "kind": "Composition",
        "metadata": {"name": "notes"},
        "spec": {
            "compositeTypeRef": {"apiVersion": "tests.example.com/v1", "kind": "XNote"},
            "mode": "Pipeline",
            "pipeline": [{"step": "acme", "functionRef": {"name": "acme"}, "input": given}],
        },
    }
    return yaml.safe_dump(source)


NOTE = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "default"}, "data": {"count": "1"}}
MAKES = {"resources": {"note": NOTE}, "ready": True, "status": {"text": "made"}}


@pytest.fixture
def here(monkeypatch):
    """Commands that are started find the tests' server."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY / "operator"), str(REPOSITORY)]))


@pytest.fixture
def folder(tmp_path, here):
    return write(tmp_path / "notes", composition=composition(**MAKES), xr=COMPOSITE, functions=FUNCTION)


@contextlib.contextmanager
def served():
    """A function in a process of its own, as a person starts it, and where it is."""
    address = f"127.0.0.1:{free_port()}"
    process = subprocess.Popen([*SERVER, "--insecure", "--address", address], stdout=subprocess.PIPE, text=True)
    try:
        assert "listening" in process.stdout.readline()
        yield address
    finally:
        process.kill()
        process.communicate()


def render(folder, *more):
    return groundplane("render", folder / "xr.yaml", folder / "composition.yaml", folder / "functions.yaml", *more)


def shown(result):
    assert result.exit_code == 0, result.output
    return list(yaml.safe_load_all(result.stdout))


def running(text):
    """Processes whose command line has this."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and text in (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode():
                found.append(int(entry.name))
    return found


# --- render -------------------------------------------------------------------------------------------------------


def test_render_calls_a_function_at_an_address(folder):
    with served() as address:
        xr, note = shown(render(folder, "--function", f"acme={address}"))
    assert xr["status"]["text"] == "made"
    assert note["data"] == {"count": "1"}
    assert note["metadata"]["annotations"] == {"crossplane.io/composition-resource-name": "note"}


def test_render_starts_a_function_and_ends_it(folder):
    result = render(folder, "--function", f"acme={EXEC} --tls-certs-dir {folder}")
    assert len(shown(result)) == 2
    assert "acme: listening at 127.0.0.1:" in result.stderr
    assert not running(f"--tls-certs-dir {folder}")


def test_the_address_may_be_put_anywhere_in_the_command(folder):
    command = f"exec:{sys.executable} -m tests.remote.server --address={{address}} --insecure"
    assert len(shown(render(folder, "--function", f"acme={command}"))) == 2


def test_render_takes_upstreams_annotations_of_a_function_under_development(folder):
    with served() as address:
        notes = {
            "render.crossplane.io/runtime": "Development",
            "render.crossplane.io/runtime-development-target": address,
        }
        function = yaml.safe_load(FUNCTION)
        function["metadata"]["annotations"] = notes
        (folder / "functions.yaml").write_text(yaml.safe_dump(function))
        assert len(shown(render(folder))) == 2


def test_render_hands_over_what_is_asked_for_and_tells_of_what_is_not_there(folder):
    wanted = {
        "extraResources": {"e": {"apiVersion": "v1", "kind": "ConfigMap", "matchName": "x"}},
        "resources": {"r": {"apiVersion": "v1", "kind": "ConfigMap", "matchLabels": {"labels": {"a": "b"}}}},
        "schemas": {
            "s": {"apiVersion": "tests.example.com/v1", "kind": "XNote"},
            "t": {"apiVersion": "v1", "kind": "X"},
        },
    }
    (folder / "composition.yaml").write_text(composition(do="require", requirements=wanted))
    (folder / "extra.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: other, labels: {a: b}}}")
    (folder / "definition.yaml").write_text(DEFINITION)
    more = ["-e", folder / "extra.yaml", "--xrd", folder / "definition.yaml", "--function", f"acme={EXEC}"]
    [xr] = shown(render(folder, *more))
    assert xr["status"]["seen"] == ["e:0", "r:1"]
    assert xr["status"]["schemas"] == ["s:known", "t:unknown"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ((), "run it, and say where: --function NAME=localhost:9443"),
        (("--function", "acme"), "is no NAME=ADDRESS"),
        (("--function", "acme=exec:"), "exec: has no command"),
        (("--function", "acme=functions.example.org:443"), "plaintext does not leave it"),
        (
            ("--function", "acme=exec:/nowhere/function"),
            "can't be started: No such file or directory: /nowhere/function",
        ),
        (("--function", 'acme=exec:"unclosed'), "can't be read"),
        (("--function", "acme=exec:false"), "it ended with exit code 1"),
    ],
)
def test_what_can_not_work_is_told_with_a_mend(folder, given, says):
    result = render(folder, *given)
    assert result.exit_code == 1
    assert says in result.stderr
    assert "Traceback" not in result.output


def test_rendering_has_an_end(folder):
    (folder / "composition.yaml").write_text(composition(do="sleep", seconds=60))
    begun = time.monotonic()
    result = render(folder, "--function", f"acme={EXEC}", "--timeout", "2s")
    assert result.exit_code == 1
    assert "rendering took longer than 2 seconds. Mend: give it longer: --timeout" in result.stderr
    assert time.monotonic() - begun < 30


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_render_that_is_ended_ends_what_it_has_started(folder, number):
    (folder / "composition.yaml").write_text(composition(do="sleep", seconds=60))
    mark = f"--tls-certs-dir {folder}"
    command = [sys.executable, "-m", "groundplane.cli.main", "render", folder / "xr.yaml", folder / "composition.yaml"]
    process = subprocess.Popen(
        [*command, "--function", f"acme={EXEC} {mark}"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    assert "listening" in process.stderr.readline()
    process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode != 0
    assert not running(mark)


def test_a_fatal_result_is_a_mistake(folder):
    more = {"results": [{"severity": "SEVERITY_FATAL", "message": "no such size"}]}
    (folder / "composition.yaml").write_text(composition(more=more))
    result = render(folder, "--function", f"acme={EXEC}")
    assert result.exit_code == 1
    assert 'pipeline step "acme" returned a fatal result: no such size' in result.stderr


def test_addresses_are_told_apart_by_the_first_sign():
    assert function_flag.addresses(["a=localhost:1", "b=exec:x --y=z"]) == {"a": "localhost:1", "b": "exec:x --y=z"}
    with pytest.raises(InvalidInput):
        function_flag.addresses(["=localhost:1"])


# --- up -----------------------------------------------------------------------------------------------------------


def up(folder, *more):
    command = [sys.executable, "-m", "groundplane.cli.main", "up", str(folder), "--db", str(folder / "x.db"), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture
def platform(tmp_path, here):
    return write(
        tmp_path / "platform", definition=DEFINITION, composition=composition(**MAKES), claim=CLAIM, functions=FUNCTION
    )


def test_up_starts_a_function_uses_it_and_ends_it(platform):
    marked = f"{EXEC} --tls-certs-dir {platform}"
    done = up(platform, "--once", "--function", f"acme={marked}", "-v")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all ready" in done.stdout
    assert "listening at 127.0.0.1" in done.stderr
    assert not running(str(platform))


def test_a_function_that_up_has_started_and_that_dies_is_started_again(platform):
    marked = f"{EXEC} --tls-certs-dir {platform}"
    command = [sys.executable, "-m", "groundplane.cli.main", "up", str(platform), "--db", str(platform / "x.db")]
    with (platform / "log").open("w") as log:
        process = subprocess.Popen([*command, "--function", f"acme={marked}", "-v"], stdout=log, stderr=log)
    try:

        def functions():
            return [pid for pid in running(f"--tls-certs-dir {platform} ") if pid != process.pid]

        first = wait(functions)
        wait(lambda: "Note default/first" in (platform / "log").read_text())
        for pid in first:
            os.kill(pid, signal.SIGKILL)
        wait(lambda: not set(first) & set(functions()))
        (platform / "claim.yaml").write_text(CLAIM.replace("name: first", "name: second"))
        assert wait(functions) != first
        wait(lambda: "default/second" in (platform / "log").read_text())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)
    assert not functions()


def wait(found, seconds=60):
    until = time.monotonic() + seconds
    while not (there := found()):
        assert time.monotonic() < until
        time.sleep(0.1)
    return there


# --- diff and plan ------------------------------------------------------------------------------------------------


async def an_empty_store():
    async with LocalControlPlane("x.db"):
        pass


@pytest.mark.parametrize("command", ["diff", "plan"])
def test_diff_and_plan_call_a_function_and_end_it(platform, monkeypatch, command):
    monkeypatch.chdir(platform)
    made = MAKES | {"resources": {"note": NOTE | {"data": {"text": "1"}}}}
    (platform / "composition.yaml").write_text(composition(**made))
    asyncio.run(an_empty_store())
    ran = groundplane(command, ".", "--db", "x.db", "--function", f"acme={EXEC} --tls-certs-dir {platform}")
    assert "does not run in this process" not in ran.stderr
    assert "acme: listening at 127.0.0.1:" in ran.stderr
    if command == "diff":
        assert ran.exit_code == 3, ran.output
        assert "ConfigMap" in ran.stdout
    else:
        assert ran.exit_code == 0, ran.output
    assert not running(f"--tls-certs-dir {platform}")
    ran = groundplane(command, ".", "--db", "x.db", "--function", "another=localhost:1")
    assert ran.exit_code == 1
    assert "Function/acme: " in ran.stderr
