"""Artifact: a picture together with the recipe that made it and the trace of how. A PNG carries all three.

`read(path)` (public as `zk.open`) brings one back; `verify` reruns its recipe and says whether the pixels agree.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import files
from ..errors import BadRequest, NoRecipe, ZImageError
from ..files import portable, portable_json, portable_text
from . import png
from .identity import differences, library_versions
from .request import Request
from .verdict import Difference, Verdict, compare, judge

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Artifact", "Difference", "Trace", "Verdict", "library_versions", "read"]


LARGEST_PIXELS = 170_000_000
"""Of a picture that is read: more than the largest that is made here (2048x2048, enlarged four times: 67 million)."""


class Runs(Protocol):
    """What an artifact needs of a session."""

    def run(self, request: Request, *, fresh: bool = ...) -> Any:
        """Make the picture of a request."""

    def apply(self, picture: Any, *stages: Any) -> Artifact:
        """Run stages on a picture that is there already."""


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


class Trace(BaseModel):
    """How a picture came about. Times in milliseconds, memory in bytes.

    `milliseconds` and `peak_bytes` have the keys import and load (where that was needed), encode, denoise, decode,
    `stage 1 kind before` (what conditions), `stage 1 kind` (what transforms; `stage 1 kind: denoise` where it draws),
    and total. Peak is the device's allocated memory, on a CPU the process's high-water mark.
    """

    model_config = ConfigDict(frozen=True)

    created: str = Field(default_factory=_now, description="local time with offset, ISO 8601")
    model: str = ""
    fingerprint: str = Field("", description="of the model's files")
    device: str = ""
    dtype: str = ""
    placement: str = "resident"
    milliseconds: dict[str, float] = Field(default_factory=dict)
    step_milliseconds: tuple[float, ...] = ()
    peak_bytes: dict[str, int] = Field(default_factory=dict)
    sigmas: tuple[float, ...] = Field((), description="noise levels at which the transformer was evaluated")
    prompt_tokens: int | None = None
    unknown_words: tuple[str, ...] = Field((), description="words of the prompt that the model has never met")
    stage_versions: dict[str, int] = Field(default_factory=dict)
    pictures: dict[str, str] = Field(
        default_factory=dict, description="SHA-256 of the picture as drawn and after each stage; see Artifact.before"
    )
    models: dict[str, str] = Field(default_factory=dict, description="fingerprints of models that stages drew with")
    cached: bool = Field(False, description="the picture before the last stages came from the cache")
    notes: tuple[str, ...] = Field((), description="what the program chose for the user")
    versions: dict[str, str] = Field(default_factory=library_versions)
    settings: dict[str, str] = Field(
        default_factory=dict, description="what the user set: device, dtype, memory, speed"
    )
    identity: dict[str, str] = Field(
        default_factory=dict, description="what the pixels depend on: name to digest; see recipe/identity.py"
    )


class Artifact:
    """`image` (PIL, RGB or RGBA, 8 bits), `request` (the resolved recipe) and `trace`. Treat the picture as read-only.

    `path`: where it was saved to or read from last, else None.
    """

    def __init__(self, image: Image.Image, request: Request, trace: Trace, session: Runs | None = None) -> None:
        self.image, self.request, self.trace = image, request, trace
        self.path: Path | None = None
        self._session = session
        self._applied_to: Artifact | None = None

    @classmethod
    def from_image(cls, image: Image.Image) -> Artifact:
        """Any picture as an artifact, so that stages can be applied to it; an alpha channel is kept.

        Its recipe names the picture's SHA-256.
        """
        plain = _plain(image)
        return cls(plain, Request(source=picture_digest(plain)), Trace())

    @property
    def recipe(self) -> dict[str, Any]:
        """What the PNG's `zimage_kit` chunk holds: request and trace as JSON values."""
        trace = portable_json(self.trace.model_dump(mode="json"))
        return {
            "request": shareable(self.request),
            "trace": {**trace, "notes": list(map(portable_text, trace["notes"]))},
        }

    @cached_property
    def _png(self) -> bytes:
        software = f"zimage_kit {_own_version()}"
        recipe = json.dumps(self.recipe, ensure_ascii=False, separators=(",", ":"))
        request = Request(**shareable(self.request))
        line = png.parameters_line(request, self.trace.fingerprint, software)
        chunks = {png.RECIPE: recipe, png.PARAMETERS: line, png.SOFTWARE: software}
        return png.encode(self.image, chunks)

    def png_bytes(self) -> bytes:
        """The picture as PNG with its recipe. Encoded on the first call, in the caller's thread."""
        return self._png

    def save(self, path: str | os.PathLike[str] | None = None, *, folder: Path | None = None) -> Path:
        """Write the PNG, whole or not at all, and return its path. An existing file at `path` is replaced.

        Without a path: a new file `YYYY-MM-DD/HHMMSS-seed-slug.png` in `folder`, or else in the outputs folder. Raises
        CannotWrite.
        """
        if path is not None:
            self.path = files.check_picture_path(path)
            files.write_whole(self.path, self.png_bytes())
            return self.path
        from ..library.store import path_for  # above: only where a picture is to be kept is asked of it

        while True:
            target = path_for(self, folder)
            try:
                files.write_whole(target, self.png_bytes(), replace=False)
            except FileExistsError:
                continue  # another process took the name in this moment: the next one is free
            self.path = target
            return target

    def connect(self, session: Runs) -> None:
        """Let `then`, `before` and `verify` run on this session instead of `zk.connect()`'s."""
        self._session = session

    def then(self, *stages: Any) -> Artifact:
        """A new artifact with these stages applied, on the session that made this one (or `zk.connect()`)."""
        return self._connected().apply(self, *stages)

    def before(self, stages: int = 1) -> Artifact:
        """The picture as it was before its last stage, or its last few, for a comparison.

        It is at hand, comes out of the session's cache, or is made again by its recipe; then it must have the pixels
        that the trace says, or ZImageError is raised. Raises BadRequest when there are not so many stages, and NoRecipe
        for a picture whose recipe starts from one that is not here.
        """
        kinds = [stage.kind for stage in self.request.stages]
        if not 1 <= stages <= len(kinds):
            raise BadRequest(f"before({stages})", expected=f"1 to {len(kinds)}, its stages" if kinds else "a stage")
        left = len(kinds) - stages
        if (origin := self._applied_to) is not None:
            had = len(origin.request.stages)
            if left == had:
                return origin
            return origin.before(had - left) if left < had else origin.then(*self.request.stages[had:left])
        if self.request.source is not None:
            raise NoRecipe("the picture that these stages were applied to is not here", mend="Open it itself.")
        session = self._connected()
        found: Artifact = session.run(self.request.but(stages=self.request.stages[:left]))
        marks = [name for name in self.trace.pictures if name == "drawn" or int(name.split()[1]) <= left]
        if marks and self.trace.pictures[marks[-1]] != picture_digest(found.image):
            raise ZImageError(
                "the picture before the stage came out differently here", mend="artifact.verify() says what differs."
            )
        return found

    def verify(self, session: Runs | None = None) -> Verdict:
        """Rerun the recipe without any cache and compare: identical, within tolerance or different, and why.

        Raises what `session.run` raises, and NoRecipe when the recipe starts from a picture that is not ours.
        """
        session = session or self._connected()
        again: Artifact = session.run(self.request, fresh=True)
        return judge(self.image, again.image, differences(_known(self.trace), _known(again.trace)))

    def _connected(self) -> Runs:
        if self._session is None:
            from zimage_kit import connect  # the package's front door: a picture read from a file has no session yet

            return connect()
        return self._session

    def diff(self, other: Artifact) -> Difference:
        """What differs between two artifacts: fields of the recipe, and pixels when the sizes agree."""
        mine, theirs = self.request.model_dump(mode="json"), other.request.model_dump(mode="json")
        fields = {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}
        same_size = self.image.size == other.image.size
        return Difference(fields=fields, pixels=compare(self.image, other.image) if same_size else None)

    def __repr__(self) -> str:
        r, size = self.request, f"{self.image.width}x{self.image.height}"
        stages = "".join(f" + {stage.kind}" for stage in r.stages)
        made = f"{r.prompt!r}, {r.model}, seed {r.seed}" if r.source is None else "a picture"
        return f"<Artifact {size}: {made}{stages}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """JPEG for the notebook, which keeps what it shows; the PNG is what `save` writes."""
        from PIL import Image

        out, image = io.BytesIO(), self.image
        if image.mode == "RGBA":  # JPEG has no alpha
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
        image.save(out, "JPEG", quality=90)
        return {"image/jpeg": out.getvalue(), "text/plain": repr(self)}


def _plain(image: Image.Image) -> Image.Image:
    """The picture as RGB, or as RGBA where something of it is not opaque."""
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        if with_alpha.getchannel("A").getextrema() != (255, 255):
            return with_alpha
    return image.convert("RGB")


def picture_digest(image: Image.Image) -> str:
    """SHA-256 of a picture's size and pixels."""
    return hashlib.sha256(f"{image.width}x{image.height}\0".encode() + image.tobytes()).hexdigest()


def _own_version() -> str:
    from zimage_kit import __version__

    return __version__


def shareable(request: Request) -> dict[str, Any]:
    """A request as JSON values for a file that may be handed on: paths below the user's home begin with ~."""
    data = request.model_dump(mode="json")
    data["model"] = portable(data["model"]) if data["model"] else None
    for lora in data["loras"]:
        lora["path"] = portable(lora["path"])
    for stage in data["stages"]:
        paths = {name: value for name, value in stage.items() if isinstance(value, str) and value.startswith(os.sep)}
        stage.update({name: portable(value) for name, value in paths.items() if Path(value).exists()})
    return data


def _known(trace: Trace) -> dict[str, str]:
    """A picture's identity; of one that was made before traces had it, what there is of it."""
    if trace.identity:
        return trace.identity
    return {"model": trace.fingerprint, "dtype": trace.dtype, **trace.versions}


def read(path: str | os.PathLike[str] | bytes) -> Artifact:
    """Read a PNG, a file or its bytes, back with its recipe and trace.

    Without our chunk an A1111 `parameters` line is read as far as it goes; what was left out stands in `trace.notes`.
    Raises NoRecipe for files that are no picture or do not say how they were made.
    """
    source, path = (io.BytesIO(path), Path("the file")) if isinstance(path, bytes) else (None, Path(path).expanduser())
    try:
        with _opened(source or path) as file:
            texts = {key: value for key, value in file.info.items() if isinstance(value, str)}
            sheet = png.GRID in texts or _marked(file.info.get("comment"))
            image = _plain(file)
    except FileNotFoundError:
        raise NoRecipe(f"there is no file {path}") from None
    except _UNREADABLE as error:
        reason = "" if source else f" ({error})"
        raise NoRecipe(f"{path} is not a readable picture{reason}", mend="Give a PNG made by zimage_kit.") from None
    if sheet:
        raise NoRecipe(f"{path} is a contact sheet", expected="one picture", mend="zk.Grid.open(path) opens it.")
    if png.RECIPE in texts:
        artifact = _from_recipe(path, image, texts[png.RECIPE])
        artifact.path = None if source else path
        return artifact
    fields, other = png.read_parameters(texts.get(png.PARAMETERS, ""))
    if fields:
        return _from_parameters(image, fields, other)
    if "workflow" in texts or "prompt" in texts:
        raise NoRecipe(f"{path} carries a ComfyUI workflow, which is no recipe of ours", mend="Open it in ComfyUI.")
    raise NoRecipe(
        f"{path} carries no recipe",
        expected="a PNG made by zimage_kit, or one with an A1111 parameters line",
        mend="Pictures lose their recipe when they are edited, screenshot or sent through most messengers.",
    )


def read_any(path: str | os.PathLike[str]) -> Artifact:
    """`read`, or any other picture file as an artifact without a recipe. Raises NoRecipe for what is no picture."""
    try:
        return read(path)
    except NoRecipe:
        try:
            with _opened(Path(path).expanduser()) as file:
                return Artifact.from_image(file)
        except _UNREADABLE:
            pass  # the first error says it better
        raise


_UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, RuntimeError, struct.error, zlib.error, MemoryError)
"""What Pillow raises for files that are cut off, foreign or hostile."""


@contextmanager
def _opened(file: io.BytesIO | Path) -> Iterator[Image.Image]:
    """A picture file, once its size is one that we would read. Raises OSError for a larger one, before any pixel."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is ours
        try:
            opened = Image.open(file)
        except Image.DecompressionBombError as error:
            raise OSError(f"too large to be a picture: {error}") from None
    with opened:
        if opened.width * opened.height > LARGEST_PIXELS:
            raise OSError(f"{opened.width}x{opened.height} pixels; at most {LARGEST_PIXELS / 1e6:.0f} million are read")
        yield opened


def read_recipe(path: Path) -> tuple[Request, Trace, tuple[int, int]]:
    """Request, trace and size (width, height) of a PNG of ours, without decoding its pixels. Raises NoRecipe."""
    try:
        with _opened(path) as file:
            text, size = file.info.get(png.RECIPE), file.size
    except _UNREADABLE as error:
        raise NoRecipe(f"{path} cannot be read ({error})") from None
    if not isinstance(text, str):
        raise NoRecipe(f"{path} carries no recipe of ours")
    request, trace = _parse(path, text)
    return request, trace, size


def _marked(comment: object) -> bool:
    """Whether a JPEG's comment is a contact sheet's recipe, or a part of it."""
    return isinstance(comment, bytes) and comment.startswith(png.GRID.encode())


def _from_recipe(path: Path, image: Image.Image, text: str) -> Artifact:
    return Artifact(image, *_parse(path, text))


def _parse(path: Path, text: str) -> tuple[Request, Trace]:
    try:
        data = json.loads(text)
        return Request(**data["request"]), Trace(**data["trace"])
    except (ValueError, TypeError, KeyError, RecursionError, ValidationError, ZImageError) as error:
        reason = " ".join(str(error).split())
        raise NoRecipe(
            f"{path} carries a recipe that this version cannot read ({reason})", mend="Update zimage_kit."
        ) from None


def _from_parameters(image: Image.Image, fields: dict[str, Any], other: dict[str, str]) -> Artifact:
    notes = ["recipe read from an A1111 parameters line, so the picture may not come out the same"]
    if not other.get("Version", "").startswith("zimage_kit"):
        notes.append(f"model {fields.pop('model', 'not named')}: left open, its name means nothing here")
    request = Request(prompt=fields.pop("prompt"), negative_prompt=fields.pop("negative_prompt"))
    for name, value in fields.items():
        try:
            request = request.but(**{name: value})
        except ZImageError as error:
            notes.append(f"left out: {error}")
    notes += [f"left out: {key}: {value}" for key, value in other.items() if key not in ("Version", "Model hash")]
    return Artifact(image, request, Trace(model=request.model or "", notes=tuple(notes)))
