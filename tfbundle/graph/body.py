"""The common part of graphs and functions: nodes by name, and tensors by name.

The index of names is built on the first lookup, so that a graph of a hundred megabytes opens quickly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from operator import attrgetter
from typing import Any

from tfbundle.errors import FormatError, TfBundleError
from tfbundle.graph.constants import Constants
from tfbundle.graph.named_messages import NamedMessages
from tfbundle.graph.node import Node, Output
from tfbundle.graph.op_outputs import OpOutputs
from tfbundle.plurals import plural
from tfbundle.proto import NodeDef
from tfbundle.suggestions import suggest_names


class Nodes(Mapping[str, Node]):
    """The nodes by name, in the order of the file."""

    def __init__(self, protos: NamedMessages[NodeDef], body: Body) -> None:
        """Wrap the index of the nodes of ``body``."""
        self._body = body
        self._protos = protos

    def __getitem__(self, name: str) -> Node:
        proto = self._protos.get(name)
        if proto is None:
            raise KeyError(f"there is no node {name!r} in {self._body}{self._hint(str(name))}")
        return Node(proto, self._body)

    def get(self, name: str, default: Any = None) -> Any:
        """Return the node with this name, or ``default``, without a search for similar names."""
        proto = self._protos.get(name)
        return default if proto is None else Node(proto, self._body)

    def _hint(self, name: str) -> str:
        if ":" in name and name.rpartition(":")[0] in self._protos:
            return "; this is the name of a tensor, see graph[name]"
        return suggest_names(name, self._protos)

    def __contains__(self, name: object) -> bool:
        return name in self._protos

    def __iter__(self) -> Iterator[str]:
        return iter(self._protos)

    def __len__(self) -> int:
        return len(self._protos)

    def __eq__(self, other: object) -> bool:
        # Each lookup creates a new node.
        return isinstance(other, Nodes) and self._body is other._body

    def __hash__(self) -> int:
        return hash((Nodes, id(self._body)))

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (self._body, "nodes")

    def __repr__(self) -> str:
        return f"<{plural(len(self), 'node')} of {self._body}>"

    def _ipython_key_completions_(self) -> list[str]:
        return list(self)


class Body(ABC):
    """Nodes that refer to each other by name."""

    path: str | None
    """The file that the nodes were read from, or ``None``."""
    op_outputs: OpOutputs
    """The known outputs of ops."""

    def __init__(self, protos: Sequence[NodeDef], op_outputs: OpOutputs, graph_version: int, path: str | None) -> None:
        """Wrap the nodes; ``graph_version`` is the producer's version in the ``GraphDef``."""
        self._protos = protos
        self.op_outputs = op_outputs
        self.graph_version = graph_version
        self.path = path

    @property
    def nodes(self) -> Nodes:
        """The nodes by name; ``FormatError`` if two have the same name."""
        # It refers to this object, which would not be freed at once if it referred to the nodes.
        return Nodes(self._named, self)

    @cached_property
    def _named(self) -> NamedMessages[NodeDef]:
        named: NamedMessages[NodeDef] = NamedMessages(self._protos, attrgetter("name"))
        if named.repeated is not None:
            raise FormatError(f"two nodes of {self} have the name {named.repeated!r}", path=self.path)
        return named

    @cached_property
    def op_counts(self) -> Counter[str]:
        """The number of nodes of each op, without those inside functions."""
        return Counter(proto.op for proto in self._protos)

    @cached_property
    def constants(self) -> Constants:
        """The values of the ``Const`` nodes by name, each decoded on access."""
        _ = self.nodes  # Their names differ.
        return Constants(self._protos, str(self), self.path)

    def get(self, name: str) -> Output | None:
        """Return the tensor with this name, or ``None``."""
        place = self._place(name)
        if place is None or place[0] not in self.nodes:
            return None
        return self.nodes[place[0]].output(place[1])

    def __getitem__(self, name: str) -> Output:
        """Return the tensor with this name, or raise a ``KeyError`` that suggests similar names."""
        found = self.get(name)
        if found is None:
            raise KeyError(self._unknown(name))
        return found

    def _unknown(self, name: str) -> str:
        node_name = name.partition(":")[0]
        if node_name not in self.nodes:
            return f"there is no tensor {name!r} in {self}{suggest_names(node_name, self.nodes)}"
        node = self.nodes[node_name]
        hint = "" if node.outputs else f"; graph.nodes[{node_name!r}] is the node itself"
        return f"the node {node_name!r} ({node.op}) has {len(node.outputs or ())} outputs, but no {name!r}{hint}"

    def __contains__(self, name: object) -> bool:
        """Return whether a node or a tensor has this name."""
        return isinstance(name, str) and (name in self.nodes or self.get(name) is not None)

    def __iter__(self) -> Iterator[str]:
        """Return the names of the nodes, in the order of the file."""
        return iter(self.nodes)

    def __len__(self) -> int:
        """Return the number of nodes."""
        return len(self._protos)

    def __bool__(self) -> bool:
        """Return ``True``: a graph without nodes is a graph."""
        return True

    def _ipython_key_completions_(self) -> list[str]:
        return [name for name, node in self.nodes.items() if _has_outputs(node)]

    @abstractmethod
    def full_name(self, name: str) -> str:
        """Return the unambiguous form of a tensor name that appears among a node's inputs."""

    @abstractmethod
    def _place(self, name: str) -> tuple[str, int] | None:
        """Return the node name and output index of a tensor name, or ``None`` if it is not valid."""


def _has_outputs(node: Node) -> bool:
    try:
        return node.output(0) is not None
    except TfBundleError:
        return False
