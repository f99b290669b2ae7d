"""Draws a benchmark as bars in an SVG picture, which needs no package and stays sharp."""

from __future__ import annotations

from html import escape

from .bench import Bench

_COLOURS = ("#2f6db3", "#d9822b", "#3a9a5b", "#8a5fb0", "#b0495f", "#5f7a8a")
_LEFT, _WIDTH, _BAR, _GAP, _TOP = 210, 460, 18, 16, 58


def plot(bench: Bench) -> str:
    """A group of bars for each size, a bar for each profile: seconds a picture, shorter is better."""
    sizes = list(dict.fromkeys(row.size for row in bench.rows))
    profiles = list(dict.fromkeys(row.profile for row in bench.rows))
    most = max((row.picture for row in bench.rows), default=1.0) or 1.0
    y, parts = float(_TOP), []
    for size in sizes:
        for row in (row for row in bench.rows if row.size == size):
            length = max(1.0, _WIDTH * row.picture / most)
            over = f", {row.over_stock:.2f} times stock" if row.over_stock and row.profile != "stock" else ""
            colour = _COLOURS[profiles.index(row.profile) % len(_COLOURS)]
            parts.append(
                f'<text x="{_LEFT - 8}" y="{y + 13:.0f}" text-anchor="end">{escape(f"{size}  {row.profile}")}</text>'
                f'<rect x="{_LEFT}" y="{y:.0f}" width="{length:.1f}" height="{_BAR}" fill="{colour}"/>'
                f'<text x="{_LEFT + length + 6:.1f}" y="{y + 13:.0f}">{row.picture:.3f} s{over}</text>'
            )
            y += _BAR + 4
        y += _GAP
    where = escape(f"{bench.model.rpartition('/')[2]}, {bench.steps} steps, {bench.dtype}, {bench.machine}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 190}" height="{y:.0f}" '
        'font-family="system-ui, sans-serif" font-size="13" fill="#222">'
        '<rect width="100%" height="100%" fill="white"/>'
        f'<text x="12" y="22" font-size="15" font-weight="600">Seconds a picture; shorter is better</text>'
        f'<text x="12" y="42" fill="#555">{where}</text>{"".join(parts)}</svg>\n'
    )
