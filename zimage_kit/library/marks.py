"""Stars, tags and winners: what people say of a picture, in a file beside it.

It is an XMP sidecar, `picture.png.xmp`, as darktable and digiKam write and read it, so that stars given here are seen
there and the other way round; what else such a file holds is kept.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from ..errors import BadRequest
from ..files import write_whole

MOST_STARS = 5
SUFFIX = ".xmp"
OLD = ".json"
"""Of a cell's rating, as grids kept it before; it is read where there is no sidecar."""
_WINNER = "winner"
_LARGEST = 1 << 20  # bytes of a sidecar that is read
_X, _RDF = "adobe:ns:meta/", "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_XMP, _DC = "http://ns.adobe.com/xap/1.0/", "http://purl.org/dc/elements/1.1/"
_RATING, _LABEL, _SUBJECT = f"{{{_XMP}}}Rating", f"{{{_XMP}}}Label", f"{{{_DC}}}subject"


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
            return path.stat().st_mtime_ns
    return 0


def read(picture: Path) -> Marks:
    """A picture's marks; none where there is no sidecar, or one that is damaged."""
    description = _description(_parsed(sidecar(picture)))
    if description is None:
        return _old(picture.with_suffix(OLD))
    stars = 0
    with contextlib.suppress(ValueError):
        stars = max(0, min(MOST_STARS, int(float(_value(description, _RATING)))))  # -1 is "rejected"
    items = description.findall(f"{_SUBJECT}/{{{_RDF}}}Bag/{{{_RDF}}}li")
    tags = tuple(dict.fromkeys(text for item in items if (text := (item.text or "").strip())))
    return Marks(stars, tags, _value(description, _LABEL) == _WINNER)


def write(picture: Path, marks: Marks) -> None:
    """Write a picture's marks. A sidecar that would hold nothing else is removed. Raises CannotWrite."""
    path, old = sidecar(picture), picture.with_suffix(OLD)
    if not path.exists() and _old(old) != Marks():
        old.unlink(missing_ok=True)
    tree = _parsed(path)
    description = _description(tree)
    if description is None or tree is None:
        if marks == Marks():
            path.unlink(missing_ok=True)
            return
        tree = ElementTree.Element(f"{{{_X}}}xmpmeta")
        outer = ElementTree.SubElement(tree, f"{{{_RDF}}}RDF")
        description = ElementTree.SubElement(outer, f"{{{_RDF}}}Description", {f"{{{_RDF}}}about": ""})
    _set(description, _RATING, str(marks.stars) if marks.stars else "")
    _set(description, _LABEL, _WINNER if marks.winner else "", only=_WINNER)
    for subject in description.findall(_SUBJECT):
        description.remove(subject)
    if marks.tags:
        bag = ElementTree.SubElement(ElementTree.SubElement(description, _SUBJECT), f"{{{_RDF}}}Bag")
        for tag in marks.tags:
            ElementTree.SubElement(bag, f"{{{_RDF}}}li").text = tag
    if marks == Marks() and not len(description) and set(description.attrib) <= {f"{{{_RDF}}}about"}:
        path.unlink(missing_ok=True)
        return
    for prefix, name in (("x", _X), ("rdf", _RDF), ("xmp", _XMP), ("dc", _DC)):
        ElementTree.register_namespace(prefix, name)
    write_whole(path, ElementTree.tostring(tree, encoding="utf-8", xml_declaration=True))


def _old(path: Path) -> Marks:
    """The rating of a cell as it was kept before it was an XMP sidecar: `{"rating": 4, "winner": false}`."""
    try:
        found = json.loads(path.read_bytes()) if path.stat().st_size < 1000 else None
        if isinstance(found, dict) and set(found) == {"rating", "winner"}:
            return Marks(max(0, min(MOST_STARS, int(found["rating"]))), (), bool(found["winner"]))
    except (OSError, ValueError, TypeError):
        pass
    return Marks()


def _parsed(path: Path) -> ElementTree.Element | None:
    try:
        if path.stat().st_size > _LARGEST:
            return None
        return ElementTree.fromstring(path.read_bytes())
    except (OSError, ElementTree.ParseError, ValueError):
        return None


def _description(tree: ElementTree.Element | None) -> ElementTree.Element | None:
    return None if tree is None else tree.find(f".//{{{_RDF}}}Description")


def _value(description: ElementTree.Element, name: str) -> str:
    """A property, which may stand as an attribute or as an element."""
    element = description.find(name)
    return description.get(name, "") if element is None else (element.text or "").strip()


def _set(description: ElementTree.Element, name: str, value: str, only: str = "") -> None:
    """Set a property, or remove it for "". With `only` another value is somebody else's, and stays where "" comes."""
    if not value and only and _value(description, name) != only:
        return
    for old in description.findall(name):
        description.remove(old)
    description.attrib.pop(name, None)
    if value:
        description.set(name, value)
