"""The directive ``command``: what a command of the front door takes, read from the program."""

from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer.main
from docutils import nodes
from prose import entry, inline, paragraphs
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.errors import ExtensionError
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

import cli

SHOWN = "mmssl_commands_shown"


def commands() -> dict[str, Any]:
    """Every command that runs something, by the words one types."""

    def walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        below = getattr(command, "commands", None)
        if below is None:
            yield " ".join(path), command
        else:
            for name, child in below.items():
                yield from walk(child, (*path, name))

    return dict(walk(typer.main.get_command(cli.app), ()))


class Command(SphinxDirective):
    """``{command} features show``: usage, description, arguments and options."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """The nodes of one command."""
        name = self.arguments[0]
        known = commands()
        if name not in known:
            raise self.error(f"no command {name!r}")
        shown: dict[str, set[str]] = self.env.__dict__.setdefault(SHOWN, {})
        shown.setdefault(self.env.docname, set()).add(name)
        command = known[name]
        listed = nodes.definition_list(
            "",
            *(_parameter(name, parameter) for parameter in command.params if not parameter.hidden),
            classes=["reference-list"],
        )
        usage = nodes.literal_block(text=_usage(name, command), language="text")
        return [usage, *paragraphs(command.help or ""), listed]


def _usage(name: str, command: Any) -> str:
    words = [f"python cli.py {name}"]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            many = "..." if parameter.nargs == -1 else ""
            word = f"{parameter.name.upper()}{many}"
            words.append(word if parameter.required else f"[{word}]")
        elif parameter.required:
            words.append(f"{parameter.opts[0]} {_kind(parameter)}")
    return " ".join([*words, "[OPTIONS]"])


def _kind(parameter: Any) -> str:
    """What stands behind an option: its choices, or the kind of value."""
    found = _plain(parameter.type_descriptor.annotation)
    if get_origin(found) is Literal:
        return "|".join(map(str, get_args(found)))
    return {int: "INTEGER", float: "NUMBER", Path: "PATH"}.get(found, "TEXT")


def _plain(annotation: Any) -> Any:
    """The type of one value, without ``| None``, ``list`` and notes."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated or origin is list:
        return _plain(args[0])
    if origin in (Union, UnionType):
        return _plain(next(part for part in args if part is not type(None)))
    return annotation


def _parameter(command: str, parameter: Any) -> nodes.Node:
    anchor = f"{command.replace(' ', '-')}-{parameter.name.replace('_', '-')}"
    if parameter.param_type_name == "argument":
        names, kind = parameter.name.upper(), ""
    else:
        names = ", ".join([*parameter.opts, *parameter.secondary_opts])
        kind = "" if parameter.is_flag else f" {_kind(parameter)}"
    term: list[nodes.Node] = [nodes.literal(text=names + kind)]
    facts = ["required"] if parameter.required else []
    if "list" in str(parameter.type_descriptor.annotation):
        facts.append("repeatable")
    default = parameter.default
    if not parameter.required and default not in (None, (), [], False) and not callable(default):
        value = ", ".join(map(str, default)) if isinstance(default, list | tuple) else default
        facts.append(f"default {value}")
    if facts:
        term.append(nodes.inline(text=f" {'; '.join(facts)}", classes=["facts"]))
    return entry(term, anchor, [nodes.paragraph("", "", *inline(parameter.help or ""))])


def _none_is_missing(app: Sphinx, env: BuildEnvironment) -> None:
    shown = set().union(*env.__dict__.get(SHOWN, {}).values())
    for name in sorted(commands().keys() - shown):
        logging.getLogger(__name__).warning("no page has the command %r", name)


def _purge(app: Sphinx, env: BuildEnvironment, docname: str) -> None:
    env.__dict__.get(SHOWN, {}).pop(docname, None)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive, and the check that no command is left out."""
    if not commands():
        raise ExtensionError("the program has no commands")
    app.add_directive("command", Command)
    app.connect("env-check-consistency", _none_is_missing)
    app.connect("env-purge-doc", _purge)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
