"""ONNX files without the outputs nobody asks for, and without what computes them.

ONNX Runtime runs every node of a graph, also where only some of its outputs are fetched. Masks at
the size of the input are a third of the time of an image with a hundred instances, and `predict`
draws its own. Files are read as the bytes of protocol buffers, so that no further package is
needed: a message is a row of fields, each a tag (number and kind) and its content.

Source: the encoding of protocol buffers, and onnx/onnx, onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple

MODEL_GRAPH, MODEL_METADATA = 7, 14
GRAPH_NODE, GRAPH_OUTPUT = 1, 12
NODE_INPUT, NODE_OUTPUT, NODE_ATTRIBUTE = 1, 2, 5
ATTRIBUTE_GRAPHS = (6, 11)
NAME = 1  # of a ValueInfoProto
KEY, VALUE = 1, 2  # of a StringStringEntryProto

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5


class Field(NamedTuple):
    """One field of a message.

    Attributes:
        number: what it is.
        content: its bytes, where it has a length: a message or a text.
        whole: its bytes with tag and length.
    """

    number: int
    content: memoryview
    whole: memoryview


def read_metadata(model: bytes) -> dict[str, str]:
    """The metadata of a model.

    Raises:
        ValueError: the bytes are no model.
    """
    metadata = {}
    for field in _fields(memoryview(model)):
        if field.number == MODEL_METADATA:
            entry = {part.number: _text(part) for part in _fields(field.content)}
            metadata[entry.get(KEY, "")] = entry.get(VALUE, "")
    return metadata


def prune(model: bytes, outputs: Collection[str]) -> bytes:
    """The model with these outputs only, and the nodes they need.

    Raises:
        ValueError: the bytes are no model.
    """
    parts = []
    for field in _fields(memoryview(model)):
        if field.number == MODEL_GRAPH:
            graph = _prune_graph(field.content, outputs)
            parts += [_varint(MODEL_GRAPH << 3 | _LENGTH), _varint(len(graph)), graph]
        else:
            parts.append(bytes(field.whole))
    return b"".join(parts)


def _prune_graph(graph: memoryview, outputs: Collection[str]) -> bytes:
    fields = list(_fields(graph))
    needed, kept = set(outputs), set()
    for i in range(len(fields) - 1, -1, -1):  # nodes stand after those they take from
        if fields[i].number == GRAPH_NODE:
            made, taken = _names(fields[i].content)
            if made & needed:
                kept.add(i)
                needed |= taken
    return b"".join(
        bytes(field.whole)
        for i, field in enumerate(fields)
        if (field.number != GRAPH_NODE or i in kept)
        and (field.number != GRAPH_OUTPUT or _name_of(field) in outputs)
    )


def _names(node: memoryview) -> tuple[set[str], set[str]]:
    """What a node makes and what it takes, inside its branches and loops as well."""
    made, taken = set(), set()
    for field in _fields(node):
        if field.number == NODE_OUTPUT:
            made.add(_text(field))
        elif field.number == NODE_INPUT:
            taken.add(_text(field))
        elif field.number == NODE_ATTRIBUTE:
            for part in _fields(field.content):
                if part.number in ATTRIBUTE_GRAPHS:
                    taken |= _taken_inside(part.content)
    return made, taken


def _taken_inside(graph: memoryview) -> set[str]:
    taken = set()
    for field in _fields(graph):
        if field.number == GRAPH_NODE:
            taken |= _names(field.content)[1]
        elif field.number == GRAPH_OUTPUT:  # it may be a value from outside
            taken.add(_name_of(field))
    return taken


def _name_of(value: Field) -> str:
    return next((_text(part) for part in _fields(value.content) if part.number == NAME), "")


def _text(field: Field) -> str:
    return bytes(field.content).decode("utf-8")


def _fields(message: memoryview) -> Iterator[Field]:
    place = 0
    while place < len(message):
        start = place
        tag, place = _read_varint(message, place)
        number, kind = tag >> 3, tag & 7
        begin = place
        if kind == _VARINT:
            _, place = _read_varint(message, place)
        elif kind == _LENGTH:
            length, begin = _read_varint(message, place)
            place = begin + length
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            place += 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"a field of the unknown kind {kind}")
        if place > len(message):
            raise ValueError("the file is cut")
        yield Field(number, message[begin:place], message[start:place])


def _read_varint(message: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if place >= len(message):
            raise ValueError("the file is cut")
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)
