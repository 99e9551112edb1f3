"""The rules that findings name, each with its meaning and the next step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Rule(NamedTuple):
    """A rule: its title, its meaning, and the next step."""

    title: str
    description: str
    advice: str


RULES: Mapping[str, Rule] = {
    "reads-files": Rule(
        "Reads files",
        "An op reads a file of the machine that is neither an asset of the model nor its checkpoint.",
        "Check the path; a model needs no files except those in its folder.",
    ),
    "writes-files": Rule(
        "Writes files",
        "An op writes a file other than those that a saver writes at the path it is given.",
        "Do not load the model, unless you know why it writes there.",
    ),
    "lists-files": Rule(
        "Lists folders",
        "An op lists the files that match a pattern.",
        "Check the pattern; a model needs no files except those in its folder.",
    ),
    "network": Rule(
        "Uses the network",
        "An op connects to another machine, or waits for connections.",
        "Do not load the model, unless you know the address.",
    ),
    "python-code": Rule(
        "Calls Python",
        "An op calls a Python function that the process registered, or a configuration contains or names Python code.",
        "Do not load the model, unless you know that code.",
    ),
    "program-in-data": Rule(
        "Contains a program in data",
        "An op runs a program that is stored in a value. If it is a graph, it is scanned too; other programs are not.",
        "Check the findings in it; if the program is not known, do not run the op.",
    ),
    "native-code": Rule(
        "Runs compiled code",
        "An op runs a program for XLA, a TPU or another compiler, which the scan does not decode.",
        "Find out which program wrote it; JAX models are exported like this.",
    ),
    "unknown-op": Rule(
        "Needs foreign native code",
        "TensorFlow has no such op. Its code is not in the graph, but in a library that the process has loaded.",
        "Find out which library it belongs to, and load none that came with the model.",
    ),
    "process": Rule(
        "Stops or delays the process",
        "An op ends the process, or makes it wait.",
        "Do not load the model in a process that others depend on.",
    ),
    "configuration": Rule(
        "Changes settings",
        "An op changes how the process reaches file systems or devices.",
        "Do not load the model, unless you know why it does.",
    ),
    "asset-outside": Rule(
        "Asset outside of the model",
        "The path of an asset is outside of the model's folder.",
        "Do not load the model; its initialisers would read that file.",
    ),
    "extra-code": Rule(
        "Code next to the model",
        "A file next to the model is a program, a library, a script or a pickle.",
        "Do not load or run it, unless you know who wrote it.",
    ),
    "archive-path": Rule(
        "Member outside of the archive",
        "The path of a member is outside of the folder in which the archive is unpacked.",
        "Do not unpack the archive.",
    ),
}
