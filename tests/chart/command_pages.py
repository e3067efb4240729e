"""docs/reference/commands.md: every command with its arguments and options, made from the commands themselves by `make chart`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from groundplane.cli.main import COMMANDS, main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "commands.md"
HEAD = """\
<!-- Made by `make chart` from operator/groundplane/cli.  Do not edit. -->
# Commands

`groundplane COMMAND --help` says the same. Standard output is the answer, everything else goes to standard error. `beta`, `resource` and `composition` may stand before a command, as in Crossplane's command line.

## Exit codes

| code | means | of |
|---|---|---|
| 0 | it is so, or it is done | all |
| 1 | something is wrong, or failed; standard error says what, and what to do | all |
| 2 | a file would be refused; something would be done | `diff`; `plan --detailed-exitcode` |
| 3 | not everything is ready; something would change; something that is forbidden would be done | `explain`, `trace --exit-code`; `diff`; `plan --forbid` |
| 4 | the plan is stale: nothing was done | `apply` |
| 5 | nothing was found to run | `test` |
| 80 | wrong usage: an option or an argument that there is not, or that is missing (as Crossplane's command line) | all |

What upstream answers is answered here: `validate` ends with 1 if something is invalid, and with `--error-on-missing-schemas` if a schema is missing; `trace` with 0, ready or not; `convert` with 0 where there is nothing to do.

## Completion

For `bash` (4.4 or later), `zsh` and `fish`; a line in `~/.bashrc`, in `~/.zshrc` (behind `compinit`), or a file:

```bash
source <(groundplane completion bash)
source <(groundplane completion zsh)
groundplane completion fish > ~/.config/fish/completions/groundplane.fish
```

Completed are commands, options, files, and what is in the store or cluster that the command would look at: kinds, names, namespaces, fields (`explain`), contexts. Nothing is offered where that does not answer within two seconds.

## Schemas for editors

`groundplane crds --json-schema DIR --definitions platform/` writes a JSON Schema for each kind, of yours too, and `all.json`, which tells them apart by apiVersion and kind. With the YAML language server (VS Code, Neovim, IntelliJ):

```json
{"yaml.schemas": {"DIR/all.json": ["platform/**/*.yaml"]}}
```
"""


def pages() -> dict[Path, str]:
    """The page and what it should hold."""
    parts = [HEAD]
    with click.Context(main, info_name="groundplane") as root:
        for name in COMMANDS:
            command = main.get_command(root, name)
            assert command is not None
            parts += _chapter(command, click.Context(command, info_name=name, parent=root))
    return {PAGE: "\n".join(parts)}


def _chapter(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## {context.command_path}\n"
    usage = command.get_usage(context).removeprefix("Usage: ")
    yield f"    {' '.join(usage.split())}\n"
    yield f"{_prose(command.help or '')}\n"
    rows = [record for option in command.params for record in [option.get_help_record(context)] if record and record[1]]
    if rows:
        yield "| option | |\n|---|---|"
        yield "\n".join(f"| `{_cell(names)}` | {_cell(text)} |" for names, text in rows) + "\n"
    if command.epilog:
        word, _, example = command.epilog.partition(": ")
        yield f"{word}:\n\n    {example}\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from _chapter(inner, click.Context(inner, info_name=name, parent=context))


def _prose(text: str) -> str:
    """Paragraphs of one line each."""
    import inspect

    paragraphs = inspect.cleandoc(text.replace("\b", "")).split("\n\n")
    return (
        "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs).replace("<", "&lt;").replace("*.", "\\*.")
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
