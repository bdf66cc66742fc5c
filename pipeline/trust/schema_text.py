"""Changes a schema's text only where the schema changes.

The reviewed schema is written by hand: its comments give the reasons, and its review is
a diff. Printing the changed proto would drop the former and rewrite every line of the
latter, so the text is edited in place and then parsed to check that it says what it
should.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf import text_format
from google.protobuf.descriptor import FieldDescriptor
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline.errors import UsageError

_TOKEN = re.compile(
    r"""(?P<skipped>\s+|\#[^\n]*)
    |(?P<text>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')
    |(?P<mark>[{}:;,])
    |(?P<word>[^\s{}:;,"'#]+)""",
    re.VERBOSE,
)
_INDENT = "  "
# Repeated messages that are identified by their name rather than by their place.
_NAMED = frozenset({"feature", "string_domain", "float_domain", "int_domain"})


@dataclass
class _Node:
    """A field of a text proto: where it is in the text.

    Attributes:
        name: Name of the field.
        start: Offset of its name.
        end: Offset after its value.
        value: Offset of its value, or of what is inside its braces.
        children: Fields inside its braces; `None` for a scalar.
    """

    name: str
    start: int
    end: int = 0
    value: int = 0
    children: "list[_Node] | None" = None


@dataclass
class _Edits:
    """Replacements of parts of a text, collected and then applied at once."""

    text: str
    made: list[tuple[int, int, str]] = field(default_factory=list)

    def replace(self, start: int, end: int, by: str) -> None:
        """Replaces a part of the text; equal ends insert."""
        self.made.append((start, end, by))

    def applied(self) -> str:
        """Returns the text with all replacements."""
        text = self.text
        # From the end, so that offsets stay right, also of insertions at one place.
        made = sorted(enumerate(self.made), key=lambda each: (each[1][0], each[0]))
        for _, (start, end, by) in reversed(made):
            text = text[:start] + by + text[end:]
        return text


@dataclass(frozen=True)
class _Field:
    """A field of a message, as it is and as it should be.

    Attributes:
        about: Its descriptor.
        places: Where it is in the text, once for each value.
        old: Its values.
        new: Its values afterwards.
    """

    about: FieldDescriptor
    places: Sequence[_Node]
    old: Sequence[Any]
    new: Sequence[Any]


def rewrite(text: str, wanted: schema_pb2.Schema) -> str:
    """Edits a schema's text so that it says what another schema says.

    Args:
        text: A text proto.
        wanted: What the result must say.

    Returns:
        The text; lines that say the same are unchanged, with their comments.

    Raises:
        UsageError: The text uses a notation that can't be edited, such as a list in
            brackets.
    """
    current = text_format.Parse(text, schema_pb2.Schema())
    edits = _Edits(text)
    try:
        _edit(edits, _Node("", 0, len(text), 0, _nodes(text)), current, wanted)
        result = edits.applied()
        agrees = text_format.Parse(result, schema_pb2.Schema()) == wanted
    except (ValueError, text_format.ParseError):
        agrees = False
    if not agrees:
        raise UsageError(
            "the schema's text is in a notation that can't be edited here, such as "
            "lists in brackets; make the change by hand"
        )
    return result


def _nodes(text: str) -> list[_Node]:
    """Parses a text proto into fields with offsets."""
    top: list[_Node] = []
    stack = [top]
    opened: list[_Node] = []
    node: _Node | None = None
    place = 0
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            msg = f"unexpected {text[place]!r}"
            raise ValueError(msg)
        start, place = match.span()
        found = match[0]
        if match["skipped"] or found in {":", ";", ","}:
            continue
        if found == "{":
            if node is None:
                msg = "a block without a name"
                raise ValueError(msg)
            node.children, node.value = [], place
            stack.append(node.children)
            opened.append(node)
            node = None
        elif found == "}":
            stack.pop()
            opened.pop().end = place
        elif node is None:
            node = _Node(found, start)
            stack[-1].append(node)
        else:
            node.value, node.end = start, place
            node = None
    return top


def _edit(edits: _Edits, node: _Node, current: Any, wanted: Any) -> None:
    """Edits the fields of a block."""
    for about in wanted.DESCRIPTOR.fields:
        places = [n for n in node.children or () if n.name == about.name]
        found = _Field(about, places, _values(current, about), _values(wanted, about))
        if about.type == FieldDescriptor.TYPE_MESSAGE:
            _edit_messages(edits, node, found)
        elif found.old != found.new:
            _edit_scalars(edits, node, found, type(wanted))


def _edit_messages(edits: _Edits, node: _Node, found: _Field) -> None:
    about, places = found.about, found.places
    keys = [_key(about, each, i) for i, each in enumerate(found.old)]
    known = dict(zip(keys, zip(places, found.old, strict=True), strict=True))
    added = []
    for i, each in enumerate(found.new):
        if at := known.pop(_key(about, each, i), None):
            _edit(edits, at[0], at[1], each)
        else:
            added.append(each)
    for place, _ in known.values():
        _remove(edits, place)
    for each in added:
        if node.name:
            inside = text_format.MessageToString(each, as_one_line=True, as_utf8=True)
            _append(edits, node, f"{about.name} {{ {inside} }}", places)
        else:
            _append_block(edits, node, about.name, each, places)


def _edit_scalars(edits: _Edits, node: _Node, found: _Field, kind: Any) -> None:
    about, places = found.about, found.places
    printed = [_printed(about, kind, value) for value in found.new]
    if not about.is_repeated and places and printed:
        edits.replace(places[-1].value, places[-1].end, printed[0])
        return
    for place, value in zip(places, found.old, strict=True):
        if value not in found.new:
            _remove(edits, place)
    for value, shown in zip(found.new, printed, strict=True):
        if value not in found.old:
            _append(edits, node, f"{about.name}: {shown}", places)


def _values(message: Any, about: FieldDescriptor) -> list[Any]:
    if about.is_repeated:
        return list(getattr(message, about.name))
    return [getattr(message, about.name)] if message.HasField(about.name) else []


def _key(about: FieldDescriptor, message: Any, place: int) -> object:
    return message.name if about.name in _NAMED and message.name else place


def _printed(about: FieldDescriptor, kind: Any, value: object) -> str:
    """Returns a scalar as text protos have it."""
    alone = kind(**{about.name: [value] if about.is_repeated else value})
    text = text_format.MessageToString(alone, as_one_line=True, as_utf8=True)
    return text.partition(": ")[2]


def _append(edits: _Edits, node: _Node, text: str, after: Sequence[_Node]) -> None:
    """Inserts a field into a block, after others of its name if there are any."""
    children = node.children or []
    before = (after or children)[-1:]
    if not before:
        edits.replace(node.value, node.value, f" {text}")
    elif edits.text.count("\n", node.start, node.end):
        end = _end_of_line(edits.text, before[0].end)
        edits.replace(end, end, f"\n{_indent_at(edits.text, before[0].start)}{text}")
    else:
        edits.replace(before[0].end, before[0].end, f" {text}")


def _append_block(
    edits: _Edits, node: _Node, name: str, message: Any, after: Sequence[_Node]
) -> None:
    """Inserts a block of several lines at the top level."""
    inside = text_format.MessageToString(message, as_utf8=True, indent=len(_INDENT))
    block = f"{name} {{\n{inside}}}"
    before = (after or node.children or [])[-1:]
    if not before:
        edits.replace(len(edits.text), len(edits.text), f"{block}\n")
        return
    end = _end_of_line(edits.text, before[0].end)
    edits.replace(end, end, f"\n\n{block}")


def _remove(edits: _Edits, node: _Node) -> None:
    """Removes a field; with its lines and the comment above if it is alone on them."""
    text = edits.text
    first, last = text.rfind("\n", 0, node.start) + 1, _end_of_line(text, node.end)
    rest = text[node.end : last].strip()
    if text[first : node.start].strip() or (rest and not rest.startswith("#")):
        end = node.end + (1 if text[node.end : node.end + 1] == " " else 0)
        edits.replace(node.start, end, "")
        return
    for start in _lines_before(text, first):
        if not text[start:first].lstrip().startswith("#"):
            break
        first = start
    last += 1
    # One of the two empty lines around it.
    if text[last : last + 1] == "\n" and text[:first].endswith("\n\n"):
        last += 1
    edits.replace(first, min(last, len(text)), "")


def _lines_before(text: str, place: int) -> Iterator[int]:
    """Yields where the lines before a line begin, the nearest first."""
    while place > 0:
        place = text.rfind("\n", 0, place - 1) + 1
        yield place


def _end_of_line(text: str, place: int) -> int:
    end = text.find("\n", place)
    return len(text) if end < 0 else end


def _indent_at(text: str, place: int) -> str:
    first = text.rfind("\n", 0, place) + 1
    line = text[first:place]
    return line[: len(line) - len(line.lstrip())] or _INDENT
