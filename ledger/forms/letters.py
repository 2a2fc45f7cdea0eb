"""
Letters: a font for every letter that a PDF prints.

Latin, Greek and Cyrillic are in Roboto, which is embedded. Chinese, Japanese and Korean are in
Noto Sans, embedded too, where the extra `pdf-cjk` is installed; else in standard fonts that a
reader of PDF brings, or has not. All others are told by their code points.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import font_roboto
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont

FONT, BOLD = "Roboto", "Roboto-Bold"
_NOTO = "justmytype_intl_cjk"
_STANDARD = {"JP": "HeiseiMin-W3", "KR": "HYSMyeongJo-Medium", "SC": "STSong-Light"}


def register_fonts() -> None:
    """Make `FONT` and `BOLD` known; safe to repeat."""
    if FONT in pdfmetrics.getRegisteredFontNames():
        return
    pdfmetrics.registerFont(TTFont(FONT, font_roboto.Roboto))
    pdfmetrics.registerFont(TTFont(BOLD, font_roboto.RobotoBold))
    pdfmetrics.registerFontFamily(FONT, normal=FONT, bold=BOLD, italic=FONT, boldItalic=BOLD)


def escaped(text: str) -> str:
    """Any text as a paragraph prints it, every letter in a font that has it."""
    return printable(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def printable(marked_up: str) -> str:
    """Text with ReportLab's marks, in which every letter has a font that has it."""
    if marked_up.isascii():
        return marked_up
    known = pdfmetrics.getFont(FONT).face.charToGlyph
    scripts = _scripts(marked_up)
    out = []
    for letter in marked_up:
        if ord(letter) in known:
            out.append(letter)
            continue
        font = _font_of(letter, scripts)
        told = f"[U+{ord(letter):04X}]"
        out.append(told if font is None else f'<font name="{font}">{letter}</font>')
    return "".join(out)


def missing_fonts(pdf: bytes) -> list[str]:
    """The standard fonts that a PDF made here asks of its reader, because they are not in it."""
    return [font for font in _STANDARD.values() if font.encode() in pdf]


def _scripts(text: str) -> Sequence[str]:
    """Whose form of the shared ideographs comes first: kana and hangul tell."""
    names = {unicodedata.name(letter, "").partition(" ")[0] for letter in text}
    if names & {"HIRAGANA", "KATAKANA"}:
        return ("JP", "SC", "TC", "KR")
    return ("KR", "JP", "SC", "TC") if "HANGUL" in names else ("SC", "TC", "JP", "KR")


def _is_east_asian(letter: str) -> bool:
    name = unicodedata.name(letter, "")
    return name.startswith(("HIRAGANA", "KATAKANA", "HANGUL", "CJK", "IDEOGRAPHIC", "FULLWIDTH"))


def _font_of(letter: str, scripts: Sequence[str]) -> str | None:
    if not _is_east_asian(letter):
        return None
    if find_spec(_NOTO) is None:
        return _standard(letter)
    return next((font for font in map(_noto, scripts) if _has(font, letter)), None)


def _standard(letter: str) -> str:
    name = unicodedata.name(letter, "")
    script = "JP" if name.startswith(("HIRAGANA", "KATAKANA")) else "SC"
    font = _STANDARD["KR" if name.startswith("HANGUL") else script]
    if font not in pdfmetrics.getRegisteredFontNames():
        pdfmetrics.registerFont(UnicodeCIDFont(font))
    return font


def _has(font: str, letter: str) -> bool:
    return ord(letter) in pdfmetrics.getFont(font).face.charToGlyph


@cache
def _noto(script: str) -> str:
    """The font of a script, read when its first letter is met: each has ten megabytes."""
    found = find_spec(_NOTO)
    assert found is not None, "whoever asks has seen that it is there"
    assert found.origin is not None, "a package with fonts lies in a directory"
    name = f"NotoSans{script}"
    path = Path(found.origin).parent / "fonts" / "ofl" / name.lower() / f"{name}[wght].ttf"
    pdfmetrics.registerFont(TTFont(name, str(path)))
    return name
