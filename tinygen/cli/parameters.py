"""What Typer does not do: the help of arguments that repeat (`MODEL...`, not `MODEL <list[Path]>`); empty paths."""

from __future__ import annotations

from typing import Any

import typer


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


def refuse_empty_paths(command: Any) -> None:
    """Makes an empty path wrong usage, in a command and those in it: for Python it would be the current folder.

    Args:
        command: see `show_repeated`.
    """
    for inner in getattr(command, "commands", {}).values():
        refuse_empty_paths(inner)
    for parameter in command.params:
        if "Path" in str(parameter.type_descriptor.annotation):
            parameter.process_value = _Nonempty(parameter)


class _Nonempty:
    """Converts what was given for a path, or for several."""

    def __init__(self, parameter: Any) -> None:
        self._parameter, self._usual = parameter, parameter.process_value

    def __call__(self, ctx: Any, value: Any) -> Any:
        if "" in (value if isinstance(value, list | tuple) else (value,)):
            raise typer.BadParameter("the path is empty", ctx=ctx, param=self._parameter)
        return self._usual(ctx, value)


class _Record:
    """The help of an argument: name and text."""

    def __init__(self, argument: Any) -> None:
        self._argument, self._usual = argument, argument.get_help_record

    def __call__(self, ctx: Any) -> tuple[str, str] | None:
        usual = self._usual(ctx)
        return usual and (f"{self._argument.display_name_raw}...", usual[1])
