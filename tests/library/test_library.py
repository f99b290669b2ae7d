"""The library: what is found in a folder of pictures, by what; that the folder is the truth and the index a cache."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, PngImagePlugin

import zimage_kit as zk
from zimage_kit import Artifact, Lora, Request, Trace
from zimage_kit.errors import BadRequest, ZImageError
from zimage_kit.grid.cell_store import CellStore, Mark
from zimage_kit.library import marks, similar, trash
from zimage_kit.library.index import Index, Query, words
from zimage_kit.library.library import Library
from zimage_kit.library.refresh import FILE, FOLDER
from zimage_kit.library.times import days, moment

Keep = Callable[..., Path]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pictures"


@pytest.fixture
def keep(folder: Path) -> Keep:
    """Save a picture into the folder: its prompt, and more fields of the request; days since it was made."""

    def save(prompt: str, *, ago: float = 0.0, name: str = "", image: Image.Image | None = None, **fields: Any) -> Path:
        made = (datetime.now().astimezone() - timedelta(days=ago)).isoformat(timespec="seconds")
        request = Request(prompt=prompt, **{"model": "nano", "seed": 1, "width": 64, "height": 64, **fields})
        artifact = Artifact(image or Image.new("RGB", (64, 64), "red"), request, Trace(created=made))
        return artifact.save(folder / name if name else None, **({} if name else {"folder": folder}))

    return save


@pytest.fixture
def library(folder: Path, keep: Keep) -> Iterator[Library]:
    """Some pictures of several days."""
    keep("a red boat on the sea", ago=9, seed=7, name="old/boat.png")
    keep("a red balloon", ago=3, negative_prompt="blurry", model="base", name="balloon.png")
    keep("海上的红色热气球", ago=2, loras=[Lora(path="papercut.safetensors")], name="2026/气球.png")
    keep(
        "a cat", stages=[{"kind": "upscale"}], width=128, height=96, image=Image.new("RGB", (128, 96)), name="cat.webp"
    )
    opened = zk.library(folder)
    yield opened
    opened.close()


def names(found: Any) -> list[str]:
    return [Path(each.name).stem for each in found]


# Finding


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, ["cat", "气球", "balloon", "boat"]),
        ({"oldest_first": True}, ["boat", "balloon", "气球", "cat"]),
        ({"words": "red"}, ["balloon", "boat"]),
        ({"words": "RED bo"}, ["boat"]),
        ({"words": "red -boat"}, ["balloon"]),
        ({"words": '"red boat"'}, ["boat"]),
        ({"words": '"boat red"'}, []),
        ({"words": "红色"}, ["气球"]),
        ({"words": "热气球"}, ["气球"]),
        ({"words": "海"}, ["气球"]),
        ({"words": "blurry"}, ["balloon"]),
        ({"words": "papercut"}, ["气球"]),
        ({"words": "upscale"}, ["cat"]),
        ({"words": "old/"}, ["boat"]),
        ({"words": "100% _"}, []),
        ({"words": '" OR 1=1 --'}, []),
        ({"model": "base"}, ["balloon"]),
        ({"size": (128, 96)}, ["cat"]),
        ({"stage": "upscale"}, ["cat"]),
        ({"lora": "papercut"}, ["气球"]),
        ({"seed": 7}, ["boat"]),
        ({"since": "4d"}, ["cat", "气球", "balloon"]),
        ({"until": datetime.now() - timedelta(days=2.5)}, ["balloon", "boat"]),
        ({"since": "4d", "until": "60h"}, ["balloon"]),
        ({"limit": 2, "offset": 1}, ["气球", "balloon"]),
    ],
)
def test_a_search_finds_what_it_says(library: Library, asked: dict[str, Any], wanted: list[str]) -> None:
    found = library.search(**asked)
    assert names(found) == wanted
    assert found.total == (4 if "offset" in asked else len(wanted))


def test_what_is_found_is_the_picture(library: Library) -> None:
    (boat,) = library.search("boat")
    assert (boat.prompt, boat.seed, boat.model, boat.width, boat.height) == ("a red boat on the sea", 7, "nano", 64, 64)
    assert boat.open().request.prompt == boat.prompt
    assert library[boat.name] == library[str(boat.path)] == boat
    assert library.values("loras") == {"papercut": 1} and library.values("models") == {"nano": 3, "base": 1}
    assert json.loads(json.dumps(boat.data()))["name"] == "old/boat.png"
    page = library.search()
    assert "4 pictures" in str(page) and "<table>" in page._repr_html_() and "old/boat.png" in page._repr_html_()
    with pytest.raises(BadRequest, match=r"nowhere.png is not in the library"):
        library["nowhere.png"]


def test_pictures_of_other_programs_are_found_too(folder: Path, library: Library) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a lighthouse\nSteps: 8, Sampler: Euler, CFG scale: 1, Seed: 5, Size: 64x64")
    Image.new("RGB", (64, 64)).save(folder / "a1111.png", pnginfo=info)
    Image.new("RGB", (20, 10)).save(folder / "photo.jpg")
    (folder / "broken.png").write_bytes(b"\x89PNG")
    (folder / "notes.txt").write_text("no picture")
    assert [(each.seed, each.width) for each in library.search("lighthouse")] == [(5, 64)]
    assert library.search("photo")[0].open().image.size == (20, 10)
    assert list(library.problems()) == ["broken.png"] and library.search().total == 6


def test_the_words_of_a_search() -> None:
    assert list(words('red  "hot air" -cat -"a dog" - "open')) == [
        ("red", True), ("hot air", True), ("cat", False), ("a dog", False), ("-", True), ("open", True),
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "length"), [("36h", 1.5), ("7d", 7), (" 2 w ", 14)])
def test_lengths_of_time(text: str, length: float) -> None:
    assert days(text) == timedelta(days=length)
    assert abs(moment(text) - (datetime.now().astimezone() - timedelta(days=length))) < timedelta(minutes=1)


@pytest.mark.parametrize("text", ["", "yesterday", "7", "2026-13-01", "99999999999d"])
def test_what_is_no_time_is_said(text: str, library: Library) -> None:
    with pytest.raises(BadRequest, match="such as"):
        library.search(since=text)


def test_a_day_is_all_of_it() -> None:
    day = moment("2026-11-30")
    assert moment("2026-11-30", end=True) - day == timedelta(days=1)
    assert moment("2026-11-30T12:00:00") - day == timedelta(hours=12)


def test_pictures_that_look_alike(library: Library, keep: Keep, folder: Path) -> None:
    def scene(x: int, background: str) -> Image.Image:
        image = Image.new("RGB", (96, 96), background)
        draw = ImageDraw.Draw(image)
        draw.ellipse((x, 20, x + 40, 60), fill="red")
        draw.rectangle((0, 70, 96, 96), fill="green")
        return image

    one = keep("left", image=scene(10, "skyblue"), name="left.png", ago=1)
    keep("left again", image=scene(12, "lightblue").resize((192, 192)), name="again.jpg")
    keep("other", image=scene(50, "black").rotate(90), name="other.png")
    assert names(library.search(like=one)) == ["left", "again"], "a later one that looks just like it comes after it"
    assert names(library.search("again", like=library["left.png"])) == ["again"]
    assert names(library.search(like=zk.open(one), limit=1)) == ["left"]
    assert library.hash() == 0, "hashes are kept"
    with pytest.raises(BadRequest, match="not a readable picture"):
        library.search(like=folder / "nothing.png")


def test_a_hash_is_of_the_picture_and_not_of_its_size() -> None:
    chance = np.random.default_rng(3)
    image, unlike = (
        Image.fromarray(chance.integers(0, 256, (12, 12), np.uint8)).resize((256, 256), Image.Resampling.BICUBIC)
        for _ in range(2)
    )
    same = [image.resize((100, 100)), image.point(lambda level: level * 0.8 + 20), image.convert("RGBA")]
    others = [image.rotate(90), image.rotate(180), unlike]
    far = [
        [similar.distance(similar.hash_of(image), similar.hash_of(each)) for each in them] for them in (same, others)
    ]
    assert max(far[0]) <= 6 and min(far[1]) > similar.ALIKE
    assert -(1 << 63) <= similar.hash_of(image) < 1 << 63
    assert similar.distance(-1, 0) == 64


# The folder is the truth


def test_what_comes_changes_and_goes_is_seen(library: Library, keep: Keep, folder: Path) -> None:
    new = keep("a lantern", name="new/lantern.png")
    assert names(library.search("lantern")) == ["lantern"]
    keep("a kite", name="new/lantern.png")
    assert names(library.search("kite")) == ["lantern"] and not library.search("lantern -kite").total
    new.unlink()
    (folder / "old").rename(folder / "older")
    assert library.search("kite").total == 0
    assert [each.name for each in library.search("boat")] == ["older/boat.png"]
    changes = library.refresh()
    assert (changes.added, changes.changed, changes.gone) == (0, 0, 0)


def test_a_file_that_is_written_in_place_is_seen_by_a_full_look(library: Library, folder: Path, keep: Keep) -> None:
    other = keep("a panda", name="../panda.png")
    with (folder / "balloon.png").open("r+b") as file:
        file.truncate()
        file.write(other.read_bytes())
    assert library.refresh().changed == 1
    assert names(library.search("panda")) == ["balloon"]


@pytest.mark.parametrize("damage", ["gone", "rubbish", "cut", "old version", "folder gone"])
def test_an_index_that_is_lost_or_damaged_is_made_anew(library: Library, folder: Path, damage: str) -> None:
    library.star(["balloon.png"], 4)
    library.close()
    file = folder / FOLDER / FILE
    if damage == "gone":
        file.unlink()
    elif damage == "rubbish":
        file.write_bytes(b"rubbish" * 1000)
    elif damage == "cut":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2 // 4096 * 4096])
    elif damage == "old version":
        index = Index(file)
        index._connection.execute("PRAGMA user_version = 999")
        index.close()
    else:
        for each in file.parent.iterdir():
            each.unlink()
        file.parent.rmdir()
    again = Library(folder)
    assert names(again.search()) == ["cat", "气球", "balloon", "boat"]
    assert names(again.search(stars=4)) == ["balloon"], "stars are not in the index alone"
    again.close()


def test_an_index_that_is_deleted_or_damaged_while_it_is_open(library: Library, folder: Path) -> None:
    for ending in ("", "-wal", "-shm"):
        (folder / FOLDER / f"{FILE}{ending}").unlink(missing_ok=True)
    library.star(["balloon.png"], 2)
    assert names(library.search(stars=2)) == ["balloon"]
    other = Library(folder)
    assert names(other.search(stars=2)) == ["balloon"]
    other.close()


def test_a_folder_that_cannot_be_written_has_its_index_elsewhere(
    library: Library, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.close()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (folder / FOLDER / FILE).unlink()
    for each in (folder / FOLDER).iterdir():
        each.unlink()
    (folder / FOLDER).rmdir()
    (folder / FOLDER).write_text("a file in its place, which root cannot write into either")
    elsewhere = Library(folder)
    assert "cannot be written" in elsewhere.index_note and str(tmp_path / "cache") in elsewhere.index_note
    assert elsewhere.search().total == 4
    elsewhere.close()


def test_links_are_not_followed(library: Library, folder: Path, tmp_path: Path, keep: Keep) -> None:
    outside = keep("a secret", name="../outside/secret.png")
    (folder / "link").symlink_to(outside.parent, target_is_directory=True)
    (folder / "link.png").symlink_to(outside)
    (folder / "circle").symlink_to(folder, target_is_directory=True)
    library.refresh()
    assert library.search("secret").total == 0
    for name in ("link/secret.png", "../outside/secret.png", str(outside), "link.png"):
        with pytest.raises(BadRequest):
            library.remove([library[name]])
    with pytest.raises(BadRequest, match="link"):
        trash.remove(folder, ["link/secret.png"])
    assert outside.exists()


def test_two_processes_write_at_once(library: Library, folder: Path) -> None:
    program = (
        "import sys, zimage_kit as zk; from PIL import Image; from zimage_kit import Artifact, Request, Trace\n"
        "library = zk.library(sys.argv[1])\n"
        "for number in range(40):\n"
        "    request = Request(prompt=f'picture {number} of {sys.argv[2]}', model='nano', seed=number)\n"
        "    artifact = Artifact(Image.new('RGB', (16, 16)), request, Trace())\n"
        "    library.add(artifact.save(folder=library.folder), artifact)\n"
        "    library.star(library.search(f'\"picture {number} of {sys.argv[2]}\"'), 1)\n"
    )
    running = [
        subprocess.Popen([sys.executable, "-c", program, str(folder), who], stderr=subprocess.PIPE)
        for who in ("A", "B")
    ]
    problems = [each.communicate(timeout=120)[1].decode() for each in running]
    assert problems == ["", ""]
    assert library.search("picture", stars=1).total == 80
    assert len({each.name for each in library.search("picture", limit=None)}) == 80


def test_threads_may_share_it(library: Library, keep: Keep) -> None:
    errors: list[Exception] = []

    def work(number: int) -> None:
        try:
            for turn in range(10):
                path = keep("threads", seed=number * 100 + turn)
                library.add(path, zk.open(path))
                library.tag([path], f"t{number}")
                library.search("threads", tags=[f"t{number}"])
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert not errors
    assert library.search("threads").total == 40 and library.values("tags") == {f"t{n}": 10 for n in range(4)}


# Marks


def test_stars_and_tags_are_beside_the_picture(library: Library, folder: Path) -> None:
    library.star(["balloon.png", folder / "cat.webp"], 3)
    library.tag(library.search("balloon"), "poster", "红", "poster")
    library.tag(["balloon.png"], "new", remove=["红"])
    (balloon,) = library.search(tags=["poster"])
    assert (balloon.stars, balloon.tags) == (3, ("poster", "new"))
    assert names(library.search("poster")) == ["balloon"], "tags are words"
    assert names(library.search(stars=3)) == ["cat", "balloon"]
    text = (folder / "balloon.png.xmp").read_text()
    assert 'xmp:Rating="3"' in text and "<rdf:li>poster</rdf:li>" in text
    library.star(["balloon.png", "cat.webp"], 0)
    library.tag(["balloon.png"], remove=["poster", "new"])
    assert not list(folder.rglob("*.xmp")), "what says nothing is removed"
    assert library.search(stars=1).total == 0


def test_what_other_programs_write_beside_a_picture_is_kept(library: Library, folder: Path) -> None:
    sidecar = folder / "balloon.png.xmp"
    sidecar.write_text(
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:d="http://darktable.sf.net/"'
        ' d:history_end="4" xmp:Label="Red"><xmp:Rating>4</xmp:Rating></rdf:Description></rdf:RDF></x:xmpmeta>'
    )
    assert names(library.search(stars=4)) == ["balloon"]
    library.star(["balloon.png"], 2)
    assert marks.read(folder / "balloon.png") == marks.Marks(2)
    assert "history_end" in sidecar.read_text() and "Red" in sidecar.read_text()
    library.star(["balloon.png"], 0)
    assert "history_end" in sidecar.read_text()


@pytest.mark.parametrize("text", ["", "<x", "<a/>", "x" * 2_000_000, '<?xml version="1.0"?><!DOCTYPE a><a/>', "\0"])
def test_a_damaged_sidecar_says_nothing(text: str, folder: Path, keep: Keep) -> None:
    picture = keep("a cat", name="cat.png")
    marks.sidecar(picture).write_text(text)
    assert marks.read(picture) == marks.Marks()
    marks.write(picture, marks.Marks(5, ("a & b <c>",)))
    assert marks.read(picture) == marks.Marks(5, ("a & b <c>",))


def test_a_grids_cells_are_pictures_of_the_library(library: Library, folder: Path) -> None:
    store = CellStore(folder / "grids" / "cells")
    keys = [f"{number:02x}" + "0" * 38 for number in range(3)]
    for key in keys:
        request = Request(prompt="a cell", model="nano", seed=1, width=64, height=64)
        store.write(key, Artifact(Image.new("RGB", (64, 64)), request, Trace()))
    store.set_mark(keys[0], Mark(4, True))
    store.path(keys[1]).with_suffix(".json").write_text('{"rating": 2, "winner": false}')  # of an earlier version
    assert library.search("cell").total == 3, "and not their thumbnails"
    assert {each.stars for each in library.search("cell", stars=1)} == {4, 2}
    assert library.search(winner=True)[0].path == store.path(keys[0])
    library.star([store.path(keys[1])], 5)
    assert store.mark(keys[1]) == Mark(5, False)
    assert library.search(cells=False).total == 4 and library.search(cells=True).total == 3
    library.remove(library.search("cell", stars=4))
    assert not store.has(keys[0]) and store.thumb(keys[0]) is None
    library.restore()
    assert store.has(keys[0]) and store.mark(keys[0]) == Mark(4, True)


@pytest.mark.parametrize("stars", [-1, 6, 2.5])
def test_stars_are_0_to_5(library: Library, stars: Any) -> None:
    with pytest.raises(BadRequest, match="0 to 5"):
        library.star(["balloon.png"], stars)


# Removing


def test_what_is_removed_comes_back(library: Library, folder: Path) -> None:
    library.star(["balloon.png"], 5)
    before = (folder / "balloon.png").read_bytes()
    removal = library.remove(library.search("balloon"))
    assert not (folder / "balloon.png").exists() and not (folder / "balloon.png.xmp").exists()
    assert library.search("balloon").total == 0
    library.refresh()
    assert library.search("balloon").total == 0, "the trash is not searched"
    assert [each.name for each in library.trash()] == [removal.name]
    assert [each.name for each in library.restore()] == ["balloon.png"]
    assert (folder / "balloon.png").read_bytes() == before and library["balloon.png"].stars == 5
    assert library.trash() == []
    with pytest.raises(BadRequest, match="the trash is empty"):
        library.restore()


def test_a_place_that_is_taken_meanwhile_is_left_alone(library: Library, keep: Keep) -> None:
    removal = library.remove(["balloon.png"])
    keep("another", name="balloon.png")
    assert [each.name for each in library.restore(removal)] == ["balloon-2.png"]
    assert library["balloon.png"].prompt == "another" and library["balloon-2.png"].prompt == "a red balloon"


def test_the_trash_is_emptied_after_30_days(library: Library, folder: Path) -> None:
    removal = library.remove(["balloon.png"])
    library.remove(["cat.webp"])
    old = f"20200101T000000-{removal.name[-6:]}"
    (folder / trash.FOLDER / removal.name).rename(folder / trash.FOLDER / old)
    again = Library(folder)
    assert [each.pictures for each in again.trash()] == [("cat.webp",)]
    assert again.empty_trash() == 1 and again.trash() == []
    again.close()


@pytest.mark.parametrize("name", ["../x", "20200101T000000-../..", "", "nothing", "/etc"])
def test_an_unknown_removal_is_refused(name: str, library: Library) -> None:
    with pytest.raises(BadRequest, match="no removal"):
        library.restore(name)


def test_cleaning_says_first_and_keeps_what_was_marked(library: Library, folder: Path) -> None:
    library.star(["old/boat.png"])
    plan = library.clean("60h")
    assert [each.name for each in plan.pictures] == ["balloon.png"] and plan.kept == 1
    assert str(plan).startswith("1 picture, 1 kB, made") and "1 with stars, tags or a win are kept" in str(plan)
    assert (folder / "balloon.png").exists()
    assert plan.remove().pictures == ("balloon.png",)
    assert names(library.clean("60h", keep_starred=False).pictures) == ["boat"]
    every = library.search(limit=None)
    largest = library.clean(max_bytes=every.bytes - 1)
    assert names(largest.pictures) == ["气球"], "the oldest that is not starred"
    assert library.clean(max_bytes=0).staying == 1
    with pytest.raises(BadRequest, match="nothing says what to clean"):
        library.clean()


# Export


@pytest.mark.parametrize("target", ["best.zip", "best"])
def test_an_export_has_the_pictures_and_a_sheet(library: Library, folder: Path, tmp_path: Path, target: str) -> None:
    (folder / "old" / "balloon.png").write_bytes((folder / "balloon.png").read_bytes())
    counted: list[tuple[int, int]] = []
    place = library.export(library.search("red"), tmp_path / target, on_progress=lambda *at: counted.append(at))
    if target.endswith(".zip"):
        with zipfile.ZipFile(place) as file:
            file.extractall(tmp_path / "out")
        place = tmp_path / "out"
    assert {each.name for each in place.iterdir()} == {"balloon.png", "balloon-2.png", "boat.png", "contact-sheet.jpg"}
    assert zk.open(place / "boat.png").request.seed == 7 and counted[-1] == (3, 3)
    with Image.open(place / "contact-sheet.jpg") as sheet:
        assert sheet.size == (768, 264)
    with pytest.raises(BadRequest, match="exists"):
        library.export(["balloon.png"], tmp_path / target)


def test_an_export_without_recipes(library: Library, tmp_path: Path) -> None:
    place = library.export(["balloon.png", "cat.webp"], tmp_path / "out", recipe=False, sheet=False)
    assert sorted(each.name for each in place.iterdir()) == ["balloon.png", "cat.webp"]
    for each in place.iterdir():
        with pytest.raises(zk.ZImageError, match="no recipe"):
            zk.open(each)


def test_an_export_that_fails_leaves_nothing(library: Library, folder: Path, tmp_path: Path) -> None:
    chosen = list(library.search("red"))
    (folder / "old" / "boat.png").unlink()
    with pytest.raises(ZImageError):
        library.export(chosen, tmp_path / "out.zip")
    assert list(tmp_path.glob("*out*")) == []


# The ways in


def test_it_is_found_from_the_package_and_from_a_session(keep: Keep, home: Path) -> None:
    import zimage_kit.library

    assert zk.library is zimage_kit.library
    path = Artifact(Image.new("RGB", (8, 8)), Request(prompt="hello there"), Trace()).save()
    with zk.connect("inline", device="cpu", memory="399MB") as session:
        assert [each.path for each in session.library.search("hello")] == [path]
    with closing(zk.library()) as library:
        assert names(library.search("hello")) == [path.stem]


def test_half_an_emoji_and_other_odd_texts_are_kept_out_of_the_way(folder: Path) -> None:
    index = Index(":memory:")
    from zimage_kit.library.scan import Facts, Stamp

    odd = "a \ud83d boat \0 100%"
    index.put([("x.png", Stamp(1, 1), Facts(1.0, prompt=odd, marks=marks.Marks(tags=("a\ud83d",))), 5)])
    rows, total, _ = index.select(Query().words("boat 100%"), 5)
    assert total == 1 and rows[0]["prompt"].startswith("a ? boat")
    index.close()


def test_a_name_that_is_no_text_is_left_out(library: Library, folder: Path) -> None:
    try:
        (folder / "balloon.png").rename(folder / os.fsdecode(b"\xff\xfe.png"))
    except OSError:
        pytest.skip("this file system knows text only")
    library.refresh()
    assert library.search().total == 3
