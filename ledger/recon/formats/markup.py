"""
Markup: the elements of an XML file down to a depth, without namespaces, one after the other.

An element at that depth is let go once it was looked at, so a file of any size takes little
memory. A DTD ends the reading: without one there are no entities to expand or to fetch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from xml.etree.ElementTree import Element
from xml.parsers import expat

CHUNK_BYTES = 65_536
TEXT_MAX = 1_000_000
"""Characters of one element; what banks say in one has some hundred."""


class Edge(Enum):
    """Which end of an element is reached."""

    START = "start"
    END = "end"


class DoctypeError(ValueError):
    """The file declares a DTD."""


def read_elements(data: bytes, depth: int) -> Iterator[tuple[Edge, int, Element]]:
    """
    Starts and ends of all elements that have fewer than `depth` others around them.

    The second value is how many those are. Only at its end does an element have its text, and
    the deepest ones have their children; tags are local names.

    Raises:
        DoctypeError: There is a DTD.
        ValueError: The file is not well-formed, in no known encoding, or one of its elements has
            more text than `TEXT_MAX`.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    stack: list[Element] = []
    texts: list[_Text] = []
    edges: list[tuple[Edge, int, Element]] = []

    def start(name: str, attributes: Mapping[str, str]) -> None:
        element = Element(name.rpartition(":")[2], dict(attributes))
        around = len(stack)
        if around < depth:
            edges.append((Edge.START, around, element))
        else:
            stack[-1].append(element)
        stack.append(element)
        texts.append(_Text())

    def end(_name: str) -> None:
        element = stack.pop()
        element.text = texts.pop().whole()
        if len(stack) < depth:
            edges.append((Edge.END, len(stack), element))

    def text(said: str) -> None:
        texts[-1].add(said)

    def doctype(*_declared: object) -> None:
        raise DoctypeError

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = doctype
    try:
        for at in range(0, len(data) + 1, CHUNK_BYTES):
            parser.Parse(data[at : at + CHUNK_BYTES], at + CHUNK_BYTES > len(data))
            yield from edges
            edges.clear()
    except expat.ExpatError as error:
        raise ValueError(str(error)) from error
    except LookupError as error:
        raise ValueError("in an encoding that is not known here") from error


class _Text:
    """The text of one element, as it comes in parts: each entity and each line is one."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0

    def add(self, said: str) -> None:
        # What stands between an element's children is not text of it.
        if not self._parts and said.isspace():
            return
        self._length += len(said)
        if self._length > TEXT_MAX:
            raise ValueError(f"an element has more than {TEXT_MAX:,} characters of text")
        self._parts.append(said)

    def whole(self) -> str | None:
        return "".join(self._parts) or None


def part(element: Element | None, *path: str) -> Element | None:
    """The first child of this name, and so on down the path."""
    for name in path:
        if element is None:
            return None
        element = element.find(name)
    return element


def parts(element: Element | None, name: str) -> list[Element]:
    """Children of this name."""
    return [] if element is None else element.findall(name)


def word(element: Element | None, *path: str) -> str:
    """The text of the element at this path, or empty."""
    found = part(element, *path)
    return (found.text or "").strip() if found is not None else ""
