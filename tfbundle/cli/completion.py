"""Shell completion of the arguments of commands: paths, and the names that a file contains.

``_TFBUNDLE_COMPLETE=bash_source tfbundle`` prints the script that a shell loads (``zsh_source`` and ``fish_source`` do
the same for the others). The shell then calls the command at each press of the key. Therefore files that take long to
read are skipped, and a damaged file is not an error: it offers nothing to complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class

from tfbundle.printable import escape_name

if TYPE_CHECKING:
    from tfbundle.events.log import EventLog

# Files that can be read within a fraction of a second, in bytes.
_LARGEST = 16 << 20
# More names than these are of no use to choose from.
_MOST_NAMES = 500
# What the commands call the argument that leads to the names.
_PATHS = ("path", "logdir", "a", "graph")

# click's script loses backslashes and lets bash expand a name as a pattern, so that [0] and * become file names. In a
# word that does not begin with a quote, what bash would read otherwise is quoted.
_BASH = r"""
%(complete_func)s() {
    local word="${COMP_WORDS[COMP_CWORD]}" type value
    COMPREPLY=()
    while IFS=',' read -r type value; do
        case $type in
            dir) COMPREPLY=(); compopt -o dirnames ;;
            file) COMPREPLY=(); compopt -o default ;;
            plain)
                case $word in
                    [\"\']*) ;;
                    *) printf -v value '%%q' "$value" ;;
                esac
                COMPREPLY+=("$value") ;;
        esac
    done < <(IFS=$'\n'; env COMP_WORDS="${COMP_WORDS[*]}" COMP_CWORD=$COMP_CWORD %(complete_var)s=bash_complete "$1")
    return 0
}

complete -o nosort -F %(complete_func)s %(prog_name)s
"""

Completer = Callable[[click.Context, click.Parameter, str], list[str]]


class _Path(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # Generic since click 8.4.
    """A path, which the shell completes; the command checks whether it exists."""

    name = "path"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Leave it to the shell, which knows its own quotes and its home folders."""
        return [CompletionItem(incomplete, type="file")]


PATH = _Path()


def _completer(names_at: Callable[[str, dict[str, Any]], Iterable[str]]) -> Completer:
    """Return a function that completes names; ``names_at`` accepts the path and all given parameters."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        # After an option that still lacks its value, click has not given the arguments their names.
        given = [*(context.params[name] for name in _PATHS if context.params.get(name)), *context.args]
        path = given[0] if given else None
        if path is None:
            return []
        try:
            shown = map(escape_name, names_at(path, context.params))
            return list(islice((name for name in shown if name.startswith(incomplete)), _MOST_NAMES))
        except Exception:  # Whatever it is: an error has no place on the line that is typed.
            return []

    return complete


@_completer
def complete_tensors(path: str, given: dict[str, Any]) -> Iterator[str]:
    """Names of tensors, and those of TensorFlow 2's variables."""
    from tfbundle.checkpoint.find.names import index_path
    from tfbundle.cli.arguments import open_tensors, variable_names
    from tfbundle.storage.locations import locate

    with open_tensors(path, given.get("format")) as checkpoint:
        index = locate(index_path(checkpoint.prefix)).stat()
        if index is None or index.size <= _LARGEST:
            yield from checkpoint
            yield from variable_names(checkpoint).values()


@_completer
def complete_nodes(path: str, given: dict[str, Any]) -> Iterator[str]:
    """Names of a graph's nodes, functions and variables."""
    from tfbundle.graph.graph import Graph
    from tfbundle.graph.loading import one_graph
    from tfbundle.graph_sources import load_any_graph
    from tfbundle.storage.locations import locate

    stat = locate(path).stat()
    if stat is None or stat.size <= _LARGEST:
        loaded = one_graph(load_any_graph(path))
        graph = loaded if isinstance(loaded, Graph) else loaded.graph
        yield from graph.nodes
        yield from graph.functions
        if not isinstance(loaded, Graph):
            yield from (variable.own_name for variable in loaded.all_variables if variable.own_name not in graph.nodes)


@_completer
def complete_runs(path: str, given: dict[str, Any]) -> Iterator[str]:
    """Names of the runs in a log directory."""
    from tfbundle.events.log import open_events

    with open_events(path) as log:
        yield from log.runs


@_completer
def complete_tags(path: str, given: dict[str, Any]) -> Iterator[str]:
    """Tags of the runs that were chosen, or of all."""
    from tfbundle.events.log import open_events
    from tfbundle.events.plugins import KINDS

    with open_events(path, salvage=True) as log:
        runs = [run for name, run in log.runs.items() if not given.get("runs") or name in given["runs"]]
        if _size(log) > _LARGEST:
            return
        log.load(None, runs=[run.name for run in runs])
        yield from dict.fromkeys(tag for run in runs for kind in KINDS for tag in getattr(run, kind))


def _size(log: EventLog) -> int:
    from tfbundle.storage.locations import locate

    stats = [locate(path).stat() for run in log.runs.values() for path in run.paths]
    return sum(stat.size for stat in stats if stat is not None)


class _Bash(BashComplete):
    source_template = _BASH


def run_completion(command: click.Command, name: str, variable: str, instruction: str) -> int:
    """Print what the shell requested, and return the exit status; print nothing if an error occurs."""
    from click.shell_completion import shell_complete

    add_completion_class(_Bash)
    try:
        return shell_complete(command, {}, name, variable, instruction)
    except Exception:
        return 1
