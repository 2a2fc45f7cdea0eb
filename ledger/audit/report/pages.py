"""
Pages: a report laid out by ReportLab. The same content gives the same bytes.

Latin, Greek and Cyrillic letters are printed in Roboto, which is embedded; Chinese, Japanese and
Korean in the standard fonts that readers of PDF bring or take from their system. Other letters
are told by their code points.
"""

from __future__ import annotations

import io
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

import font_roboto
from reportlab.graphics.charts.barcharts import HorizontalBarChart
from reportlab.graphics.shapes import Drawing
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    Flowable,
    LongTable,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
    TableStyle,
)

from ledger.audit.report.content import Bars, Block, Facts, Grid, Section, Text

MARGIN = 16 * mm
WIDTH = A4[0] - 2 * MARGIN
FONT, BOLD = "Roboto", "Roboto-Bold"
_IDEOGRAPHS = "STSong-Light"
_KANA = "HeiseiMin-W3"
_HANGUL = "HYSMyeongJo-Medium"
_ROW_HEIGHT = 4.2 * mm

_body = ParagraphStyle("body", fontName=FONT, fontSize=9, leading=12.5, spaceAfter=3)
_cell = ParagraphStyle("cell", fontName=FONT, fontSize=7, leading=8.6, splitLongWords=True)
_number = ParagraphStyle("number", parent=_cell, alignment=2)
_head = ParagraphStyle("head", parent=_cell, fontName=BOLD)
_head_right = ParagraphStyle("head-right", parent=_head, alignment=2)
_title = ParagraphStyle("title", fontName=BOLD, fontSize=18, leading=23, spaceAfter=8)
_section = ParagraphStyle(
    "section", fontName=BOLD, fontSize=12, leading=16, spaceBefore=10, spaceAfter=4, keepWithNext=1
)


def print_report(title: str, sections: Sequence[Section]) -> bytes:
    """The PDF."""
    _register_fonts()
    written = io.BytesIO()
    document = SimpleDocTemplate(
        written,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN + 4 * mm,
        title=title,
        author="Effect Ledger",
        invariant=1,
    )
    story: list[Flowable] = [Paragraph(_printable(title), _title)]
    for section in sections:
        story.append(Paragraph(_printable(section.title), _section))
        for block in section.blocks:
            story += _flowables(block)
    document.build(story, canvasmaker=_numbered(title))
    return written.getvalue()


def _register_fonts() -> None:
    if FONT in pdfmetrics.getRegisteredFontNames():
        return
    pdfmetrics.registerFont(TTFont(FONT, font_roboto.Roboto))
    pdfmetrics.registerFont(TTFont(BOLD, font_roboto.RobotoBold))
    pdfmetrics.registerFontFamily(FONT, normal=FONT, bold=BOLD, italic=FONT, boldItalic=BOLD)
    for name in (_IDEOGRAPHS, _KANA, _HANGUL):
        pdfmetrics.registerFont(UnicodeCIDFont(name))


# ---- Blocks -----------------------------------------------------------------------------------


def _flowables(block: Block) -> Iterator[Flowable]:
    match block:
        case Text(words):
            yield Paragraph(_printable(words), _body)
        case Facts(rows):
            yield _facts(rows)
            yield Spacer(1, 2 * mm)
        case Grid():
            yield _grid(block)
            if block.more:
                yield Paragraph(_printable(block.more), _body)
            yield Spacer(1, 2 * mm)
        case Bars():
            yield Paragraph(f"<b>{_printable(block.title)}</b>", _body)
            yield _bars(block)


def _facts(rows: Sequence[tuple[str, str]]) -> Flowable:
    cells = [
        [Paragraph(_printable(name), _head), Paragraph(_printable(value), _cell)]
        for name, value in rows
    ]
    style = TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), *_PADDING])
    return Table(cells, colWidths=[40 * mm, WIDTH - 40 * mm], style=style, hAlign="LEFT")


def _grid(grid: Grid) -> Flowable:
    unit = WIDTH / sum(grid.widths)
    rows = [
        [
            Paragraph(_printable(name), _head_right if at in grid.right else _head)
            for at, name in enumerate(grid.head)
        ]
    ]
    rows += [
        [
            Paragraph(_cell_text(cell), _number if at in grid.right else _cell)
            for at, cell in enumerate(row)
        ]
        for row in grid.rows
    ]
    style = TableStyle(
        [
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LINEBELOW", (0, 0), (-1, 0), 0.6, colors.black),
            ("LINEBELOW", (0, 1), (-1, -1), 0.2, colors.lightgrey),
            *_PADDING,
        ]
    )
    widths = [unit * share for share in grid.widths]
    return LongTable(rows, colWidths=widths, repeatRows=1, style=style, hAlign="LEFT")


_PADDING = [
    ("LEFTPADDING", (0, 0), (-1, -1), 2),
    ("RIGHTPADDING", (0, 0), (-1, -1), 2),
    ("TOPPADDING", (0, 0), (-1, -1), 1.5),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 1.5),
]


def _bars(bars: Bars) -> Flowable:
    # From the top down: the chart counts from the bottom up.
    values = list(reversed(bars.values)) or [("nothing", 0.0)]
    height = _ROW_HEIGHT * len(values)
    drawing = Drawing(WIDTH, height + 8 * mm)
    chart = HorizontalBarChart()
    chart.x, chart.y, chart.width, chart.height = 40 * mm, 6 * mm, WIDTH - 55 * mm, height
    chart.data = [[value for _, value in values]]
    chart.categoryAxis.categoryNames = [name for name, _ in values]
    chart.categoryAxis.labels.fontName = chart.valueAxis.labels.fontName = FONT
    chart.categoryAxis.labels.fontSize = chart.valueAxis.labels.fontSize = 7
    chart.barLabels.fontName, chart.barLabels.fontSize = FONT, 7
    chart.barLabelFormat, chart.barLabels.nudge = "%d", 8
    chart.valueAxis.valueMin = 0
    chart.bars[0].fillColor = colors.HexColor("#4a6785")
    chart.bars[0].strokeColor = None
    drawing.add(chart)
    return drawing


# ---- Letters ----------------------------------------------------------------------------------


def _cell_text(cell: str) -> str:
    return _printable(cell.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))


def _printable(marked_up: str) -> str:
    """Text in which every letter has a font that has it."""
    if marked_up.isascii():
        return marked_up
    known = pdfmetrics.getFont(FONT).face.charToGlyph
    out = []
    for letter in marked_up:
        font = None if ord(letter) in known else _font_of(letter)
        if font is None and ord(letter) not in known:
            out.append(f"[U+{ord(letter):04X}]")
        else:
            out.append(letter if font is None else f'<font name="{font}">{letter}</font>')
    return "".join(out)


def _font_of(letter: str) -> str | None:
    name = unicodedata.name(letter, "")
    if name.startswith(("HIRAGANA", "KATAKANA")):
        return _KANA
    if name.startswith("HANGUL"):
        return _HANGUL
    return _IDEOGRAPHS if name.startswith(("CJK", "IDEOGRAPHIC")) else None


# ---- Page x of y ------------------------------------------------------------------------------


def _numbered(title: str) -> type[Canvas]:
    """A canvas that knows how many pages there are before it prints the first number."""

    # ReportLab has no types.
    class Numbered(Canvas):  # type: ignore[misc]
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._pages: list[dict[str, Any]] = []

        def showPage(self) -> None:  # noqa: N802 - ReportLab's name
            self._pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, page in enumerate(self._pages, 1):
                self.__dict__.update(page)
                self.setFont(FONT, 7)
                self.drawString(MARGIN, 10 * mm, title[:100])
                self.drawRightString(
                    A4[0] - MARGIN, 10 * mm, f"page {number} of {len(self._pages)}"
                )
                super().showPage()
            super().save()

    return Numbered
