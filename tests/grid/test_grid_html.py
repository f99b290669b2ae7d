"""The page of a grid: one file, nothing of it from elsewhere, and text from people is text."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import logging
import re
import tomllib
from html.parser import HTMLParser
from typing import Any

import pytest
from grids import finished
from PIL import Image

from zimage_kit.errors import BadRequest
from zimage_kit.grid import web_page as page_module
from zimage_kit.grid.web_page import render_web_page
from zimage_kit.recipe.request import Request
from zimage_kit.text.catalogues import catalogue
from zimage_kit.text.scripts import joined_script

EVIL = '</script><script>alert(1)</script><img src=x onerror="alert(2)">'
NASTY = [
    EVIL, "<!-- <script>", "]]> &amp; & {{script}} {{pictures}}", 'quotes " and \' and `', "emoji 🐈", "two\nlines",
    "x" * 2000, "没有空格的一句很长很长的话" * 60,
]  # fmt: skip


class Elements(HTMLParser):
    """What a browser finds in a page: (element, attributes), and the text of scripts by their ids."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.visible = ""
        self._script: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._script = dict(attrs).get("id") or tag

    def handle_endtag(self, tag: str) -> None:
        self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is None:
            self.visible += data
        else:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def elements(**options: Any) -> Elements:
    return Elements(render_web_page(finished(**options)).decode())


def noise(request: Request, index: int) -> Image.Image:
    """As large a JPEG as there can be."""
    return Image.effect_noise((request.width or 64, request.height or 64), 90).convert("RGB")


def embedded(html: Elements, number: int) -> Image.Image:
    source = html.all("img")[number]["src"] or ""
    return Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))


def test_every_cell_is_there_with_picture_label_and_recipe() -> None:
    grid = finished("a {colour} balloon", colour=["red", "青"], seed=range(3), title="Balloons", winner=1)
    html = Elements(render_web_page(grid).decode())
    cells = json.loads(html.scripts["cells"])
    assert [button["data-cell"] for button in html.all("button") if "data-cell" in button] == list("012345")
    assert [image["alt"] for image in html.all("img")[:6]] == [cell.label for cell in grid.cells]
    assert all(Request(**cell["request"]) == each.request for cell, each in zip(cells, grid.cells, strict=True))
    assert [th.get("scope") for th in html.all("th")] == ["col"] * 3 + ["row"] * 2
    for text in ("Balloons", "seed 0", "青", "a {colour} balloon", "winner"):
        assert text in html.visible


def test_the_page_asks_for_nothing_and_runs_no_script_but_its_own() -> None:
    html = Elements(render_web_page(finished("x", prompt=NASTY[:3], seed=[1, 2])).decode())
    for tag, attributes in html.found:
        for name in ("src", "href", "action", "srcset"):
            assert (attributes.get(name) or "data:").startswith("data:"), (tag, attributes)
        assert "style" not in attributes
        assert not any(name.startswith("on") for name in attributes)
    (policy,) = [meta["content"] or "" for meta in html.all("meta") if "http-equiv" in meta]
    assert policy.startswith("default-src 'none'; img-src data:;")
    for name in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(html.scripts[name].encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy


@pytest.mark.parametrize("text", NASTY)
def test_a_prompt_is_text_and_nothing_else(text: str) -> None:
    plain = elements(base="x", prompt=["a", "b"], seed=[1, 2], title="c", failed=[1])
    html = elements(base="x", prompt=[text, "b"], seed=[1, 2], title=text, labels={"seed": [text, "two"]}, failed=[1])
    assert [tag for tag, _ in html.found] == [tag for tag, _ in plain.found]
    assert html.scripts["script"] == plain.scripts["script"]
    assert text in html.visible
    assert json.loads(html.scripts["cells"])[0]["request"]["prompt"] == text


def test_a_cell_without_a_picture_says_why() -> None:
    html = elements(base="x", seed=range(3), failed=[1], missing=[2])
    assert "failed" in html.visible
    assert "the text has no letters" in html.visible
    assert "not made" in html.visible
    assert len([image for image in html.all("img") if image.get("src")]) == 1


def test_one_dimension_flows_with_labels_beneath() -> None:
    html = elements(base="x", seed=range(5))
    assert html.all("table") == []
    assert len(html.all("li")) == 5
    assert "seed 4" in html.visible


def test_pages_are_sections_with_their_headings() -> None:
    html = elements(base="x", seed=[1, 2], steps=[4, 8], guidance=[0, 1], layout={"pages": "guidance"})
    assert [section["aria-label"] for section in html.all("section")] == ["guidance 0", "guidance 1"]


def test_small_pictures_are_embedded_once_and_large_ones_twice() -> None:
    small = elements(base="x", seed=[1, 2], picture=(256, 256))
    assert not [name for name in small.scripts if name.startswith("large")]
    assert embedded(small, 0).size == (256, 256)
    large = elements(base="x", seed=[1, 2], picture=(640, 512))
    assert embedded(large, 0).size == (256, 205)
    for number in range(2):
        picture = Image.open(io.BytesIO(base64.b64decode(large.scripts[f"large-{number}"])))
        assert picture.size == (640, 512)


def test_a_picture_that_two_cells_share_is_embedded_once() -> None:
    html = elements(base="x", prompt=["a", "b", "a"], picture=(640, 512))
    assert [cell["large"] for cell in json.loads(html.scripts["cells"])] == [0, 1, 0]


@pytest.mark.parametrize("most", [1_500_000, 600_000, 150_000])
def test_the_cap_scales_every_picture_alike_and_the_page_says_so(most: int, caplog: pytest.LogCaptureFixture) -> None:
    grid = finished("x", seed=range(8), picture=(640, 512), paint=noise)
    assert len(render_web_page(grid)) > 1_500_000
    caplog.clear()
    with caplog.at_level(logging.WARNING, "zimage_kit"):
        page = render_web_page(grid, max_bytes=most)
    assert len(page) <= most
    percent = int(re.findall(r"scaled to (\d+) % of their width", page.decode())[0])
    assert 5 < percent < 100
    assert f"{percent} % of their width" in caplog.text
    html = Elements(page.decode())
    sizes = {
        Image.open(io.BytesIO(base64.b64decode(text))).size for name, text in html.scripts.items() if "large-" in name
    }
    assert len(sizes) <= 1


def test_a_cap_that_nothing_fits_under_is_refused_with_what_would() -> None:
    grid = finished("x", seed=range(8))
    with pytest.raises(BadRequest, match=r"max_bytes=20000: 8 pictures do not fit.*expected about 1_000_000"):
        render_web_page(grid, max_bytes=20_000)
    with pytest.raises(BadRequest, match="quality=101"):
        render_web_page(grid, quality=101)


def test_a_grid_without_any_picture_is_a_page_that_says_why() -> None:
    grid = finished("x", seed=[1, 2], failed=[0], missing=[1])
    assert "the text has no letters" in render_web_page(grid).decode()
    with pytest.raises(BadRequest, match="max_bytes=2000: the page does not fit; expected about 1_000_000"):
        render_web_page(grid, max_bytes=2000)


def test_pictures_smaller_than_any_label_stay_as_they_are() -> None:
    tiny = finished("x", seed=[1, 2], paint=lambda request, index: Image.new("RGB", (16, 16), "red"))
    assert render_web_page(tiny).decode().count("data:image/jpeg") >= 1


def test_the_page_speaks_chinese(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIMAGE_LANG", "zh")
    html = elements(base="x", seed=[1, 2], failed=[1])
    assert html.all("html") == [{"lang": "zh-CN"}]
    assert "失败" in html.visible
    assert "重置" in html.visible
    assert json.loads(html.scripts["texts"])["names"]["prompt"] == "提示词"


def test_every_text_of_the_page_exists_in_both_languages_and_none_is_left_over() -> None:
    folder = page_module._FOLDER
    english, chinese = (catalogue(folder, language) for language in ("en", "zh"))
    assert set(english) == set(chinese)
    template = (folder / "page.html").read_text("utf-8")
    script = joined_script(folder / "page.js")
    source = (folder.parent / "web_page.py").read_text("utf-8")
    keys = tomllib.loads((folder / "en.toml").read_text("utf-8"))
    for key in keys["page"]:
        assert f"{{{{t.{key}}}}}" in template or f't["{key}"]' in source or f'"{key}"' in source, key
    for key in keys["script"]:
        assert f"texts.{key}" in script or key in ("left", "above"), key
    for key in keys["names"]:
        assert f'"{key}"' in script, key


def test_a_page_has_no_path_of_the_machine_that_made_it() -> None:
    grid = finished("x", seed=[1, 2])
    assert str(grid.store.folder.parents[2]) not in render_web_page(grid).decode()


def test_a_page_names_files_and_not_the_folders_that_they_are_in() -> None:
    lora = "/data/alice/loras/ink.safetensors"
    photos = {"image": "/data/alice/photos/me.png", "all": ["/data/alice/a b.jpg"]}
    stage = {"kind": "control", "note": "either/or", **photos}
    shown = page_module._shown({"prompt": "/a/b.png", "loras": [{"path": lora, "weight": 1}], "stages": [stage]})
    assert shown["prompt"] == "/a/b.png"
    assert shown["loras"] == [{"path": "ink.safetensors", "weight": 1}]
    assert shown["stages"] == [{"kind": "control", "image": "me.png", "note": "either/or", "all": ["a b.jpg"]}]
    for path in ("~/loras/ink.safetensors", "C:\\Users\\alice\\ink.safetensors", "/models/turbo"):
        assert page_module._file_name(path) == re.split(r"[/\\\\]", path)[-1]


def test_no_label_of_a_page_is_cut_within_an_emoji() -> None:
    html = elements(base="x", prompt=["👩‍🚀" * 70, "b"], seed=[1])
    assert "👩‍🚀" * 59 + "…" in html.visible
