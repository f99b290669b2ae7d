"""How a recipe travels inside JPEG and WebP, and how texts are read from any picture file.

The A1111 line goes into EXIF's UserComment, where other programs look for it, and our JSON into XMP. A viewer that
saves such a file anew may drop either.
"""

from __future__ import annotations

import html
import io
import re
from typing import TYPE_CHECKING

from ..errors import CannotWrite
from .picture import on_white
from .png import PARAMETERS, RECIPE, SOFTWARE

if TYPE_CHECKING:
    from PIL import Image

LOSSY = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""The formats beside PNG that carry a recipe, by their endings."""
_USER_COMMENT, _EXIF_PART, _SOFTWARE = 0x9286, 0x8769, 0x0131
_GRAPH_TAGS = (0x010E, 0x010F, 0x0110)
"""In which ComfyUI writes "prompt:" and "workflow:" into WebP and JPEG: description, make, model."""
_LONGEST = {"JPEG": 65_500, "WEBP": 16_383}
"""Pixels: the longest side that libjpeg and WebP write."""
_SEGMENT = 65_000
"""Bytes: the most that a segment of a JPEG holds."""
_NAMESPACE = "urn:zimage_kit"
_XMP = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
    'xmlns:zk="{namespace}"><zk:recipe>{recipe}</zk:recipe></rdf:Description></rdf:RDF></x:xmpmeta>'
    '<?xpacket end="w"?>'
)


def encode(image: Image.Image, ending: str, chunks: dict[str, str], quality: int) -> bytes:
    """The picture as JPEG or WebP bytes in sRGB. `chunks` as for `png.encode`; `quality` 1 … 100.

    JPEG has no transparency: what is transparent becomes white. Raises CannotWrite for a recipe that is too long, and
    a picture that is too large.
    """
    from PIL import Image as Pictures
    from PIL import ImageCms

    kind = LOSSY[ending]
    most = _LONGEST[kind]
    if max(image.size) > most:
        seen = f"{image.width}x{image.height} pixels in a {kind}"
        raise CannotWrite(seen, expected=f"at most {most} on a side", mend="Save it as PNG.")
    if kind == "JPEG":
        image = on_white(image)
    exif = Pictures.Exif()
    if SOFTWARE in chunks:
        exif[_SOFTWARE] = chunks[SOFTWARE]
    if PARAMETERS in chunks:
        exif.get_ifd(_EXIF_PART)[_USER_COMMENT] = b"UNICODE\0" + chunks[PARAMETERS].encode("utf-16-be")
    escaped = html.escape(chunks.get(RECIPE, ""), quote=False)
    xmp = _XMP.format(namespace=_NAMESPACE, recipe=escaped).encode() if escaped else b""
    if kind == "JPEG" and max(len(exif.tobytes()), len(xmp)) > _SEGMENT:
        raise CannotWrite("the recipe is too long for a JPEG", expected="at most 65 kB", mend="Save it as PNG or WebP.")
    out, profile = io.BytesIO(), ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    more = {"subsampling": 0} if kind == "JPEG" and quality >= 90 else {"method": 4} if kind == "WEBP" else {}
    image.save(out, kind, quality=quality, exif=exif, icc_profile=profile, **({"xmp": xmp} if xmp else {}), **more)
    return out.getvalue()


def texts(file: Image.Image) -> dict[str, str]:
    """The texts of an opened picture by their names: a PNG's chunks; of other formats what EXIF and XMP hold.

    "xmp" is the whole packet, where it has a comment.
    """
    from PIL.PngImagePlugin import iTXt

    found = {
        str(key): value if isinstance(value, iTXt) else _utf8(value)  # an iTXt chunk is UTF-8 by the standard
        for key, value in file.info.items()
        if isinstance(value, str)
    }
    if PARAMETERS not in found:
        comment = file.getexif().get_ifd(_EXIF_PART).get(_USER_COMMENT)
        if text := comment if isinstance(comment, str) else _comment(comment) if isinstance(comment, bytes) else "":
            found[PARAMETERS] = text
    xmp = file.info.get("xmp")
    if isinstance(xmp, bytes):
        packet = xmp.decode("utf-8", "replace")
        if RECIPE not in found and (recipe := _from_xmp(packet)):
            found[RECIPE] = recipe
        if "<exif:UserComment>" in packet:
            found["xmp"] = packet
    for tag in () if found else _GRAPH_TAGS:  # a PNG's EXIF may lie behind all of its pixels
        name, _, graph = str(file.getexif().get(tag, "")).partition(":")
        if name.lower() in ("prompt", "workflow"):
            found.setdefault(name.lower(), graph)
    return found


def _from_xmp(packet: str) -> str:
    """Our JSON, as an element or as an attribute, under whatever prefix an editor has given our namespace."""
    prefix = re.search(rf'xmlns:(\w+)=["\']{re.escape(_NAMESPACE)}["\']', packet)
    if prefix is None:
        return ""
    inside = element(packet, f"{prefix[1]}:recipe")
    attribute = re.search(rf'\b{re.escape(prefix[1])}:recipe=(?:"([^"]*)"|\'([^\']*)\')', packet)
    found = inside if inside is not None else (attribute[1] or attribute[2]) if attribute else ""
    return html.unescape(found)


def element(packet: str, name: str) -> str | None:
    """What stands in the first element of this name, as it is written; None where there is none.

    By `find`, not by a pattern, which would look for the end again from each of a million beginnings.
    """
    start = packet.find(f"<{name}")
    inside = packet.find(">", start) + 1 if start >= 0 else 0
    end = packet.find(f"</{name}>", inside) if inside else -1
    return packet[inside:end] if end >= 0 else None


def _utf8(text: str) -> str:
    """A PNG's tEXt chunk is Latin-1 by the standard, but many programs write UTF-8 into it."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _comment(value: bytes) -> str:
    """An EXIF UserComment: eight bytes name its encoding. UTF-16 comes in both orders of bytes."""
    kind, body = value[:8], value[8:]
    if kind.startswith(b"UNICODE"):
        big = body[:2] == b"\xfe\xff" or (body[:2] != b"\xff\xfe" and body[0::2].count(0) >= body[1::2].count(0))
        return body.decode("utf-16-be" if big else "utf-16-le", "replace").strip("\ufeff\0")
    if not kind.startswith((b"ASCII", b"\0\0\0\0", b"JIS")):
        body = value  # written without the name
    return body.decode("utf-8", "replace").strip("\0")
