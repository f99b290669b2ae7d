"""The comparison's Python side: which pictures it sends to the browser, and which it compares."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from zimage_kit import Artifact
from zimage_kit.errors import BadRequest, NoRecipe
from zimage_kit.studio.panes.compare.slider import LONGEST_SIDE, Compare, compare


def opened(jpeg: bytes) -> Image.Image:
    return Image.open(io.BytesIO(jpeg))


def test_pictures_are_sent_as_jpeg_no_larger_than_a_notebook_shows_them(artifact: Artifact) -> None:
    widget = Compare(artifact, Image.new("RGB", (4000, 1000), "red"))
    assert opened(widget.before).size == (64, 64)
    assert opened(widget.after).size == (LONGEST_SIDE, 400)
    assert opened(widget.after).format == "JPEG"


def test_what_is_transparent_lies_on_a_checker() -> None:
    clear = Image.new("RGBA", (480, 480), (255, 0, 0, 0))
    seen = opened(Compare(clear, clear).after)
    squares = [[seen.getpixel((10 * x + 5, 10 * y + 5)) for x in range(4)] for y in range(4)]
    for y, row in enumerate(squares):
        for x, colour in enumerate(row):
            grey = (0x9A, 0x7A)[(x + y) % 2]
            assert max(abs(channel - grey) for channel in colour) <= 6, "greys in turn, nothing of the hidden red"


def test_no_picture_is_no_bytes_and_a_bad_one_leaves_the_pair_as_it_was(artifact: Artifact) -> None:
    widget = Compare()
    assert (widget.before, widget.after) == (b"", b"")
    widget.show(artifact, artifact)
    shown = widget.before
    with pytest.raises(AttributeError):
        widget.show(None, "no picture")
    assert widget.before == shown


def test_labels_replace_what_the_language_says(artifact: Artifact) -> None:
    widget = Compare(artifact, artifact, language="zh")
    assert widget.texts["before"] == "之前"
    widget.show(artifact, artifact, ("1x", "2x"))
    assert (widget.texts["before"], widget.texts["after"]) == ("1x", "2x")
    assert widget.texts["label"] == "前后对比"


def test_one_artifact_is_compared_with_itself_before_its_last_stage(artifact: Artifact) -> None:
    class Staged(Artifact):
        def before(self, stages: int = 1) -> Artifact:
            return artifact

    larger = Staged(artifact.image.resize((128, 128)), artifact.request, artifact.trace)
    widget = compare(larger)
    assert (opened(widget.before).width, opened(widget.after).width) == (64, 128)


def test_a_single_picture_without_anything_before_it_is_refused(artifact: Artifact) -> None:
    with pytest.raises(BadRequest, match="one picture"):
        compare(artifact.image)
    with pytest.raises((BadRequest, NoRecipe)):
        compare(artifact)


def test_a_saved_notebook_keeps_both_halves_as_a_picture() -> None:
    red, blue = Image.new("RGB", (200, 100), "red"), Image.new("RGB", (400, 200), "blue")
    data, _ = Compare(red, blue, position=25)._repr_mimebundle_()
    kept = opened(data["image/jpeg"]).convert("RGB")
    assert kept.size == (200, 100)
    left, right = kept.getpixel((20, 50)), kept.getpixel((120, 50))
    assert isinstance(left, tuple) and isinstance(right, tuple)
    assert left[0] > 200 > 60 > left[2] and right[2] > 200 > 60 > right[0]
    assert "image/jpeg" not in Compare()._repr_mimebundle_()[0]
