"""The rules that findings name, what each means, and what to do about one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Rule(NamedTuple):
    """A rule: its name for people, what it means, and what to do."""

    title: str
    description: str
    advice: str


RULES: Mapping[str, Rule] = {
    "reads-files": Rule(
        "Reads files",
        "An op reads a file of the machine that is neither an asset of the model nor its checkpoint.",
        "Look at the path; a model needs no files but its own.",
    ),
    "writes-files": Rule(
        "Writes files",
        "An op writes a file elsewhere than where a saver was asked to save.",
        "Do not load the model, unless you know why it writes there.",
    ),
    "lists-files": Rule(
        "Lists folders",
        "An op lists the files that match a pattern.",
        "Look at the pattern; a model needs no files but its own.",
    ),
    "network": Rule(
        "Uses the network",
        "An op connects to another machine, or waits for connections.",
        "Do not load the model, unless you know the address.",
    ),
    "python-code": Rule(
        "Calls Python",
        "An op calls a Python function that the process registered, or a configuration holds or names Python code.",
        "Do not load the model, unless you know that code.",
    ),
    "program-in-data": Rule(
        "Holds a program in data",
        "An op runs a program that stands in a value. A graph there is judged as well; other programs are not.",
        "Look at the findings within it; where the program is not known, do not run the op.",
    ),
    "native-code": Rule(
        "Runs compiled code",
        "An op runs a program for XLA, a TPU or another compiler, which this scan does not read.",
        "Find out what made it; JAX models are exported like this.",
    ),
    "unknown-op": Rule(
        "Needs foreign native code",
        "TensorFlow has no such op. The graph cannot bring its code along; it runs what the process has loaded.",
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
        "The name of an asset leads out of the model's folder.",
        "Do not load the model; its initialisers would read that file.",
    ),
    "extra-code": Rule(
        "Code beside the model",
        "A file beside the model is a program, a library, a script or a pickle.",
        "Load and run none of it, unless you know who wrote it.",
    ),
    "archive-path": Rule(
        "Member outside of the archive",
        "The name of a member leads out of the folder in which the archive is unpacked.",
        "Do not unpack the archive.",
    ),
}
