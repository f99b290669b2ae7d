"""Two cells of a grid compared: a slider, the difference of their pixels, and what their recipes differ in."""

from __future__ import annotations

import base64
import html
import io

import ipywidgets as w
import numpy as np
from PIL import Image

from ...grid import Cell
from ...recipe.artifact import Artifact
from ...recipe.verdict import Pixels, compare
from ..panel.results import differing_fields, value_text
from ..panes.compare.slider import Compare
from ..panes.frame import Frame
from ..translations import Texts
from .names import Names
from .word_diff import diff_html

SAME_SHAPE = 0.02
LEAST = 320
"""Pixels that a picture takes in the page at least."""
_TEXTS = ("prompt", "negative_prompt")


class PairPane(Frame):
    """The comparison below the grid; `show_pair` opens it."""

    def __init__(self, texts: Texts, names: Names) -> None:
        self._texts, self._names = texts, names
        self.slider = Compare(language=texts.language)
        self.difference = w.HTML().add_class("zk-pair")
        self.recipes = w.HTML().add_class("zk-pair")
        pictures = w.Box([self.slider, self.difference]).add_class("zk-pair-pictures")
        super().__init__(texts("grid.pair"), texts("panel.close"), pictures, self.recipes)

    def show_pair(self, one: Cell, other: Cell) -> None:
        """Compare two cells. Does nothing if one has no picture."""
        left, right = one.artifact, other.artifact
        if left is None or right is None:
            return
        width = f"{max(LEAST, left.image.width, right.image.width)}px"
        self.slider.layout.max_width = self.difference.layout.max_width = width
        self.slider.show(left, right, (f"A · {one.label}", f"B · {other.label}"))
        self.difference.value = self._difference(left.image, right.image)
        self.recipes.value = self._recipes(left, right)
        self.show()

    def _difference(self, left: Image.Image, right: Image.Image) -> str:
        t = self._texts
        pair = same_size(left, right)
        if pair is None:
            sizes = [f"{image.width} × {image.height}" for image in (left, right)]
            return f"<p>{html.escape(t('grid.other_shape', one=sizes[0], other=sizes[1]))}</p>"
        figures, picture, gain = difference(*pair)
        sentences = [
            t("grid.pixels", largest=figures.largest, mean=f"{figures.mean:.2f}", share=_percent(figures.share))
        ]
        if gain > 1:
            sentences.append(t("grid.amplified", gain=gain))
        if left.size != right.size:
            sentences.append(t("grid.scaled", size=f"{pair[0].width} × {pair[0].height}"))
        out = io.BytesIO()
        picture.save(out, "JPEG", quality=88)
        source = base64.b64encode(out.getvalue()).decode()
        alt = html.escape(t("grid.difference"), quote=True)
        style = f"--aspect:{picture.width / picture.height:.3f}"
        image = f'<img style="{style}" src="data:image/jpeg;base64,{source}" alt="{alt}">'
        return f"<figure>{image}<figcaption>{html.escape(' '.join(sentences))}</figcaption></figure>"

    def _recipes(self, left: Artifact, right: Artifact) -> str:
        t = self._texts
        one, other = differing_fields([left, right])
        if not one:
            return f"<p>{html.escape(t('grid.same_recipe'))}</p>"
        parts = []
        rows = [name for name in one if name not in _TEXTS]
        if rows:
            head = "".join(f'<th scope="col">{html.escape(each)}</th>' for each in (t("grid.field"), "A", "B"))
            body = "".join(
                f'<tr><th scope="row">{html.escape(self._names.of(name))}</th>'
                f"<td>{html.escape(value_text(one[name]) or '–')}</td>"
                f"<td>{html.escape(value_text(other[name]) or '–')}</td></tr>"
                for name in rows
            )
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
        for name in _TEXTS:
            if name in one:
                heading = html.escape(t("grid.words", field=self._names.of(name)))
                parts.append(f"<h4>{heading}</h4>{diff_html(one[name], other[name], t)}")
        return "".join(parts)


def same_size(one: Image.Image, other: Image.Image) -> tuple[Image.Image, Image.Image] | None:
    """Both at the size of the smaller one; None if their aspect ratios differ by more than 2 %."""
    if one.size == other.size:
        return one, other
    if abs(one.width / one.height / (other.width / other.height) - 1) > SAME_SHAPE:
        return None
    size = min(one.size, other.size)
    small = [image if image.size == size else image.resize(size, Image.Resampling.LANCZOS) for image in (one, other)]
    return small[0], small[1]


def difference(one: Image.Image, other: Image.Image) -> tuple[Pixels, Image.Image, int]:
    """Figures of two pictures of one size, a picture of their difference, and its gain.

    The picture is the difference of each channel, black where there is none; the gain is a power of two, such that
    all but the largest hundredth stays below white.
    """
    a, b = (np.asarray(image.convert("RGB"), dtype=np.int16) for image in (one, other))
    gap = np.abs(a - b)
    high = float(np.percentile(gap.max(axis=2), 99))
    gain = 1
    while high and gain < 64 and high * gain * 2 <= 255:
        gain *= 2
    return compare(one, other), Image.fromarray(np.minimum(gap * gain, 255).astype(np.uint8)), gain


def _percent(share: float) -> str:
    return "<0.01%" if 0 < share < 1e-4 else f"{share:.2%}"
