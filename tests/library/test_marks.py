"""Marks in sidecars that other programs write too: nothing of theirs is lost, and nothing in them stops the library."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from zimage_kit import files
from zimage_kit.errors import BadRequest, CannotWrite
from zimage_kit.library import marks
from zimage_kit.library.library import Library
from zimage_kit.library.marks import Marks

EXIFTOOL = """<?xpacket begin='\ufeff' id='W5M0MpCehiHzreSzNTczkc9d'?>
<x:xmpmeta xmlns:x='adobe:ns:meta/' x:xmptk='Image::ExifTool 12.40'>
<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'>
 <rdf:Description rdf:about='' xmlns:dc='http://purl.org/dc/elements/1.1/'>
  <dc:subject><rdf:Seq><rdf:li>the\n sea</rdf:li></rdf:Seq></dc:subject></rdf:Description>
 <!-- a comment --><?pi of somebody?>
 <rdf:Description rdf:about='' xmlns:xmp='http://ns.adobe.com/xap/1.0/' xmlns:darktable='http://darktable.sf.net/'
  darktable:history_end='4'><xmp:Rating>5</xmp:Rating></rdf:Description>
</rdf:RDF></x:xmpmeta>
<?xpacket end='w'?>"""


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("RGB", (8, 8)).save(tmp_path / "boat.png")
    return tmp_path / "boat.png"


def test_several_descriptions_are_one(picture: Path) -> None:
    marks.sidecar(picture).write_text(EXIFTOOL[EXIFTOOL.index("<rdf:RDF") : EXIFTOOL.index("</x:")])
    assert marks.read(picture).stars == 5
    marks.sidecar(picture).write_text(EXIFTOOL)
    assert marks.read(picture) == Marks(5, ("the sea",))
    marks.write(picture, Marks(2, ("the sea", "red")))
    assert marks.read(picture) == Marks(2, ("the sea", "red"))
    text = marks.sidecar(picture).read_text()
    assert text.count("Rating") == 1 and text.count("dc:subject>") == 2
    for kept in ("<!-- a comment -->", "<?pi of somebody?>", 'darktable:history_end="4"', "xmptk"):
        assert kept in text
    assert text.index("<?xpacket begin='\ufeff'") < text.index("<x:xmpmeta") < text.index("<?xpacket end='w'?>")
    marks.write(picture, Marks())
    assert "history_end" in marks.sidecar(picture).read_text() and marks.read(picture) == Marks()


@pytest.mark.parametrize(
    "text", ["<x", "<html><p>mine</p></html>", "x" * 5_000_000, "<?xml version='1.0' encoding='no'?><a/>"]
)
def test_a_sidecar_that_cannot_be_read_is_put_aside(text: str, picture: Path) -> None:
    for turn in (1, 2):
        marks.sidecar(picture).write_text(text)
        marks.write(picture, Marks())
        assert marks.sidecar(picture).read_text() == text, "nothing to say"
        marks.write(picture, Marks(turn))
        assert marks.read(picture) == Marks(turn)
        assert picture.with_name(f"boat.png.xmp.unreadable{turn}").read_text() == text


@pytest.mark.parametrize("rating", ["1e999", "nan", "-inf", "many", ""])
@pytest.mark.parametrize("ending", ["png.xmp", "json"])
def test_a_rating_that_is_none_does_not_stop_the_library(rating: str, ending: str, picture: Path) -> None:
    xmp = EXIFTOOL.replace("<xmp:Rating>5<", f"<xmp:Rating>{rating}<")
    text = f'{{"rating": {rating}, "winner": false}}' if ending == "json" else xmp
    picture.with_name(f"boat.{ending}").write_text(text)
    library = Library(picture.parent)
    assert library["boat.png"].stars == 0
    library.close()


@pytest.mark.parametrize("tag", ["a\x01b", "a\0", "a\ud83d", "two\nlines", "\ufffe"])
def test_a_tag_that_xml_cannot_hold_is_refused(tag: str, picture: Path) -> None:
    marks.write(picture, Marks(4, ("sea",)))
    with pytest.raises(BadRequest, match="one line of text"):
        marks.write(picture, Marks(4, ("sea", tag)))
    assert marks.read(picture) == Marks(4, ("sea",))
    marks.write(picture, Marks(4, ("🙂 \u202e'\"<&>%",)))
    assert marks.read(picture).tags == ("🙂 \u202e'\"<&>%",)


def test_entities_are_not_expanded(picture: Path) -> None:
    grown = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 9))
    marks.sidecar(picture).write_text(f'<!DOCTYPE l [<!ENTITY a0 "aaaaaaaaaa">{grown}]><l>&a8;</l>')
    begin = time.perf_counter()
    assert marks.read(picture) == Marks() and time.perf_counter() - begin < 0.1


def test_the_old_rating_stays_until_the_new_one_is_written(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = picture.with_suffix(".json")
    old.write_text('{"rating": 4, "winner": true}')

    def full(*_: object) -> None:
        raise CannotWrite("the disk is full")

    monkeypatch.setattr(marks, "write_whole", full)
    with pytest.raises(CannotWrite):
        marks.write(picture, Marks(5, winner=True))
    assert marks.read(picture) == Marks(4, winner=True)
    monkeypatch.undo()
    marks.write(picture, Marks())
    assert marks.read(picture) == Marks() and not old.exists()


def test_what_cannot_be_removed_is_said(picture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marks.write(picture, Marks(1))

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refused)
    with pytest.raises(CannotWrite, match="Permission denied"):
        marks.write(picture, Marks())


def test_threads_that_mark_one_picture_lose_no_mark(picture: Path) -> None:
    library = Library(picture.parent)
    threads = [threading.Thread(target=library.tag, args=([picture], f"t{number}")) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert set(library["boat.png"].tags) == {f"t{number}" for number in range(8)}
    library.tag([picture], remove="t1")
    assert "t1" not in library["boat.png"].tags and len(library["boat.png"].tags) == 7
    library.close()


TAGS = """
import sys
from zimage_kit.library.library import Library
library = Library(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for number in range(12):
    library.tag(["boat.png"], f"{sys.argv[2]}{number}")
library.close()
"""


def test_processes_that_mark_one_picture_lose_no_mark(picture: Path) -> None:
    given = [[sys.executable, "-c", TAGS, str(picture.parent), name] for name in ("a", "b", "c")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    others = [subprocess.Popen(each, **pipes) for each in given]
    try:
        for each in others:
            assert each.stdout.readline() == "ready\n"
        for each in others:
            each.stdin.write("\n")
            each.stdin.flush()
        for each in others:
            each.communicate(timeout=60)
            assert each.returncode == 0
    finally:
        for each in others:
            each.kill()
    assert set(marks.read(picture).tags) == {f"{name}{number}" for name in "abc" for number in range(12)}


def test_a_process_that_never_gives_its_turn_up_holds_nobody_for_ever(
    picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_TURN_SECONDS", 0.2)
    with files.turn(picture.parent):
        begin = time.monotonic()
        marks.change(picture, lambda old: Marks(4, old.tags))
        assert 0.2 <= time.monotonic() - begin < 5
    assert marks.read(picture).stars == 4
