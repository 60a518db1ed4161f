"""Arguments that repeat, in help: `MODEL...` instead of the name and type that Typer shows, `MODEL <list[Path]>`."""

from __future__ import annotations

from typing import Any


def show_repeated(command: Any) -> None:
    """Changes the help of a command and of those in it.

    Args:
        command: what `typer.main.get_command` gives; its classes are not public.
    """
    for inner in getattr(command, "commands", {}).values():
        show_repeated(inner)
    for argument in command.params:
        if argument.param_type_name == "argument" and argument.nargs == -1:
            argument.get_help_record = _Record(argument)


class _Record:
    """The help of an argument: name and text."""

    def __init__(self, argument: Any) -> None:
        self._argument, self._usual = argument, argument.get_help_record

    def __call__(self, ctx: Any) -> tuple[str, str] | None:
        usual = self._usual(ctx)
        return usual and (f"{self._argument.display_name_raw}...", usual[1])
