"""Write the pages of docs/ that are made from the code: the study file, its JSON Schema, the Python reference.

``python docs/generate.py`` writes them; ``python docs/generate.py --check`` says whether they are up to date.
"""

from __future__ import annotations

import functools
import inspect
import sys
from pathlib import Path

import ilforge
from ilforge.study import document

HERE = Path(__file__).parent


def api_page() -> str:
    """The public names of ``import ilforge`` with their signatures and docstrings."""
    lines = [
        "# Python reference",
        "",
        "Everything below is there after `import ilforge`. This page is generated from the docstrings.",
    ]
    for name in ilforge.__all__:
        if name.startswith("_"):
            continue
        thing = getattr(ilforge, name)
        lines += ["", f"## `{name}{_signature(thing)}`", "", "```text", inspect.getdoc(thing) or "", "```"]
        if inspect.isclass(thing):
            for member, function in inspect.getmembers(thing, inspect.isroutine):
                own = member in vars(thing) and not member.startswith("_")
                if own and inspect.getdoc(function):
                    lines += ["", f"**`{member}{_signature(function)}`**", "", "```text"]
                    lines += [inspect.getdoc(function), "```"]
    return "\n".join(lines) + "\n"


def command_page() -> str:
    """Help of every command."""
    import click

    from ilforge.cli import ilforge as group
    from ilforge.cli import load_commands

    load_commands()
    context = click.Context(group, info_name="ilforge", terminal_width=100, **group.context_settings)
    lines = ["# Commands", "", "Exit codes: 0 done, 2 bad settings or arguments, 3 a program is missing, 4 some work"]
    lines += ["failed, 130 interrupted. This page is generated from the commands themselves."]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        inner = click.Context(command, info_name=name, parent=context, terminal_width=100)
        lines += ["", f"## ilforge {name}", "", "```text", command.get_help(inner), "```"]
        for part in command.list_commands(inner) if isinstance(command, click.Group) else ():
            of_part = click.Context(command.commands[part], info_name=part, parent=inner, terminal_width=100)
            lines += ["", f"### ilforge {name} {part}", "", "```text", command.commands[part].get_help(of_part), "```"]
    return "\n".join(lines) + "\n"


def card(name: str) -> str:
    """The card of a dataset that comes with ilforge."""
    from ilforge.workflow.dataset_card import card_text

    return card_text(ilforge.Dataset.open(HERE.parent / "data" / name), "That of ilforge: MIT.", NOTES[name])


def _signature(thing: object) -> str:
    try:
        text = str(inspect.signature(thing))
    except (TypeError, ValueError):
        return ""
    return text.replace("'", "").replace("ilforge.", "")


NOTES = {"pyr14bf4-pbe-d3": ""}
"""What else the cards of datasets in ``data/`` say."""
PAGES = {
    "study-file.md": document.reference,
    "study.schema.json": document.json_schema,
    "python.md": api_page,
    "commands.md": command_page,
    **{f"../data/{name}/README.md": functools.partial(card, name) for name in NOTES},
}


def main() -> None:
    """Write the pages, or with ``--check`` name those that are out of date."""
    stale = []
    for name, make in PAGES.items():
        path, text = HERE / name, make()
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(name)
            if "--check" not in sys.argv:
                path.write_text(text, encoding="utf-8")
    if "--check" in sys.argv and stale:
        sys.exit(f"out of date: {', '.join(stale)}. Run: make docs")
    print(f"{'wrote ' + ', '.join(stale) if stale else 'everything up to date'}")


if __name__ == "__main__":
    main()
