"""Digest of a SavedModel's graph, by which two exports of the same model are equal.

TensorFlow numbers functions and nodes in the order in which threads have traced them,
and names tables after a temporary directory, so two trainings with the same weights
save the same graph in other bytes. A node's digest is that of its operation, attributes
and inputs, as in a Merkle tree: neither names nor the order of nodes count.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from tensorflow.core.framework.function_pb2 import FunctionDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

_NUMBER = re.compile(rb"_\d+")
# Nothing is computed from these.
_NO_MEANING = frozenset(
    {"_user_specified_name", "_output_shapes", "_input_shapes", "container"}
)
_TABLE = "HashTable"
_CYCLE = "cycle"


def graph_digest(saved_model: bytes) -> str:
    """Computes the digest.

    Args:
        saved_model: The contents of saved_model.pb.

    Returns:
        SHA-256, in hexadecimal.
    """
    model = saved_model_pb2.SavedModel.FromString(saved_model)
    return _digest(*(_Graph(graph).digest() for graph in model.meta_graphs))


class _Graph:
    """Digests of the functions of a graph, each computed once."""

    def __init__(self, graph: meta_graph_pb2.MetaGraphDef) -> None:
        self._graph = graph
        library = graph.graph_def.library.function
        self._library = {each.signature.name: each for each in library}
        self._known: dict[str, str] = {}

    def digest(self) -> str:
        graph = self._graph
        of, output = self._flow(graph.graph_def.node, {})
        objects = graph.object_graph_def
        return _digest(
            *sorted(of(node.name) for node in graph.graph_def.node),
            *self._signatures(output),
            *sorted(
                _digest(
                    self._function(name), each.SerializeToString(deterministic=True)
                )
                for name, each in objects.concrete_functions.items()
            ),
            *(
                _NUMBER.sub(b"_", each.SerializeToString(deterministic=True))
                for each in objects.nodes
            ),
        )

    def _signatures(self, output: Callable[[str], str]) -> Iterator[str | bytes]:
        for name, signature in sorted(self._graph.signature_def.items()):
            yield name
            for tensors in (signature.inputs, signature.outputs):
                for key, tensor in sorted(tensors.items()):
                    yield from (key, output(tensor.name), str(tensor.dtype))
                    yield tensor.tensor_shape.SerializeToString(deterministic=True)

    def _function(self, name: str) -> str:
        if name not in self._known:
            self._known[name] = _CYCLE
            function = self._library.get(name)
            self._known[name] = self._body(function) if function else name
        return self._known[name]

    def _body(self, function: FunctionDef) -> str:
        given = function.signature.input_arg
        arguments = {
            each.name: _digest("argument", str(place), str(each.type))
            for place, each in enumerate(given)
        }
        of, output = self._flow(function.node_def, arguments)
        answers = function.signature.output_arg
        return _digest(
            *arguments.values(),
            *(output(function.ret[each.name]) for each in answers),
            "all",
            *sorted(of(node.name) for node in function.node_def),
        )

    def _flow(
        self, nodes: Iterable[NodeDef], arguments: Mapping[str, str]
    ) -> tuple[Callable[[str], str], Callable[[str], str]]:
        """Returns functions for the digest of a node, and of one of its outputs."""
        by_name = {node.name: node for node in nodes}
        known = dict(arguments)

        def of(name: str) -> str:
            # Not recursive: a chain of nodes may be longer than Python's stack.
            waiting, begun = [name], set[str]()
            while waiting:
                top = waiting[-1]
                before = [] if top in known else _inputs(by_name[top])
                missing = [each for each in before if each not in known]
                if missing and top not in begun:
                    begun.add(top)
                    waiting += missing
                    continue
                waiting.pop()
                if top not in known:
                    known[top] = self._node(by_name[top], output)
            return known[name]

        def output(tensor: str) -> str:
            name, _, place = tensor.partition(":")
            return _digest(known.get(name, _CYCLE), place)

        def answer(tensor: str) -> str:
            of(tensor.partition(":")[0])
            return output(tensor)

        return of, answer

    def _node(self, node: NodeDef, output: Callable[[str], str]) -> str:
        data = [each for each in node.input if not each.startswith("^")]
        control = [each[1:] for each in node.input if each.startswith("^")]
        before = [*map(output, data), "after", *sorted(map(output, control))]
        return _digest(node.op, *self._attributes(node), *before)

    def _attributes(self, node: NodeDef) -> Iterator[str | bytes]:
        for name, value in sorted(node.attr.items()):
            # Of a table it is a random number, or has a temporary directory in it.
            if name in _NO_MEANING or (name == "shared_name" and _TABLE in node.op):
                continue
            yield name
            called = [value.func] if value.HasField("func") else value.list.func
            yield from (self._function(each.name) for each in called)
            if not called:
                yield value.SerializeToString(deterministic=True)


def _inputs(node: NodeDef) -> list[str]:
    """Returns the names of the nodes and arguments that a node reads or waits for."""
    return [each.removeprefix("^").partition(":")[0] for each in node.input]


def _digest(*parts: str | bytes) -> str:
    found = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode()
        found.update(b"%d:" % len(data))
        found.update(data)
    return found.hexdigest()
