"""Pictures that people bring: upright, in sRGB, with 8 bits; what cannot be read is one sentence."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw
from PIL.PngImagePlugin import PngInfo

import zimage_kit as zk
from zimage_kit.errors import BadRequest, NoRecipe
from zimage_kit.recipe import embedded, picture
from zimage_kit.recipe.artifact import Artifact, read_any


def photo() -> Image.Image:
    """Lying: 96x64, red at the left."""
    image = Image.new("RGB", (96, 64), "white")
    image.paste("red", (0, 0, 16, 64))
    return image


def opened(path: Path) -> Artifact:
    return read_any(path)


@pytest.mark.parametrize(
    ("orientation", "size", "red"), [(1, (96, 64), (2, 30)), (6, (64, 96), (30, 2)), (3, (96, 64), (93, 30))]
)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_photos_stand_upright(
    tmp_path: Path, suffix: str, orientation: int, size: tuple[int, int], red: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    photo().save(tmp_path / f"photo.{suffix}", exif=exif)
    made = opened(tmp_path / f"photo.{suffix}")
    assert made.image.size == size
    r, g, _ = made.image.getpixel(red)  # type: ignore[misc]
    assert r > 200 and g < 80
    assert (made.trace.notes == ()) == (orientation == 1)


RAMP = np.tile(np.linspace(0, 65535, 64).round(), (2, 1))


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (RAMP.astype(np.uint16), "grey.png"),
        (RAMP.astype(np.uint16), "grey.tif"),
        (RAMP.astype(np.int32), "grey.tif"),
        (RAMP.astype(np.float32) / 65535, "grey.tif"),
        ((RAMP / 257).astype(np.float32), "grey.tif"),
        ((RAMP * 1000).astype(np.float32), "grey.tif"),
    ],
    ids=["16 bits", "16 bits, TIFF", "32 bits", "floats to 1", "floats to 255", "floats to anything"],
)
def test_grey_of_more_bits_keeps_its_shades(tmp_path: Path, values: np.ndarray, name: str) -> None:  # type: ignore[type-arg]
    Image.fromarray(values).save(tmp_path / name)
    made = opened(tmp_path / name)
    assert made.image.mode == "RGB"
    found = np.asarray(made.image)[0, :, 0].astype(float)
    assert np.abs(found - RAMP[0] / 257).max() < 1
    assert "scaled to 8 bits" in made.trace.notes[0]


def test_other_colour_profiles_become_srgb_and_srgb_stays(tmp_path: Path) -> None:
    lab = ImageCms.createProfile("LAB")
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo().save(tmp_path / "own.png", icc_profile=srgb)
    assert np.array_equal(np.asarray(opened(tmp_path / "own.png").image), np.asarray(photo()))
    photo().save(tmp_path / "odd.png", icc_profile=ImageCms.ImageCmsProfile(lab).tobytes())
    assert "cannot be used" in opened(tmp_path / "odd.png").trace.notes[0]
    photo().save(tmp_path / "bad.png", icc_profile=b"no profile")
    assert "cannot be used" in opened(tmp_path / "bad.png").trace.notes[0]
    photo().convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    made = opened(tmp_path / "print.jpg")
    assert made.image.mode == "RGB" and "approximate" in made.trace.notes[0]
    assert np.abs(np.asarray(made.image, int) - np.asarray(photo(), int)).mean() < 6


def test_transparency_is_kept_in_every_mode_and_animations_give_their_first_frame(tmp_path: Path) -> None:
    cut_out = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    cut_out.paste((200, 30, 30, 255), (2, 2, 6, 6))
    for name, image in (
        ("rgba.png", cut_out),
        ("palette.png", cut_out.quantize()),
        ("grey.png", cut_out.convert("LA")),
    ):
        image.save(tmp_path / name)
        assert opened(tmp_path / name).image.mode == "RGBA", name
    cut_out.convert("RGB").convert("RGBA").save(tmp_path / "opaque.png")
    assert opened(tmp_path / "opaque.png").image.mode == "RGB"
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    for suffix in ("gif", "webp", "png"):
        frames[0].save(tmp_path / f"moving.{suffix}", save_all=True, append_images=frames[1:])
        made = opened(tmp_path / f"moving.{suffix}")
        assert "the first of 3 frames" in made.trace.notes[0]
        assert made.image.getpixel((4, 4))[0] > 200  # type: ignore[index]


def test_colours_bleed_beneath_what_is_transparent_and_nothing_visible_changes() -> None:
    image = Image.new("RGBA", (63, 40), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((20, 8, 40, 28), fill=(216, 180, 200, 255))
    found = np.asarray(picture.bled(image))
    visible = np.asarray(image)[..., 3] > 0
    assert np.array_equal(found[visible], np.asarray(image)[visible][:, :3])
    assert (found.reshape(-1, 3) == (216, 180, 200)).all(), "one colour, everywhere"
    assert np.array_equal(np.asarray(picture.bled(image.convert("RGB"))), np.asarray(image.convert("RGB")))
    nothing = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert picture.bled(nothing).size == (4, 4)


def test_a_cut_out_gets_no_dark_rim_from_a_stage(session: zk.Session) -> None:
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((12, 12, 52, 52), fill=(216, 216, 216, 255))
    made = session.apply(image, {"kind": "upscale", "weights": "nano"}).image
    on_white = Image.alpha_composite(Image.new("RGBA", made.size, "white"), made).convert("L")
    assert on_white.getextrema()[0] > 205  # type: ignore[operator]


def not_pictures(folder: Path) -> dict[str, Path]:
    whole = io.BytesIO()
    photo().save(whole, "PNG")
    for name, content in {
        "cut.png": whole.getvalue()[:120],
        "empty.png": b"",
        "notes.txt": b"not a picture",
        "photo.heic": b"\0\0\0\x18ftypheic",
    }.items():
        (folder / name).write_bytes(content)
    noise = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    Image.fromarray(noise).save(whole := io.BytesIO(), "JPEG")
    (folder / "cut.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    (folder / "a folder").mkdir()
    return {path.name: path for path in folder.iterdir()}


def test_what_is_no_picture_is_one_sentence(tmp_path: Path, session: zk.Session) -> None:
    for name, path in not_pictures(tmp_path).items():
        with pytest.raises(NoRecipe, match=r"is not a readable picture \(\w") as found:
            session.apply(path, {"kind": "upscale", "weights": "nano"})
        assert "\n" not in str(found.value) and name in str(found.value)
        assert ("Save it as PNG" in found.value.mend) == (name == "photo.heic")
    with pytest.raises(NoRecipe, match="cannot be decoded"), Image.open(tmp_path / "cut.jpg") as cut:
        session.apply(cut, {"kind": "upscale", "weights": "nano"})


@pytest.mark.parametrize("suffix", ["gif", "tif", "png", "webp"])
def test_an_animation_cut_anywhere_is_a_picture_or_one_sentence(tmp_path: Path, suffix: str) -> None:
    small = photo().resize((12, 8))
    small.save(tmp_path / f"whole.{suffix}", save_all=True, append_images=[small.rotate(90)])
    content = (tmp_path / f"whole.{suffix}").read_bytes()
    for end in range(0, len(content), 3):
        with contextlib.suppress(NoRecipe):
            assert read_any(content[:end]).image.size == (12, 8)
    if suffix == "tif":
        with pytest.raises(NoRecipe, match="not a readable picture"):
            read_any(content.replace(b"\x00\x01\x04\x00", b"\x99\x99\x04\x00"))  # its pages have no width


def test_the_limit_is_ours_stated_and_settable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.png"
    Image.new("1", (20000, 10000)).save(path)
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(
        NoRecipe, match="20000x10000 pixels; at most 170 million are read, unless ZIMAGE_LARGEST_PIXELS"
    ):
        opened(path)
    assert before == Image.MAX_IMAGE_PIXELS
    monkeypatch.setenv(picture.LIMIT, "200000000")
    with picture.opened(path) as file:
        assert file.size == (20000, 10000)
    monkeypatch.setenv(picture.LIMIT, "many")
    with pytest.raises(BadRequest, match="ZIMAGE_LARGEST_PIXELS=many; expected a number of pixels"):
        opened(path)


LINE = "海上的红色热气球\nSteps: 8, Sampler: Euler, CFG scale: 1, Seed: 7, Size: 256x256"


@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + LINE.encode("utf-16-be"),
        b"UNICODE\0" + LINE.encode("utf-16-le"),
        b"UNICODE\0" + LINE.encode("utf-16"),
        b"ASCII\0\0\0" + LINE.encode(),
        b"\0" * 8 + LINE.encode(),
        LINE.encode(),
    ],
    ids=["big endian", "little endian", "marked", "called ASCII", "unnamed", "bare"],
)
@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_a_line_of_a1111_is_read_from_a_comment_in_any_encoding(tmp_path: Path, suffix: str, comment: bytes) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = comment
    photo().save(tmp_path / f"made.{suffix}", exif=exif)
    made = zk.open(tmp_path / f"made.{suffix}")
    assert (made.request.prompt, made.request.seed, made.request.steps) == ("海上的红色热气球", 7, 8)


def test_utf8_in_a_latin_1_chunk_is_read_as_what_it_is() -> None:
    image = Image.new("RGB", (8, 8))
    image.info.update({"parameters": LINE.encode().decode("latin-1"), "Comment": "café"})
    assert embedded.texts(image) == {"parameters": LINE, "Comment": "café"}


def test_a_chunk_that_is_utf8_by_the_standard_is_left_as_it_is(tmp_path: Path) -> None:
    info = PngInfo()
    info.add_itxt("zimage_kit", "Ã©")  # which is UTF-8 of é, read as Latin-1
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png", pnginfo=info)
    with picture.opened(tmp_path / "x.png") as file:
        assert embedded.texts(file) == {"zimage_kit": "Ã©"}


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_a_photo_with_broken_exif_is_a_picture_all_the_same(tmp_path: Path, exif: bytes) -> None:
    photo().save(tmp_path / "photo.jpg", exif=exif)
    assert opened(tmp_path / "photo.jpg").image.size == (96, 64)
