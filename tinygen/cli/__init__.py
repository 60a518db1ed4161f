"""The command line: each verb is a few lines over a public function in `tinygen.verbs`."""

from __future__ import annotations

import json
import os
import sys
import traceback

from tinygen.cli.app import app
from tinygen.cli.console import errors
from tinygen.errors import TinygenError

DEBUG_VARIABLE = "TINYGEN_DEBUG"


def main() -> None:
    """Entry point of the `tinygen` command.

    Exit status: 0 success; 1 an error tinygen understands, or `verify` found differences; 2 wrong
    usage; 70 a defect in tinygen; 130 interrupted.
    """
    debug = "--debug" in sys.argv or bool(os.environ.get(DEBUG_VARIABLE))
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        app(arguments, prog_name="tinygen")
    except TinygenError as error:
        if debug:
            traceback.print_exc()
        _report(error, as_json="--json" in arguments)
        sys.exit(1)
    except KeyboardInterrupt:
        errors.print("interrupted")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output went away (`tinygen inspect ... | head`): nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:  # the last resort: a user gets a sentence, not a traceback
        if debug:
            traceback.print_exc()
        errors.print(f"[bold red]internal error[/]: {type(error).__name__}: ", end="")
        errors.print(str(error), markup=False)
        errors.print("This is a defect in tinygen. Run again with --debug and report what it prints.")
        sys.exit(70)


def _report(error: TinygenError, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"error": {"what": error.what, "where": error.where, "fix": error.fix}}))
        return
    errors.print("[bold red]error[/]: ", end="")
    errors.print(f"{error.where}: {error.what}" if error.where else error.what, markup=False)
    if error.fix:
        errors.print("[bold]help[/]: ", end="")
        errors.print(error.fix, markup=False)
