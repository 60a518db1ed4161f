"""The command line: each verb is a few lines over a public function in `tinygen.verbs`.

It imports little by itself: `main` handles Ctrl-C while the rest is imported.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

from tinygen.errors import TinygenError, TinygenWarning

DEBUG_VARIABLE = "TINYGEN_DEBUG"


def main() -> None:
    """Entry point of the `tinygen` command.

    Exit status: 0 success; 1 an error tinygen understands, or `verify` found differences; 2 wrong
    usage; 70 a defect in tinygen; 130 interrupted. SIGTERM and SIGHUP end it as they do, after it has cleaned up.
    """
    try:
        _quiet_at_exit()
        import warnings

        from tinygen.files import cleaned_when_ended

        with cleaned_when_ended(), warnings.catch_warnings():
            warnings.showwarning = _show_warning
            _main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _show_warning(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
    """One line for what is tinygen's own; others', as torch's, as Python shows them."""
    import warnings

    from tinygen.cli.console import warn

    if issubclass(category, TinygenWarning):
        warn([str(message)])
    else:
        sys.stderr.write(warnings.formatwarning(message, category, *place[:2]))


@cache
def _quiet_at_exit() -> None:
    """Ctrl-C while Python takes itself down, when nothing is left to do, has no traceback."""
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_DFL)


def _main() -> None:
    debug = "--debug" in sys.argv or bool(os.environ.get(DEBUG_VARIABLE))
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    as_json = "--json" in arguments
    try:
        try:
            # Not standalone, typer leaves wrong usage to us, and gives the status of what it has dealt with.
            from tinygen.extras import optional_imports

            with optional_imports():
                status = _command()(arguments, prog_name="tinygen", standalone_mode=not as_json)
        finally:
            sys.stdout.flush()
        sys.exit(status if isinstance(status, int) else 0)
    except TinygenError as error:
        _trace(debug)
        _report(error, as_json=as_json)
        sys.exit(1)
    except BrokenPipeError:
        # The reader of our output has exited (`tinygen inspect ... | head`): no message can reach it.
        _drop_output()
        sys.exit(0)
    except OSError as error:
        _trace(debug)
        from tinygen.files import explained

        problem = explained(error)
        if problem is None:
            _report_defect(error, as_json=as_json)
            sys.exit(70)
        lost = error.filename is None  # `> /dev/full`, mostly: what was written is no file that has a name here
        if lost:
            _drop_output()
        _report(problem, as_json=as_json and not lost)
        sys.exit(1)
    except Exception as error:  # last resort: show a sentence instead of a traceback
        if isinstance(error, ImportError) and isinstance(error.__cause__ or error.__context__, KeyboardInterrupt):
            # Ctrl-C while a module of C++ was imported: what binds it makes an error of its own of that.
            raise KeyboardInterrupt from error
        misuse = _misuse(error)
        if misuse is not None:
            _report(misuse, as_json=as_json)
            sys.exit(2)
        _trace(debug)
        _report_defect(error, as_json=as_json)
        sys.exit(70)


@cache
def _command() -> Callable[..., object]:
    """All verbs with their options; made once, also where a program calls `main` again and again."""
    from typer.main import get_command

    from tinygen.cli.app import app
    from tinygen.cli.parameters import refuse_empty_paths, show_repeated

    command = get_command(app)
    show_repeated(command)
    refuse_empty_paths(command)
    return command


def _drop_output() -> None:
    """Else Python would try again at its end to write what it still has."""
    with suppress(OSError, ValueError):  # where it is no file: in tests, say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _trace(debug: bool) -> None:
    if debug:
        import traceback

        traceback.print_exc()


def _misuse(error: Exception) -> TinygenError | None:
    """What `--json` says of wrong usage; None of any other error. typer has no name for it."""
    if not any(base.__name__ == "ClickException" for base in type(error).__mro__):
        return None
    context = getattr(error, "ctx", None)
    said = error.format_message() if hasattr(error, "format_message") else str(error)
    return TinygenError(said, fix=f"Try '{context.command_path if context else 'tinygen'} -h' for help.")


def _report_defect(error: Exception, *, as_json: bool = False) -> None:
    if as_json:
        what = f"internal error: {type(error).__name__}: {error}"
        fix = "This is a defect in tinygen. Run again with --debug and report what it prints."
        _report(TinygenError(what, fix=fix), as_json=True)
        return
    from rich.text import Text

    from tinygen.cli.console import errors

    errors.print(Text.assemble(("internal error", "bold red"), f": {type(error).__name__}: {error}"))
    errors.print("This is a defect in tinygen. Run again with --debug and report what it prints.")


def _report(error: TinygenError, *, as_json: bool) -> None:
    if as_json:
        import json

        print(json.dumps({"error": {"what": error.what, "where": error.where, "fix": error.fix}}))
        return
    from rich.text import Text

    from tinygen.cli.console import errors

    said = f"{error.where}: {error.what}" if error.where else error.what
    errors.print(Text.assemble(("error", "bold red"), f": {said}"))
    if error.fix:
        errors.print(Text.assemble(("help", "bold"), f": {error.fix}"))
