"""HTML tables for notebook output, and whether this process is a notebook's kernel."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """An HTML table; everything in it is escaped."""
    top = "".join(f'<th scope="col" style="text-align:left">{_cell(cell)}</th>' for cell in head)
    body = "".join(f"<tr>{''.join(f'{_DATA}{_cell(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """An HTML table of names and values, without the pairs that have no value."""
    rows = "".join(
        f'<tr><th scope="row" style="text-align:left">{_cell(name)}</th>{_DATA}{_cell(value)}</td></tr>'
        for name, value in pairs
        if value not in (None, "", ())
    )
    return f"<table><tbody>{rows}</tbody></table>"


_DATA = '<td style="text-align:left">'


def _cell(value: object) -> str:
    return html.escape("" if value is None else str(value)).replace("\n", "<br>")


def notebook() -> Any:
    """The IPython shell if this process is a notebook's kernel, else None."""
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    shell = get_ipython()
    return shell if shell is not None and hasattr(shell, "kernel") else None
