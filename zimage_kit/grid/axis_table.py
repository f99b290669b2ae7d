"""Tables: which columns a grid's table has, and how the axes are read back from a table, pandas or a CSV file."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import BadRequest
from ..files import check_allowed, expanded
from .axis_values import not_utf8

COLUMNS = (
    "page", "row", "column", "inner", "state", "error", "seed", "model", "size", "pixels", "seconds", "peak_bytes",
    "rating", "winner", "path", "recipe",
)  # fmt: skip
"""Behind the axes. Labels of the place; `size` is asked for, `pixels` the picture's; `recipe` is a request as JSON."""

FIELD_COLUMNS = ("seed", "model", "size")  # left out where they are axes themselves
_FORMULA = re.compile(r"[=+\-@\t\r＝＋－＠]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def axes_among(names: Sequence[str]) -> list[str]:
    """The columns of a table that are axes: all of them, unless it is a grid's own table, where `_own_columns` follow.

    What is in `FIELD_COLUMNS` is an axis where it stands before the others.
    """
    own = {f"{name}_" if f"{name}_" in names else name for name in COLUMNS}
    if not {"page", "row", "column", "state", "recipe"} <= {name.removesuffix("_") for name in own.intersection(names)}:
        return list(names)
    first = min(place for place, name in enumerate(names) if name in own and name not in FIELD_COLUMNS)
    return [name for place, name in enumerate(names) if name not in own or (name in FIELD_COLUMNS and place < first)]


def table_of(axes: Any) -> dict[str, list[Any]] | None:
    """Columns of a table by name, empty cells as None; None if it is no table. A grid's own table gives its axes."""
    if isinstance(axes, str | Path):
        check_allowed(Path(axes))
        names, rows = _read_csv(expanded(Path(axes)))
    elif hasattr(axes, "to_dict") and hasattr(axes, "columns"):  # pandas
        names = [str(name) for name in axes.columns]
        rows = axes.astype(object).where(axes.notna(), None).to_numpy().tolist()
    elif axes is not None and not isinstance(axes, Mapping):
        raise BadRequest(f"axes of type {type(axes).__name__}", expected="names with values, a table or a CSV file")
    else:
        return None
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise BadRequest(f"a table with two columns {twice!r}", expected="each once")
    places = {name: place for place, name in enumerate(names)}
    return {name: [row[places[name]] for row in rows] for name in axes_among(names)}


def _read_csv(path: Path) -> tuple[list[str], list[list[str | None]]]:
    """Column names and rows. Blank lines are skipped, rows of empty values are kept."""
    try:
        text = path.read_bytes().decode("utf-8-sig")  # line breaks within a value stay as they are
    except UnicodeDecodeError:
        raise not_utf8(str(path)) from None
    except (OSError, ValueError) as error:
        raise BadRequest(f"{path} cannot be read ({error})", expected="a CSV file in UTF-8") from None
    delimiter, text = _delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows: list[list[str]] = []
    try:
        for row in reader:
            if row and rows and len(row) != len(rows[0]):
                seen = f"line {reader.line_num} of {path} has {len(row)} values"
                raise BadRequest(seen, expected=f"{len(rows[0])}, one for each name in the first line")
            rows += [row] if row else []
    except csv.Error as error:
        raise BadRequest(f"line {reader.line_num} of {path}: {error}", expected="a CSV file") from None
    if len(rows) < 2:
        raise BadRequest(f"{path} has {len(rows)} lines", expected="a line of axis names and one line for each cell")
    return [name.strip() for name in rows[0]], [[unescape_formula(value) or None for value in row] for row in rows[1:]]


def _delimiter(text: str) -> tuple[str, str]:
    """What separates the names in the first line: a comma, or as in many countries' Excel a semicolon, or a TAB.

    And the text, without Excel's own line that says so.
    """
    first, _, rest = text.partition("\n")
    if (told := re.fullmatch(r"\s*sep=([^\r\n\"])\r?", first)) is not None:
        return told[1], rest
    unquoted = re.sub(r'"(?:[^"]|"")*"', "", first)
    return max((",", ";", "\t"), key=unquoted.count), text


def escape_formula(text: str) -> str:
    """Prefix an apostrophe to a text that a spreadsheet would take for a formula. Numbers stay as they are."""
    behind = text.lstrip("'")
    return f"'{text}" if _FORMULA.match(behind) and not _NUMBER.fullmatch(text) else text


def unescape_formula(text: str) -> str:
    """The inverse of `escape_formula`."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text.lstrip("'")) else text
