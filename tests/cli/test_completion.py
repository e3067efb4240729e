"""Completion in shells, and the page of all commands."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import click
import pytest
import yaml
from click.shell_completion import BashComplete, CompletionItem

from groundplane.cli import completing_objects, iam_policy, sources
from groundplane.cli.completion import VARIABLE
from groundplane.cli.main import COMMANDS, main
from groundplane.cluster.client import Api
from groundplane.cluster.sqlite import SqliteCluster
from groundplane.core import definition_crds
from groundplane.errors import InvalidInput
from tests.chart import command_pages
from tests.cli.platform import CLAIM, DEFINITION, groundplane

FILES = ("PATH", "FILE", "XR", "COMPOSITION", "FUNCTIONS", "EXTENSIONS", "RESOURCES")  # in the help of what is one
NO_FILES = {("explain", "path"), ("diff", "ignore_paths"), ("render", "context_files")}  # fields, and KEY=PATH


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    """A store with two claims and a composite."""
    xrd = yaml.safe_load(DEFINITION)
    crds = [crd for crd in (definition_crds.composite_crd(xrd), definition_crds.claim_crd(xrd)) if crd]
    established = {"conditions": [{"type": "Established", "status": "True"}]}
    claims = [yaml.safe_load(CLAIM.replace("first", name)) for name in ("first", "second")]
    composite = {"apiVersion": "tests.example.com/v1", "kind": "XNote", "metadata": {"name": "first-1"}}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}}
    path = tmp_path_factory.mktemp("completion") / "x.db"
    cluster = SqliteCluster(path)
    cluster.load(
        obj | {"metadata": obj["metadata"] | {"uid": str(number)}}
        for number, obj in enumerate([*(crd | {"status": established} for crd in crds), *claims, composite, namespace])
    )
    cluster.close()
    return str(path)


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """However slow this machine is."""
    monkeypatch.setattr(completing_objects, "PATIENCE", 60)


def offered(words: list[str], begun: str) -> list[CompletionItem]:
    return BashComplete(main, {}, "groundplane", VARIABLE).get_completions(words, begun)


def completed(words: list[str], begun: str) -> list[str]:
    return [each.value for each in offered(words, begun)]


def parameters(command: click.Command, name: str) -> Iterator[tuple[str, click.Parameter]]:
    yield from ((name, param) for param in command.params)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from parameters(found, inner)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script_that_the_page_names(shell):
    script = groundplane("completion", shell)
    assert script.exit_code == 0
    assert f"{VARIABLE}={shell}_complete" in script.stdout
    assert f"groundplane completion {shell}" in command_pages.HEAD


def test_the_script_completes_in_a_shell(tmp_path):
    """What bash does when the tab key is pressed, with a program of our name."""
    program = tmp_path / "groundplane"
    program.write_text(
        f'#!{sys.executable}\nfrom groundplane.cli.main import main\nmain(prog_name="groundplane")\n', encoding="utf-8"
    )
    program.chmod(0o755)
    script = """
source <(groundplane completion bash)
COMP_WORDS=(groundplane migrate '') COMP_CWORD=2
_groundplane_completion groundplane
printf '%s\\n' "${COMPREPLY[@]}"
"""
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["check", "take-over", "v2"]
    assert not done.stderr


def test_commands_options_and_choices_are_completed():
    assert completed([], "") == list(COMMANDS)
    assert completed([], "va") == ["validate"]
    assert completed(["convert"], "pi") == ["pipeline-composition"]
    assert "--skip-success-results" in completed(["validate"], "--s")
    assert completed(["trace", "-o"], "w") == ["wide"]


def test_completing_a_command_imports_no_command():
    code = (
        "import sys; from click.shell_completion import BashComplete, CompletionItem; from groundplane.cli.main import main; "
        f"BashComplete(main, {{}}, 'groundplane', '{VARIABLE}').get_completions([], 'va'); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not {"pydantic", "yaml", "boto3", "aiohttp"} & loaded


def test_files_and_folders_are_completed_wherever_one_is_meant():
    context = click.Context(main)
    seen = set()
    for name, param in parameters(main, "groundplane"):
        words = set(re.findall("[A-Z]+", param.metavar or ""))
        if words & {*FILES, "DIR"} and (name, param.name) not in NO_FILES:
            (found,) = param.shell_complete(context, "x")
            assert found.type in ("file", "dir"), (name, param.name)
            seen.add(name)
    assert {"up", "render", "validate", "v2", "pipeline-composition", "plan", "test"} <= seen


def test_kinds_and_names_of_a_store(db):
    assert completed(["trace", "--db", db], "") == ["note", "xnote"]  # what people look at
    assert completed(["get", "--db", db], "notes") == ["notes"]
    assert completed(["get", "--db", db], "nt") == ["nt"]
    assert completed(["trace", "--db", db], "xnote.") == ["xnote.tests.example.com"]
    assert "configmap" in completed(["get", "--db", db], "c")
    for command in ("trace", "get", "delete"):
        assert completed([command, "--db", db, "-n", "team", "note"], "") == ["first", "second"]
        assert completed([command, "--db", db, "-n", "team"], "notes/s") == ["notes/second"]
    assert completed(["trace", "--db", db, "note"], "") == []  # none in the namespace default
    assert completed(["trace", "--db", db, "-A", "note"], "f") == ["first"]
    assert completed(["get", "--db", db, "-n", "team", "note", "first"], "") == ["second"]
    assert completed(["get", "--db", db, "-n", "team", "note/first"], "") == []
    assert completed(["get", "--db", db], "nothing") == []
    assert completed(["get", "--db", db, "nothing"], "") == []


def test_an_object_of_explain_and_its_fields(db):
    asked = ["explain", "--db", db, "-n", "team"]
    assert completed(asked, "") == ["note/", "xnote/"]
    assert completed(asked, "n") == ["namespace/", "networkpolicy/", "note/"]
    assert completed(asked, "no") == ["note/first", "note/second"]
    assert completed(asked, "note/s") == ["note/second"]
    assert completed([*asked, "note/first"], "spec.t") == ["spec.text"]
    assert completed([*asked, "note/none"], "") == []


def test_namespaces_and_composites(db):
    assert completed(["plan", "--db", db, "-n"], "te") == ["team"]
    assert completed(["diff", "--db", db, "--resource"], "") == ["first-1", "team/first", "team/second"]


def test_contexts_are_those_of_the_kubeconfig(tmp_path):
    path = tmp_path / "config"
    path.write_text("contexts: [{name: b}, {name: a, context: {namespace: x}}, 1, {name: c, context: 1}]\n")
    assert completed(["trace", "--kubeconfig", str(path), "-c"], "") == ["a", "b"]
    assert completed(["trace", "--kubeconfig", str(tmp_path / "none"), "-c"], "") == []


def test_kinds_of_aws_are_such_as_the_commands_take():
    for word in completed(["iam-policy"], "rds/"):
        assert len(iam_policy.named(word)) == 1
    assert completed(["import"], "s3/bucket,rds/I") == ["s3/bucket,rds/instance"]


def test_nothing_is_offered_or_said_where_nobody_answers(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert completed(["trace"], "") == []
    (tmp_path / "broken.db").write_text("no store")
    assert completed(["get", "--db", "broken.db"], "") == []
    monkeypatch.setattr(completing_objects, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for server in (f"http://127.0.0.1:{silent.getsockname()[1]}", "http://127.0.0.1:1"):
            config = f"""
apiVersion: v1
kind: Config
current-context: c
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
clusters: [{{name: c, cluster: {{server: "{server}"}}}}]
users: [{{name: u, user: {{}}}}]
"""
            (tmp_path / "config").write_text(config)
            assert completed(["trace", "--kubeconfig", "config"], "") == []
    (tmp_path / "config").write_text("a: [")
    assert completed(["trace", "--kubeconfig", "config"], "") == []
    assert capfd.readouterr() == ("", "")


def test_a_login_that_takes_its_time_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(completing_objects, "PATIENCE", 0.1)
    gate, ended = threading.Event(), []

    def connect(*_):
        gate.wait(20)
        ended.append(True)
        raise OSError

    monkeypatch.setattr(Api, "connect", connect)
    assert completed(["explain", "--kubeconfig", "k"], "") == []
    assert not ended
    gate.set()


@pytest.mark.parametrize("answer", [5, [1], {"items": [5]}, {"items": [{"versions": [{}]}]}])
async def test_what_is_no_api_server_is_told(answer):
    class Other:
        async def request(self, *_, **__):
            return 200, answer

    with pytest.raises(InvalidInput, match="otherwise than an API server"):
        await sources.Server(Other(), "default").discover()


def test_the_page_of_commands_is_fresh():
    for page, text in command_pages.pages().items():
        assert page.read_text() == text, "run `make chart`"
