"""`groundplane review`, the steps of action.yml and the hooks of .pre-commit-hooks.yaml, in a scratch repository of git."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from groundplane.cli import documents
from tests.cli.platform import CLAIM, COMPOSITION, DEFINITION, groundplane, write

review = importlib.import_module("groundplane.cli.review")
REPOSITORY = Path(__file__).resolve().parents[2]
TESTS = """
apiVersion: test.crossplane.io/v1alpha1
kind: CompositionTest
metadata: {name: notes}
spec:
  tests:
  - name: a note
    inputs: {xrd: {path: definition.yaml}, composition: {path: composition.yaml}, claim: {path: claim.yaml}}
    assertions: [{resources: {map: {data: {by: groundplane, text: hello}}}}]
"""


def git(folder, *arguments):
    who = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A platform on main; a branch from there is checked out, and main has gone on."""
    folder = tmp_path / "repository"
    folder.mkdir()
    write(folder / "platform", definition=DEFINITION, composition=COMPOSITION, claim=CLAIM, tests=TESTS)
    (folder / "README.md").write_text("What we offer.")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "begin")
    git(folder, "checkout", "-qb", "work")
    git(folder, "checkout", "-q", "main")
    (folder / "platform" / "later.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: later, namespace: default}\n"
    )
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "go on")
    git(folder, "checkout", "-q", "work")
    monkeypatch.chdir(folder)
    return folder


def edit(folder, old, new, name="composition.yaml"):
    path = folder / "platform" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_nothing_that_changed_is_said_so(repository):
    done = groundplane("review", "platform", "--base", "main", "--fail-on-change")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("<!-- groundplane review -->\n\n## ✔ Groundplane\n")
    assert "### ✔ validate: nothing is wrong" in done.output
    assert "### ✔ test: " in done.output
    assert "### diff since main: nothing changes" in done.output
    assert "later" not in done.output


def test_what_needs_the_status_of_something_else_is_compared_as_well(tmp_path):
    """The policy names the topic, of which nothing is known before it is made."""
    places = []
    for name, action in (("before", "sns:Publish"), ("now", "sns:Subscribe")):
        for file in ("definition.yaml", "composition.yaml", "examples/claim.yaml"):
            text = (REPOSITORY / "compositions" / "queue-aws" / file).read_text()
            write(tmp_path / name, **{Path(file).stem: text.replace("sns:Publish", action)})
        places.append(documents.read([str(tmp_path / name)])[0])
    report = review._changed(*places)
    assert report.errors == []
    (policy,) = [change for change in report.changes if change.key.kind != "Composition"]
    assert policy.key.kind == "TopicPolicy"
    assert not policy.new.get("status"), "what is only thought up"


def test_what_tests_compare_with_is_neither_judged_nor_applied(repository):
    expected = repository / "platform" / "expected"
    expected.mkdir()
    (expected / "made.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: made, namespace: default}\ndata: {a: 1}\n"
    )
    done = groundplane("review", "platform", "--base", "main", "--fail-on-change")
    assert done.exit_code == 0, done.output
    assert "made" not in done.output
    assert "### diff since main: nothing changes" in done.output


def test_a_change_is_told_with_what_comes_of_it(repository):
    edit(repository, "data: {by: groundplane}", "data: {by: groundplane, with: care}")
    done = groundplane("review", "platform", "--base", "main", "--fail-on-change")
    assert done.exit_code == 3, done.output
    assert "1 modified, 1 Composition" in done.output
    assert done.output.count("with: care") == 2  # in the Composition as well
    assert "+   with: care" in done.output  # of the ConfigMap that the claim in the files becomes
    assert "!!! ConfigMap/" in done.output


def test_what_is_taken_out_of_the_files_is_removed(repository):
    for name in ("claim", "tests"):
        (repository / "platform" / f"{name}.yaml").unlink()
    done = groundplane("review", "platform", "--base", "main")
    assert done.exit_code == 0, done.output
    assert "### – test: there are no tests" in done.output
    assert "3 removed" in done.output
    assert "--- ConfigMap/" in done.output


def test_what_is_refused_is_not_said_to_be_removed(repository):
    edit(repository, "length: 5", "length: five", "claim.yaml")
    done = groundplane("review", "platform", "--base", "main")
    assert done.exit_code == 1, done.output
    assert "removed" not in done.output
    line = next(number for number, text in enumerate(CLAIM.splitlines(), 1) if "length: 5" in text)
    assert f"(platform/claim.yaml:{line}:" in done.output


def test_a_mistake_has_its_place(repository, tmp_path):
    edit(repository, "fromFieldPath: spec.text", "fromFieldPath: spec.texd")
    page = tmp_path / "page.md"
    done = groundplane("review", "platform", "--base", "main", "-o", "github", "--summary", page)
    assert done.exit_code == 1
    assert "::error file=platform/composition.yaml,line=" in done.output
    assert "| error | `platform/composition.yaml:" in page.read_text()
    assert "## ✘ Groundplane" in page.read_text()


def test_a_test_that_fails_is_in_the_page(repository):
    edit(repository, "by: groundplane", "by: nobody")
    done = groundplane("review", "platform")
    assert done.exit_code == 1
    assert "### ✘ test: 0 passed, 1 failed" in done.output
    assert 'want "groundplane", got "nobody"' in done.output
    assert "### diff" not in done.output


@pytest.mark.parametrize(
    "arguments, message",
    {
        ("--base", "nope"): 'there is no commit "nope" here. Mend: fetch it: git fetch origin',
        ("--base", "--output=x"): 'there is no commit "--output=x" here',
        ("none/",): "none/",
    }.items(),
)
def test_what_can_not_be_is_told(repository, arguments, message):
    done = groundplane("review", *arguments)
    assert done.exit_code == 1
    assert message in done.stderr


def test_a_page_is_never_longer_than_github_takes(repository):
    names = "\n".join(
        f"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c-{n}}}\ndata: {{a: '{'`' * 3} {'x' * 300}'}}"
        for n in range(300)
    )
    (repository / "platform" / "many.yaml").write_text(names)
    done = groundplane("review", "platform/many.yaml", "--base", "main")
    assert done.exit_code == 0, done.output
    assert len(done.output.encode()) < 65_000
    assert "````diff" in done.output
    assert "… and more" in done.output


@pytest.mark.parametrize("target", ["/etc/hostname", "../../../../etc/hostname", "nowhere.yaml"])
def test_a_link_at_the_base_that_leads_out_is_left_out_and_said_so(repository, target):
    git(repository, "checkout", "-q", "main")
    (repository / "platform" / "link.yaml").symlink_to(target)
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "link")
    git(repository, "checkout", "-qb", "other")
    git(repository, "rm", "-q", "platform/link.yaml")
    done = groundplane("review", "platform", "--base", "main")
    assert done.exit_code == 0, done.output
    assert (f'link.yaml", a link to "{target}", leads out of the folder' in done.stderr) == ("/" in target)


def test_a_page_of_many_mistakes_is_no_longer_either(repository):
    folder = repository / "platform" / ("long" * 50) / ("path" * 50)
    folder.mkdir(parents=True)
    wrong = COMPOSITION.replace("fromFieldPath: spec.text", f"fromFieldPath: spec.{'text' * 400}")
    for number in range(150):
        (folder / f"{number}.yaml").write_text(wrong.replace("metadata: {name: ", f"metadata: {{name: n{number}"))
    one = TESTS[TESTS.index("  - name: a note") :].replace("by: groundplane", f"by: '{'`' * 9_000}'")
    more = "".join(one.replace("a note", f"a note {number}") for number in range(20))
    (repository / "platform" / "tests.yaml").write_text(TESTS + more)
    done = groundplane("review", "platform", "--base", "main")
    assert done.exit_code == 1, done.output
    assert "Traceback" not in done.output
    assert 20_000 < len(done.stdout.encode()) < 65_000
    assert done.stdout.count("… and more") >= 1
    assert "### diff since main" in done.stdout


def test_a_text_in_the_page_is_text(repository):
    for text in (
        "[x](https://example.org)",
        "![x](//example.org)",
        "\\\\[x](y)",
        "&#64;team",
        "www.example.org",
        "#12",
    ):
        found = review._cell(text)
        assert not re.search(r"(?<!\\)(\\\\)*[\[\]]|://|&#|www\.|#\d|@\w", found), found
    assert review._code("a|b`c\n") == "a\\|b'c"


# --- the action ----------------------------------------------------------------------------------------------------


@pytest.fixture
def runner(repository, tmp_path):
    """Runs the steps of action.yml, with these inputs, as a runner of GitHub does: outputs, and what was asked of gh."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "groundplane").write_text(f'#!/bin/sh\nexec {sys.executable} -m groundplane.cli.main "$@"\n')
    (programs / "gh").write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/gh\n[ "$2" = --paginate ] && cat {tmp_path}/comments 2>/dev/null\nexit 0\n'
    )
    for each in programs.iterdir():
        each.chmod(0o755)
    action = yaml.safe_load((REPOSITORY / "action.yml").read_text())

    def run(**given):
        inputs = {
            name: str(given.pop(name.replace("-", "_"), each["default"])) for name, each in action["inputs"].items()
        }
        files = {name: tmp_path / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_PATH")}
        for each in files.values():
            each.write_text("")
        values = {f"inputs.{name}": value for name, value in inputs.items()} | {
            "github.token": "t",
            "github.event.pull_request.number": "7",
        }
        codes = []
        for step in action["runs"]["steps"]:
            if "inputs.comment" in str(step.get("if")) and inputs["comment"] != "true":
                continue
            outputs = dict(line.partition("=")[::2] for line in files["GITHUB_OUTPUT"].read_text().splitlines())
            known = values | {f"steps.review.outputs.{name}": value for name, value in outputs.items()}
            known["inputs.base || (github.base_ref && format('origin/{0}', github.base_ref))"] = inputs["base"]
            environment = {
                name: known[text.removeprefix("${{ ").removesuffix(" }}")] for name, text in step["env"].items()
            }
            assert "${{" not in step["run"], "an input in a script is code that anybody may send"
            environment |= {name: str(path) for name, path in files.items()}
            environment |= {
                "RUNNER_TEMP": str(tmp_path),
                "GITHUB_ACTION_PATH": str(REPOSITORY),
                "GITHUB_REPOSITORY": "team/platform",
                "PATH": f"{programs}:{os.environ['PATH']}",
            }
            shell = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]]
            done = subprocess.run(
                shell, cwd=repository, env={**os.environ, **environment}, capture_output=True, text=True, check=False
            )
            codes.append(done.returncode)
            run.said = done.stdout + done.stderr if step["name"] == "Review" else getattr(run, "said", "")
        asked = (tmp_path / "gh").read_text().splitlines() if (tmp_path / "gh").exists() else []
        return codes, files["GITHUB_STEP_SUMMARY"].read_text(), asked

    return run


def test_the_action_reviews_a_pull_request_and_keeps_its_comment(repository, runner, tmp_path):
    edit(repository, "data: {by: groundplane}", "data: {by: groundplane, with: care}")
    codes, summary, asked = runner(paths="platform", base="main", comment="true")
    assert codes == [0, 0, 0], runner.said
    assert "## ✔ Groundplane" in summary
    assert "with: care" in summary
    assert asked[-1].startswith("api repos/team/platform/issues/7/comments --field body=@")
    (tmp_path / "comments").write_text("42\n")
    edit(repository, "fromFieldPath: spec.text", "fromFieldPath: spec.texd")
    codes, summary, asked = runner(paths="platform", base="main", comment="true")
    assert codes == [0, 1, 0], runner.said
    assert "## ✘ Groundplane" in summary
    assert "::error file=platform/composition.yaml" in runner.said
    assert asked[-1].startswith("api --method PATCH repos/team/platform/issues/comments/42 --field body=@")


def test_an_input_of_the_action_is_never_code(repository, runner, tmp_path):
    codes, _, _ = runner(paths=f"$(touch {tmp_path}/owned)", base="main; touch owned")
    assert codes == [0, 1]
    assert not (tmp_path / "owned").exists()
    assert not (repository / "owned").exists()


# --- the hooks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["groundplane-validate", "groundplane-test"])
def test_a_hook_fails_for_a_mistake_alone(repository, name):
    hooks = {each["id"]: each for each in yaml.safe_load((REPOSITORY / ".pre-commit-hooks.yaml").read_text())}
    hook = hooks[name]
    assert (hook["language"], hook["pass_filenames"]) == ("python", False)
    command = [*hook["entry"].split(), *hook["args"]]
    assert command[0] == "groundplane"
    assert groundplane(*command[1:]).exit_code == 0
    if name == "groundplane-validate":
        edit(repository, "fromFieldPath: spec.text", "fromFieldPath: spec.texd")
    else:
        edit(repository, "by: groundplane", "by: nobody")
    assert groundplane(*command[1:]).exit_code == 1


def test_the_hook_of_tests_passes_where_there_are_none_and_not_where_there_is_no_such_path(tmp_path, monkeypatch):
    hooks = {each["id"]: each for each in yaml.safe_load((REPOSITORY / ".pre-commit-hooks.yaml").read_text())}
    hook = hooks["groundplane-test"]
    monkeypatch.chdir(write(tmp_path / "plain", claim=CLAIM))
    done = groundplane(*hook["entry"].split()[1:], *hook["args"])
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "there is no test in the current folder: see docs/testing.md for how to write one\n"
    assert groundplane(*hook["entry"].split()[1:], "platfrom").exit_code == 1
    assert groundplane("test").exit_code == 5


def test_outside_of_a_clone_that_is_what_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(write(tmp_path / "plain", claim=CLAIM))
    done = groundplane("review", ".", "--base", "main")
    assert done.exit_code == 1
    assert "not a git repository" in done.stderr
    assert "Mend: run it in a clone, or leave --base out." in done.stderr
