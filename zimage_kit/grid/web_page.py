"""Web page: a grid as one self-contained HTML file with pictures, recipes, filter and zoom.

Its content security policy forbids requests and allows only its own script, by hash, so that a prompt cannot inject
code. The page's template, style and scripts are in `page/`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadRequest
from ..files import portable_json, portable_text
from ..text.catalogues import Language, Texts, language
from ..text.line_breaks import shortened
from ..text.scripts import joined_script, joined_style
from ..text.units import duration, gigabytes
from .cell import Cell
from .dimensions import Place
from .embedding import Embedded, OnPictures, embed
from .jpeg import check_quality
from .sheet_content import shared_settings

if TYPE_CHECKING:
    from .cell_array import CellArray

MAX_BYTES = 80_000_000
_FOLDER = Path(__file__).parent / "page"
_OVERVIEW, _MANY = (256, 160), 12  # pixels of a picture's longer side at first; less for more than _MANY in lines
_PATH = re.compile(r"(?:~|[A-Za-z]:)?[\\/][^\n]*[\\/.][^\s\\/]+")
_WORDS = {"failed": "failed", "done": "gone", "running": "running", "waiting": "waiting"}


def render_web_page(
    grid: CellArray,
    *,
    max_bytes: int = MAX_BYTES,
    quality: int = 88,
    spoken: Language | None = None,
    on_pictures: OnPictures = lambda done, count: None,
) -> bytes:
    """The page as UTF-8. Pictures are JPEGs of `quality` 1 to 100, scaled down only to keep the page below `max_bytes`.

    `spoken`: its language, by default the user's. Scaling is logged, and noted at the foot of the page. Raises
    BadRequest for values out of range.
    """
    check_quality(quality)
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, int):
        raise BadRequest(f"max_bytes={max_bytes!r}", expected="a whole number")
    texts = Texts(spoken or language(), _FOLDER)
    page = _WebPage(grid, texts)
    embedded = embed(grid.cells, max_bytes - page.bytes_without_pictures(), quality, max_bytes, on_pictures)
    if embedded.percent < 100:
        logging.getLogger("zimage_kit").warning(
            "Pictures in the page are scaled to %d %% of their width to keep it below %s.",
            embedded.percent, gigabytes(max_bytes),
        )  # fmt: skip
    return page.whole(embedded, max_bytes)


class _WebPage:
    """Builds a page. User text is escaped wherever it is inserted."""

    def __init__(self, grid: CellArray, texts: Texts) -> None:
        self.grid, self.texts, self.plan = grid, texts, grid.plan
        self.t = texts.section("page")
        self.lightbox = Texts(texts.language, _FOLDER.parents[1] / "studio" / "texts").section("lightbox")
        self.by_place = {cell.place: cell for cell in grid.cells}
        self.values = {axis: self._values(axis) for axis in grid.axes}
        self.numbers = {axis: {_text(value): number for number, value in enumerate(values)}
                        for axis, values in self.values.items()}  # fmt: skip
        self.flows = not {"rows"} & set(self.plan.dimensions)
        self.overview = _OVERVIEW[self.flows and len(grid.cells) > _MANY]

    def _values(self, axis: str) -> list[Any]:
        found: dict[str, Any] = {}
        for role in self.plan.dimensions:
            for point in self.plan.dimensions[role]:
                if axis in point:
                    found.setdefault(_text(point[axis]), point[axis])
        return list(found.values())

    def bytes_without_pictures(self) -> int:
        """Size of the page without pictures."""
        return len(self.whole(Embedded.none(len(self.grid.cells)), 0))

    def whole(self, embedded: Embedded, max_bytes: int) -> bytes:
        """The page with these pictures."""
        from zimage_kit import __version__

        style = joined_style(_FOLDER / "page.css").replace("{{size}}", str(self.overview)) + "".join(self._shapes())
        script = joined_script(_FOLDER / "page.js")
        notes = [self.t["reopen"]]
        if embedded.percent < 100:
            notes.append(self.t["scaled"].format(percent=embedded.percent, limit=gigabytes(max_bytes)))
        policy = f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)}"
        parts = {
            "lang": self.texts.lang,
            "policy": escape(policy),
            "generator": f"zimage_kit {__version__}",
            "title": escape(self._title()),
            "style": style,
            "recipe": _json(self.grid.recipe()),
            "heading": "\n".join(self._heading()),
            "axes": "\n".join(self._selects()),
            "size": str(self.overview),
            "pages": "\n".join(self._pages(embedded)),
            "notes": "".join(f"<p>{escape(note)}</p>" for note in notes),
            "cells": _json([self._data(cell, embedded) for cell in self.grid.cells]),
            "texts": _json(
                {**self.texts.section("script"), "names": self.texts.section("names"), "lightbox": self.lightbox}
            ),
            "pictures": "\n".join(embedded.scripts()),
            "script": script,
            **{f"t.{key}": escape(text) for key, text in self.t.items()},
        }
        return re.sub(r"\{\{([\w.]+)\}\}", lambda place: parts[place[1]], _asset("page.html")).encode(errors="replace")

    def _title(self) -> str:
        return shortened(" ".join((self.plan.title or self.plan.base.prompt).split()), 120) or self.t["untitled"]

    def _heading(self) -> Iterator[str]:
        prompt = "" if "prompt" in self.grid.axes else self.plan.base.prompt
        yield f"<h1>{escape(self.plan.title or prompt or self.t['untitled'])}</h1>"
        if self.plan.title and prompt and prompt != self.plan.title:
            yield f'<p class="prompt">{escape(prompt)}</p>'
        yield f'<p class="settings">{escape(shared_settings(self.grid))}</p>'

    def _selects(self) -> Iterator[str]:
        """A menu of values for each axis with several."""
        names = self.texts.section("names")
        for number, (axis, values) in enumerate(self.values.items()):
            if len(values) > 1:
                labels = [" ".join(self.plan.label(axis, value).split()) for value in values]
                options = "".join(f'<option value="{place}">{escape(shortened(label, 60))}</option>'
                                  for place, label in enumerate(labels))  # fmt: skip
                first = f'<option value="">{escape(self.t["all"])}</option>'
                label = f'<label for="axis-{number}">{escape(names.get(axis, axis))}</label>'
                select = f'<select id="axis-{number}" data-axis="{number}">{first}{options}</select>'
                yield f'<span class="field">{label}{select}</span>'

    def _shapes(self) -> Iterator[str]:
        """A CSS class for each shape of picture; the slider sets the longer side."""
        for width, height in sorted({_shape(cell) for cell in self.grid.cells}):
            longer = max(width, height)
            yield (f"\n.{_class(width, height)} {{ width: calc(var(--cell) * {width / longer:.5g}); "
                   f"height: calc(var(--cell) * {height / longer:.5g}); }}")  # fmt: skip

    def _pages(self, embedded: Embedded) -> Iterator[str]:
        labels = self.grid.labels("pages")
        for page in range(len(self.plan.points("pages"))):
            name = labels[page] if labels else self.t["grid"]
            heading = f'<h2 class="page">{escape(labels[page])}</h2>' if labels else ""
            content = self._flow(page, embedded) if self.flows else self._table(page, embedded)
            yield f'<section aria-label="{escape(name)}">{heading}{"".join(content)}</section>'

    def _flow(self, page: int, embedded: Embedded) -> Iterator[str]:
        yield '<ul class="flow">'
        for column, label in enumerate(self.grid.labels("columns") or ("",)):
            cell = self._side_by_side(page, 0, column, embedded, label_inner=True)
            yield f'<li>{cell}<p class="label">{escape(label)}</p></li>'
        yield "</ul>"

    def _table(self, page: int, embedded: Embedded) -> Iterator[str]:
        columns, inner = self.grid.labels("columns"), self.grid.labels("inner")
        yield "<table><thead><tr><td></td>"
        for column in range(len(self.plan.points("columns"))):
            names = "".join(f'<span class="inner">{escape(name)}</span>' for name in inner)
            below = f'<div class="inners">{names}</div>' if inner else ""
            label = f'<div title="{escape(columns[column])}">{escape(columns[column])}</div>' if columns else ""
            yield f'<th scope="col" data-column="1">{label}{below}</th>'
        yield "</tr></thead><tbody>"
        for row, label in enumerate(self.grid.labels("rows")):
            yield f'<tr><th scope="row"><div title="{escape(label)}">{escape(label)}</div></th>'
            for column in range(len(self.plan.points("columns"))):
                yield f'<td data-column="1">{self._side_by_side(page, row, column, embedded)}</td>'
            yield "</tr>"
        yield "</tbody></table>"

    def _side_by_side(self, page: int, row: int, column: int, embedded: Embedded, label_inner: bool = False) -> str:
        labels = self.grid.labels("inner") if label_inner else ()
        found = []
        for inner in range(len(self.plan.points("inner"))):
            cell = self.by_place[Place(row, column, page, inner)]
            label = f'<div class="inner">{escape(labels[inner])}</div>' if labels else ""
            found.append(f'<div class="place">{self._button(cell, embedded)}{self._mark(cell)}{label}</div>')
        return f'<div class="side">{"".join(found)}</div>'

    def _button(self, cell: Cell, embedded: Embedded) -> str:
        small, shape = embedded.small[cell.index], _class(*_shape(cell))
        start = (
            f'<button type="button" tabindex="-1" aria-haspopup="dialog" data-cell="{cell.index}" class="cell {shape}'
        )
        if small is None:
            word, reason = self._why(cell)
            broken = " failed" if cell.state in ("failed", "done") else ""
            name = f'<span class="unseen">{escape(cell.label)}: </span>'
            return f'{start} empty{broken}">{name}<b>{escape(word)}</b>{escape(shortened(reason, 160))}</button>'
        won = " won" if cell.winner else ""
        picture = (
            f'<img src="data:image/jpeg;base64,{small}" alt="{escape(cell.label)}" loading="lazy" decoding="async">'
        )
        return f'{start}{won}">{picture}</button>'

    def _mark(self, cell: Cell) -> str:
        if cell.state != "done" or not (cell.rating or cell.winner):
            return ""
        stars = "★" * cell.rating + "☆" * (5 - cell.rating if cell.rating else 0)
        said = self.t["stars"].format(rating=cell.rating)
        shown = f'<span role="img" aria-label="{escape(said)}">{stars}</span>' if cell.rating else ""
        return f'<p class="mark">{shown} {escape(self.t["winner"]) if cell.winner else ""}</p>'

    def _why(self, cell: Cell) -> tuple[str, str]:
        """Why there is no picture: a word, and the error's text."""
        return self.t[_WORDS[cell.state]], " ".join(portable_text(str(cell.error or "")).split())

    def _data(self, cell: Cell, embedded: Embedded) -> dict[str, Any]:
        """A cell as the script gets it."""
        there = embedded.small[cell.index] is not None
        word, error = ("", "") if there else self._why(cell)
        trace = cell.trace if there else None
        total = trace.milliseconds.get("total") if trace else None
        request = _shown(portable_json(cell.request.model_dump(mode="json", exclude_none=True)))
        place = cell.place
        return {
            "place": [place.page, place.row, place.column, place.inner],
            "label": cell.label,
            "values": [self.numbers[axis].get(_text(cell.values[axis])) if axis in cell.values else None
                       for axis in self.grid.axes],
            "request": request,
            "word": word,
            "error": error,
            "took": duration(total / 1000) if total else "",
            "rating": cell.rating if there else 0,
            "winner": cell.winner if there else False,
            "large": embedded.large[cell.index],
        }  # fmt: skip


def _asset(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")


def _hash(text: str) -> str:
    """A script's or style's source expression for a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(data: Mapping[str, Any] | Sequence[Any]) -> str:
    """JSON that is safe in a script element: nothing in it can end the element or begin a comment."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _shown(recipe: dict[str, Any]) -> dict[str, Any]:
    """A recipe as readers see it: files by their names, since folders say whose machine it was and how that is kept."""
    loras = [{**lora, "path": _file_name(lora["path"])} for lora in recipe.get("loras", ())]
    stages = [{name: _file_name(value) for name, value in stage.items()} for stage in recipe.get("stages", ())]
    return {**recipe, "model": _file_name(recipe.get("model")), "loras": loras, "stages": stages}


def _file_name(value: Any) -> Any:
    if isinstance(value, str) and _PATH.fullmatch(value):
        return re.split(r"[\\/]", value)[-1]
    return [_file_name(each) for each in value] if isinstance(value, list) else value


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _shape(cell: Cell) -> tuple[int, int]:
    width, height = cell.size
    return (width, height) if width and height else (1, 1)


def _class(width: int, height: int) -> str:
    return f"s{width}x{height}"
