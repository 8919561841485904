"""HTML tables for notebooks, which results return from `_repr_html_`."""

from collections.abc import Iterable, Sequence
from html import escape


def table(caption: str, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """An HTML table in which every text is escaped.

    Args:
        caption: the text above the table.
        headings: one for each column.
        rows: the cells of each row.
    """
    body = [_row("td", row) for row in rows]
    return (
        f"<table><caption>{escape(caption)}</caption>"
        f"<thead>{_row('th', headings)}</thead>"
        f"<tbody>{''.join(body)}</tbody></table>"
    )


def _row(tag: str, cells: Sequence[str]) -> str:
    """A row of table cells, each in the element `tag`."""
    html = ""
    for cell in cells:
        html += f"<{tag}>{escape(cell)}</{tag}>"
    return f"<tr>{html}</tr>"
