"""Pages: a report laid out by ReportLab. The same content gives the same bytes."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from reportlab.graphics.charts.barcharts import HorizontalBarChart
from reportlab.graphics.shapes import Drawing
from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import stringWidth
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
from ledger.forms.letters import BOLD, FONT, escaped, printable, register_fonts

MARGIN = 16 * mm
WIDTH = A4[0] - 2 * MARGIN
_ROW_HEIGHT = 4.2 * mm

_body = ParagraphStyle("body", fontName=FONT, fontSize=9, leading=12.5, spaceAfter=3)
_lead = ParagraphStyle("lead", parent=_body, keepWithNext=1)
_cell = ParagraphStyle("cell", fontName=FONT, fontSize=7, leading=8.6, splitLongWords=True)
_number = ParagraphStyle("number", parent=_cell, alignment=2)
_head = ParagraphStyle("head", parent=_cell, fontName=BOLD, splitLongWords=False)
_head_right = ParagraphStyle("head-right", parent=_head, alignment=2)
_title = ParagraphStyle("title", fontName=BOLD, fontSize=18, leading=23, spaceAfter=8)
_section = ParagraphStyle(
    "section", fontName=BOLD, fontSize=12, leading=16, spaceBefore=10, spaceAfter=4, keepWithNext=1
)


def print_report(title: str, sections: Sequence[Section]) -> bytes:
    """The PDF."""
    register_fonts()
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
    story: list[Flowable] = [Paragraph(printable(title), _title)]
    for section in sections:
        story.append(Paragraph(printable(section.title), _section))
        for block in section.blocks:
            story += _flowables(block)
    document.build(story, canvasmaker=_numbered(title))
    return written.getvalue()


# ---- Blocks -----------------------------------------------------------------------------------


def _flowables(block: Block) -> Iterator[Flowable]:
    match block:
        case Text(words):
            yield Paragraph(printable(words), _lead if words.startswith("<b>") else _body)
        case Facts(rows):
            yield _facts(rows)
            yield Spacer(1, 2 * mm)
        case Grid():
            yield _grid(block)
            if block.more:
                yield Paragraph(printable(block.more), _body)
            yield Spacer(1, 2 * mm)
        case Bars():
            yield Paragraph(f"<b>{printable(block.title)}</b>", _body)
            yield _bars(block)


def _facts(rows: Sequence[tuple[str, str]]) -> Flowable:
    cells = [
        [Paragraph(printable(name), _head), Paragraph(printable(value), _cell)]
        for name, value in rows
    ]
    style = TableStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), *_PADDING])
    return Table(cells, colWidths=[40 * mm, WIDTH - 40 * mm], style=style, hAlign="LEFT")


def _grid(grid: Grid) -> Flowable:
    rows = [
        [
            Paragraph(printable(name), _head_right if at in grid.right else _head)
            for at, name in enumerate(grid.head)
        ]
    ]
    rows += [
        [
            Paragraph(escaped(cell), _number if at in grid.right else _cell)
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
    return LongTable(rows, colWidths=_widths(grid), repeatRows=1, style=style, hAlign="LEFT")


def _widths(grid: Grid) -> list[float]:
    """
    As the shares say, but no column is narrower than the longest word of its heading, and none
    breaks a word of its cells while there is room.
    """
    heads = [_longest([name], BOLD) for name in grid.head]
    cells = [_longest((row[at] for row in grid.rows), FONT) for at in range(len(grid.head))]
    wanted = [max(each) for each in zip(heads, cells, strict=True)]
    # Where there is no room for all, the longest give way first.
    most = WIDTH
    while (total := sum(max(h, min(w, most)) for h, w in zip(heads, wanted, strict=True))) > WIDTH:
        if most <= min(heads):
            break
        most -= max(1.0, (total - WIDTH) / len(heads))
    least = [max(h, min(w, most)) for h, w in zip(heads, wanted, strict=True)]
    fixed: set[int] = set()
    while True:
        left = WIDTH - sum(least[at] for at in fixed)
        shares = sum(share for at, share in enumerate(grid.widths) if at not in fixed)
        widths = [
            least[at] if at in fixed else left * share / shares
            for at, share in enumerate(grid.widths)
        ]
        narrow = {at for at, width in enumerate(widths) if width < least[at] and at not in fixed}
        if not narrow:
            return widths
        fixed |= narrow


def _longest(texts: Iterable[str], font: str) -> float:
    words = {word for text in texts for word in text.split()}
    width = max((stringWidth(word, font, _cell.fontSize) for word in words), default=0.0)
    return float(width) + 2 * _SIDE + 0.5


_SIDE = 3.0
_PADDING = [
    ("LEFTPADDING", (0, 0), (-1, -1), _SIDE),
    ("RIGHTPADDING", (0, 0), (-1, -1), _SIDE),
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
