"""PDF: the statement with who signed it. A view, with the same bytes for the same sign-offs."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ledger.recon.outputs.sheet import blocks, heading, measures, reasons, signatures
from ledger.recon.shelf import RunRow
from ledger.recon.signoffs import Signoff

MARGIN_MM = 18
COLUMNS_MM = (92, 32, 18, 32)


def statement_pdf(run: RunRow, signoffs: Sequence[Signoff]) -> bytes:
    """The statement, with who signed it."""
    # Imported here: it takes longer to load than most commands take to run.
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.units import mm
    from reportlab.platypus import SimpleDocTemplate

    from ledger.forms.letters import register_fonts

    register_fonts()
    written = io.BytesIO()
    document = SimpleDocTemplate(
        written,
        pagesize=A4,
        leftMargin=MARGIN_MM * mm,
        rightMargin=MARGIN_MM * mm,
        topMargin=MARGIN_MM * mm,
        bottomMargin=MARGIN_MM * mm,
        title=f"Reconciliation statement {run.input['period']}",
        author="Effect Ledger",
        invariant=1,
    )
    document.build(list(_story(run, signoffs)), onLaterPages=_number, onFirstPage=_number)
    return written.getvalue()


def _story(run: RunRow, signoffs: Sequence[Signoff]) -> Iterator[Any]:
    from reportlab.lib import colors
    from reportlab.lib.styles import getSampleStyleSheet
    from reportlab.lib.units import mm
    from reportlab.platypus import KeepTogether, Paragraph, Spacer, Table, TableStyle

    from ledger.forms.letters import BOLD, FONT, escaped

    styles = getSampleStyleSheet()
    for name, font in (("Title", BOLD), ("Heading3", BOLD), ("BodyText", FONT)):
        styles[name].fontName = font
    yield Paragraph("Reconciliation statement", styles["Title"])

    def facts(rows: Iterable[tuple[str, str]]) -> Table:
        return Table(
            [[name, Paragraph(escaped(value), styles["BodyText"])] for name, value in rows],
            colWidths=[32 * mm, 142 * mm],
            style=TableStyle(
                [("VALIGN", (0, 0), (-1, -1), "TOP"), ("FONTNAME", (0, 0), (-1, -1), FONT)]
            ),
        )

    yield facts(heading(run))
    plain: list[tuple[Any, ...]] = [
        ("FONTNAME", (0, 0), (-1, -1), FONT),
        ("ALIGN", (1, 0), (2, -1), "RIGHT"),
        ("FONTSIZE", (0, 0), (-1, -1), 8.5),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
        ("TOPPADDING", (0, 0), (-1, -1), 1),
    ]
    proof: list[tuple[Any, ...]] = [
        ("LINEABOVE", (0, -3), (2, -3), 0.5, colors.black),
        ("LINEABOVE", (0, -1), (2, -1), 0.5, colors.black),
        ("FONTNAME", (0, -1), (-1, -1), BOLD),
    ]
    for block, style in (
        *((each, [*plain, *proof]) for each in blocks(run)),
        *((each, plain) for each in measures(run)),
    ):
        table = Table(
            [
                [label, amount, f"({count})" if count else "", name]
                for label, amount, count, name in block.rows
            ],
            colWidths=[width * mm for width in COLUMNS_MM],
            style=TableStyle(style),
        )
        title = Paragraph(escaped(block.title), styles["Heading3"])
        yield KeepTogether([Spacer(1, 4 * mm), title, table])
    for reason in reasons(run):
        yield Paragraph(f"Note: {escaped(reason)}.", styles["BodyText"])
    signed = facts(signatures(run, signoffs))
    yield KeepTogether([Spacer(1, 6 * mm), Paragraph("Sign-off", styles["Heading3"]), signed])


def _number(canvas: Any, document: Any) -> None:
    from ledger.forms.letters import FONT

    canvas.setFont(FONT, 8)
    canvas.drawRightString(canvas._pagesize[0] - 50, 30, f"Page {document.page}")  # noqa: SLF001 - reportlab has no other name for it.
