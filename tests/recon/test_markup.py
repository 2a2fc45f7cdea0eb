"""How the text of an element is gathered."""

from __future__ import annotations

import pytest

from ledger.recon.formats.markup import TEXT_MAX, Edge, read_elements, word


def texts(data: bytes) -> list[str]:
    return [word(element) for edge, _, element in read_elements(data, 9) if edge is Edge.END]


def test_text_that_comes_in_parts_is_one():
    assert texts(b"<a>\n <b>one &amp; two &lt;three</b>\n</a>") == ["one & two <three", ""]


def test_an_element_has_only_so_much_text():
    """Each entity is a part of its own: gathering them must not cost their square."""
    data = b"<a><b>" + b"&amp;" * TEXT_MAX + b"%s</b></a>"
    assert len(texts(data % b"")[0]) == TEXT_MAX
    with pytest.raises(ValueError, match="characters of text"):
        texts(data % b"!")
