"""The group of all commands, and their exit statuses.

::

    0    success
    1    the command ran, and found a problem
    2    the command failed; one line on stderr, beginning with "tfbundle: ", gives the reason
    130  interrupted by Ctrl-C      141  the reader of a pipe closed it

A command is a module with a click command named ``command``, and is imported on first use. Modules that are slow to
import (numpy, rich, the library itself) are imported inside its functions.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NoReturn

import click

from tfbundle._version import __version__
from tfbundle.cli.output import ESCAPE_UNENCODABLE, flush, print_warning
from tfbundle.cli.wording import describe_system_error, for_command
from tfbundle.errors import AddressError, TfBundleError

COMMANDS = (
    "info",
    "ls",
    "show",
    "state",
    "inventory",
    "objects",
    "graph",
    "check",
    "verify",
    "scan",
    "report",
    "diff",
    "fingerprint",
    "convert",
    "average",
    "references",
    "events",
    "records",
)

_PROGRAM = "tfbundle"
# The variable that a shell sets to request its completion script, or completions.
_COMPLETION = "_TFBUNDLE_COMPLETE"
_INTERRUPTED = 130
# The message of click.
_EXTRA = re.compile(r"Got unexpected extra arguments? \((.*)\)", re.DOTALL)
_BROKEN_PIPE = 141


class Commands(click.Group):
    """A group whose commands are modules, and whose errors are one line each."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names in the order in which help shows them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a name, imported now."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"tfbundle.cli.{cmd_name}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command by its name; fail with a suggestion if there is no such command."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS and not ctx.resilient_parsing:
            ctx.fail(f"No such command '{args[0]}'{_suggest(args[0]) or '.'}")
        return super().resolve_command(ctx, args)

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **settings: Any) -> NoReturn:  # type: ignore[override]
        """Run a command and exit the process, or in tests the runner, with its exit status."""
        instruction = os.environ.get(_COMPLETION)
        if instruction:
            from tfbundle.cli.completion import run_completion

            sys.exit(run_completion(self, _PROGRAM, _COMPLETION, instruction))
        status = self._run(list(sys.argv[1:] if args is None else args))
        try:
            sys.stdout.flush()
        except OSError:  # Python would try it again at exit, report the failure and change the status.
            _drop_output()
        sys.exit(status)

    def _run(self, arguments: list[str]) -> int:
        if sys.stdout is None:  # The parent process closed it.
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - it stays open until the process exits.
        # Characters that the terminal's encoding lacks are escaped, like all others that cannot be printed.
        reconfigure = getattr(sys.stdout, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors=ESCAPE_UNENCODABLE)
        context: click.Context | None = None
        try:
            try:
                with self.make_context(_PROGRAM, arguments) as context:
                    self.invoke(context)
                status = 0
            except click.exceptions.Exit as leaving:
                status = leaving.exit_code
            flush()
        except click.ClickException as error:
            message = error.format_message()
            if isinstance(error, click.UsageError) and error.ctx is not None:
                message += _expansion_hint(message)
                end = "" if message.endswith((".", "?", "!")) else "."
                message += f"{end} See '{error.ctx.command_path} --help'."
            return _refuse(message)
        except (KeyboardInterrupt, click.Abort):
            return _INTERRUPTED
        except BrokenPipeError:
            return _BROKEN_PIPE
        except AddressError as error:
            return _refuse(str(error))
        except TfBundleError as error:
            return _refuse(for_command(str(error)))
        except OSError as error:
            return _refuse(describe_system_error(error, _first_path(arguments)))
        except MemoryError:
            return _refuse("there is not enough memory to read this")
        return status


def _suggest(text: str) -> str:
    from tfbundle.storage.locations import locate
    from tfbundle.suggestions import closest_names

    close = closest_names(text, COMMANDS, count=2)
    if close:
        return f"; did you mean {' or '.join(map(repr, close))}?"
    location = locate(text)
    return f"; 'tfbundle info {text}' identifies it" if location.is_file() or location.is_folder() else ""


def _expansion_hint(message: str) -> str:
    """Return a hint if arguments are superfluous because a shell may have expanded a pattern to file names."""
    from tfbundle.cli.arguments import hint_of_expansion

    extra = _EXTRA.match(message)
    words = [] if extra is None else extra[1].split()
    return next(filter(None, map(hint_of_expansion, words)), "")


def _first_path(arguments: list[str]) -> str | None:
    """Return the argument that is probably the path, for an error that does not name its file."""
    return next((argument for argument in arguments[1:] if not argument.startswith("-")), None)


def _drop_output() -> None:
    """Discard what stdout still buffers."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # noqa: TID251 - it is a device.


def _refuse(message: str) -> int:
    print_warning(f"tfbundle: {message}")
    return 2


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.version_option(__version__, prog_name="tfbundle", message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Read TensorFlow checkpoints, graphs and event files without TensorFlow.

    Start with 'tfbundle info PATH': it identifies any file or folder, and names the next command to run. For the other
    commands, PATH is the prefix of a checkpoint, any of its files, its folder, or a SavedModel. The commands ls, show,
    verify, diff, fingerprint and convert also accept a frozen graph.

    \b
    Completion of a shell, such as bash (or zsh_source, fish_source):
        eval "$(_TFBUNDLE_COMPLETE=bash_source tfbundle)"
    """  # noqa: D301 - click takes a line with this character alone for one that must not be wrapped.
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
