"""How a recipe travels inside a PNG: our JSON chunk, and the A1111 line that other tools read too (see `foreign`)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

    from .request import Request

RECIPE, PARAMETERS, SOFTWARE = "zimage_kit", "parameters", "Software"
GRID = "zimage_kit_grid"
"""The chunk of a contact sheet, which carries a grid's recipe instead of a picture's."""
_COMPRESSION = 4
"""zlib's level: at 1024x1024 about half the time of the default 6, for a few per cent more bytes."""


def encode(image: Image.Image, chunks: dict[str, str]) -> bytes:
    """The picture as PNG bytes with one UTF-8 text chunk (iTXt) for each entry of `chunks`."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, text in chunks.items():
        info.add_itxt(key, text)
    out = io.BytesIO()
    image.save(out, "PNG", pnginfo=info, compress_level=_COMPRESSION)
    return out.getvalue()


_USER_COMMENT, _EXIF_PART = 0x9286, 0x8769


def texts(file: Image.Image) -> dict[str, str]:
    """The texts of an opened picture by their names; an EXIF UserComment, of a JPEG or WebP, as A1111's parameters."""
    found = {str(key): _utf8(value) for key, value in file.info.items() if isinstance(value, str)}
    if PARAMETERS not in found:
        comment = file.getexif().get_ifd(_EXIF_PART).get(_USER_COMMENT)
        if text := comment if isinstance(comment, str) else _comment(comment) if isinstance(comment, bytes) else "":
            found[PARAMETERS] = text
    return found


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


def parameters_line(request: Request, fingerprint: str, software: str) -> str:
    """The A1111 text: prompt, negative prompt, and one line of settings.

    A1111's CFG scale multiplies (cond - uncond) from uncond and so is 1 + our guidance: guidance 0 is CFG scale 1.
    """
    settings: dict[str, Any] = {"Steps": request.steps, "Sampler": "Euler", "Schedule type": "Flow match"}
    if request.guidance is not None:
        settings["CFG scale"] = f"{1 + request.guidance:g}"
    settings["Seed"] = request.seed
    if request.width and request.height:
        settings["Size"] = f"{request.width}x{request.height}"
    settings |= {"Model hash": fingerprint or None, "Model": request.model, "Version": software}
    line = ", ".join(f"{key}: {_quoted(str(value))}" for key, value in settings.items() if value is not None)
    negative = f"\nNegative prompt: {request.negative_prompt}" if request.negative_prompt else ""
    return f"{request.prompt}{negative}\n{line}"


def _quoted(value: str) -> str:
    return f'"{value}"' if "," in value or ":" in value else value
