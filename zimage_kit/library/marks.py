"""Stars, tags and winners: what people say of a picture, in a file beside it.

It is an XMP sidecar, `picture.png.xmp`, as darktable and digiKam write and read it, so that stars given here are seen
there and the other way round; what else such a file holds is kept, and one that cannot be read is put aside.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from ..errors import BadRequest, CannotWrite
from ..files import turn, write_whole

MOST_STARS = 5
SUFFIX = ".xmp"
OLD = ".json"
"""Of a cell's rating, as grids kept it before; it is read where there is no sidecar."""
_WINNER = "winner"
_LARGEST = 1 << 22  # bytes of a sidecar that is read; darktable's drawn masks take a megabyte
_NO_TAG = re.compile("[^ -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # what XML cannot hold, and line breaks
_PACKET = re.compile(rb"<\?xpacket[^?>]*\?>")
_X, _RDF = "adobe:ns:meta/", "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XMP, _DC = "http://ns.adobe.com/xap/1.0/", "http://purl.org/dc/elements/1.1/"
_RATING, _LABEL, _SUBJECT = f"{{{_XMP}}}Rating", f"{{{_XMP}}}Label", f"{{{_DC}}}subject"
_DESCRIPTION = f"{{{_RDF}}}Description"


@dataclass(frozen=True)
class Marks:
    """`stars` 0 (none) to 5, `tags` in the order in which they were given, and whether it is the `winner` of a grid."""

    stars: int = 0
    tags: tuple[str, ...] = ()
    winner: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.stars, int) or not 0 <= self.stars <= MOST_STARS:
            raise BadRequest(f"stars={self.stars!r}", expected=f"0 to {MOST_STARS}")


def sidecar(picture: Path) -> Path:
    """Where a picture's marks are, existing or not."""
    return picture.with_name(picture.name + SUFFIX)


def changed(picture: Path) -> int:
    """When a picture's marks were written, in nanoseconds; 0: it has none."""
    for path in (sidecar(picture), picture.with_suffix(OLD)):
        with contextlib.suppress(OSError):
            return min(path.stat().st_mtime_ns, (1 << 63) - 1)  # what SQLite holds
    return 0


def read(picture: Path) -> Marks:
    """A picture's marks; none where there is no sidecar, or one that is damaged."""
    found = _descriptions(_parsed(_content(sidecar(picture))))
    if not found:
        return _old(picture.with_suffix(OLD))
    stars = 0
    with contextlib.suppress(ValueError, OverflowError):
        stars = max(0, min(MOST_STARS, int(float(_value(found, _RATING)))))  # -1 is "rejected"
    items = [item for each in found for item in each.findall(f"{_SUBJECT}/*/{{{_RDF}}}li")]
    tags = tuple(dict.fromkeys(text for item in items if (text := " ".join((item.text or "").split()))))
    return Marks(stars, tags, _value(found, _LABEL) == _WINNER)


def write(picture: Path, marks: Marks) -> None:
    """Write a picture's marks. A sidecar that would hold nothing else is removed.

    Raises CannotWrite, and BadRequest for a tag that XML cannot hold.
    """
    if bad := [tag for tag in marks.tags if _NO_TAG.search(tag)]:
        raise BadRequest(f"the tag {bad[0]!r}", expected="one line of text")
    path, old = sidecar(picture), picture.with_suffix(OLD)
    try:
        _write(path, marks)
        if _old(old) != Marks():
            old.unlink(missing_ok=True)
    except OSError as error:
        raise CannotWrite(f"{path} cannot be written ({error.strerror or error})") from None


def change(picture: Path, how: Callable[[Marks], Marks]) -> None:
    """Change a picture's marks from what they are; of two processes that do, neither loses what the other wrote.

    Raises what `write` does.
    """
    with turn(picture.parent):
        write(picture, how(read(picture)))


def _write(path: Path, marks: Marks) -> None:
    content = _content(path)
    tree = _parsed(content)
    found = _descriptions(tree)
    if tree is None or not found:
        if marks == Marks():
            return
        if content.strip():
            path.rename(_aside(path))
        content, tree = b"", ElementTree.Element(f"{{{_X}}}xmpmeta")
        outer = ElementTree.SubElement(tree, f"{{{_RDF}}}RDF")
        found = [ElementTree.SubElement(outer, _DESCRIPTION, {f"{{{_RDF}}}about": ""})]
    _set(found, _RATING, str(marks.stars) if marks.stars else "")
    _set(found, _LABEL, _WINNER if marks.winner else "", only=_WINNER)
    for each in found:
        for subject in each.findall(_SUBJECT):
            each.remove(subject)
    if marks.tags:
        bag = ElementTree.SubElement(ElementTree.SubElement(found[0], _SUBJECT), f"{{{_RDF}}}Bag")
        for tag in marks.tags:
            ElementTree.SubElement(bag, f"{{{_RDF}}}li").text = tag
    if marks == Marks() and not any(len(each) or set(each.attrib) - {f"{{{_RDF}}}about"} for each in found):
        path.unlink(missing_ok=True)
        return
    for prefix, name in (*_prefixes(content), ("x", _X), ("rdf", _RDF), ("xmp", _XMP), ("dc", _DC)):
        with contextlib.suppress(ValueError):  # ns1, which is given to those without a name
            ElementTree.register_namespace(prefix, name)
    packets = _PACKET.findall(content)
    begin, end = (packets[0], packets[-1]) if len(packets) > 1 else (b"", b"")
    parts = ElementTree.tostring(tree, encoding="utf-8", xml_declaration=True).partition(b"\n")
    write_whole(path, b"\n".join(part for part in (parts[0], begin, parts[2], end) if part))


def _aside(path: Path) -> Path:
    """A free name for a sidecar that cannot be read."""
    number = 1
    while (aside := path.with_name(f"{path.name}.unreadable{number}")).exists():
        number += 1
    return aside


def _prefixes(content: bytes) -> list[tuple[str, str]]:
    """The namespaces of a file, as other programs call them."""
    if not content:
        return []
    return [each for _, each in ElementTree.iterparse(io.BytesIO(content), ("start-ns",)) if each[0]]


def _old(path: Path) -> Marks:
    """The rating of a cell as it was kept before it was an XMP sidecar: `{"rating": 4, "winner": false}`."""
    try:
        found = json.loads(path.read_bytes()) if path.stat().st_size < 1000 else None
        if isinstance(found, dict) and set(found) == {"rating", "winner"}:
            return Marks(max(0, min(MOST_STARS, int(found["rating"]))), (), bool(found["winner"]))
    except (OSError, ValueError, TypeError, OverflowError, RecursionError):
        pass
    return Marks()


def _content(path: Path) -> bytes:
    """A file's bytes; something that is no XML where it is too large or cannot be read, and none where it is not."""
    try:
        return path.read_bytes() if path.stat().st_size <= _LARGEST else b"too large"
    except OSError:
        return b"unreadable" if path.exists() else b""


def _parsed(content: bytes) -> ElementTree.Element | None:
    """The tree with its comments; none of what is no XML, and of what has entities, which could grow without end."""
    if not content or b"<!ENTITY" in content or b"\0" in content:
        return None
    try:
        builder = ElementTree.TreeBuilder(insert_comments=True, insert_pis=True)
        return ElementTree.fromstring(content, ElementTree.XMLParser(target=builder))
    except (ElementTree.ParseError, ValueError, LookupError):
        return None


def _descriptions(tree: ElementTree.Element | None) -> list[ElementTree.Element]:
    """What is said of the picture: some programs write one description, others one for each namespace."""
    return [each for rdf in (() if tree is None else tree.iter(f"{{{_RDF}}}RDF")) for each in rdf.findall(_DESCRIPTION)]


def _value(found: list[ElementTree.Element], name: str) -> str:
    """A property, which may stand as an attribute or as an element."""
    for each in found:
        element = each.find(name)
        value = each.get(name) if element is None else (element.text or "").strip()
        if value is not None:
            return value
    return ""


def _set(found: list[ElementTree.Element], name: str, value: str, only: str = "") -> None:
    """Set a property, or remove it for "". With `only` another value is somebody else's, and stays where "" comes."""
    if not value and only and _value(found, name) != only:
        return
    for each in found:
        for old in each.findall(name):
            each.remove(old)
        each.attrib.pop(name, None)
    if value:
        found[0].set(name, value)
