"""Artifact: a picture with the recipe that made it and the trace of how it was made. A file carries all three.

`read(path)` (public as `zk.open`) reads one; `verify` reruns its recipe and compares the pixels.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import files
from ..errors import BadRequest, NoRecipe, ZImageError
from ..files import portable, portable_json, portable_text
from . import asset, embedded, picture, png, programs, templates
from .identity import differences, library_versions
from .request import Request
from .verdict import Difference, Verdict, compare, judge

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["Artifact", "Difference", "Trace", "Verdict", "library_versions", "read"]


class SessionLike(Protocol):
    """What an artifact needs of a session."""

    def run(self, request: Request, on_event: Callable[[Any], None] | None = ..., *, fresh: bool = ...) -> Any:
        """Make a request's picture."""

    def apply(self, picture: Any, *stages: Any) -> Artifact:
        """Run stages on a finished picture."""


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


class Trace(BaseModel):
    """How a picture was made. Times in milliseconds, memory in bytes.

    `milliseconds` and `peak_bytes` have the keys import and load (if needed), encode, denoise, decode,
    `stage 1 kind before` (its `before`), `stage 1 kind` (its `after`; `stage 1 kind: denoise` if that draws), and
    total. The peak is the device's allocated memory, on a CPU the process's high-water mark.
    """

    model_config = ConfigDict(frozen=True)

    created: str = Field(default_factory=_now, description="local time with offset, ISO 8601")
    model: str = ""
    fingerprint: str = Field("", description="of the model's files")
    device: str = ""
    dtype: str = ""
    placement: str = "resident"
    plan: dict[str, Any] = Field(
        default_factory=dict, description="what was on the device and what was streamed, predicted bytes and seconds"
    )
    milliseconds: dict[str, float] = Field(default_factory=dict)
    step_milliseconds: tuple[float, ...] = ()
    peak_bytes: dict[str, int] = Field(default_factory=dict)
    sigmas: tuple[float, ...] = Field((), description="noise levels at which the transformer was evaluated")
    prompt_tokens: int | None = None
    unknown_words: tuple[str, ...] = Field((), description="words of the prompt that the model does not know")
    stage_versions: dict[str, int] = Field(default_factory=dict)
    pictures: dict[str, str] = Field(
        default_factory=dict, description="SHA-256 of the picture as drawn and after each stage; see Artifact.before"
    )
    models: dict[str, str] = Field(default_factory=dict, description="fingerprints of the models used by stages")
    cached: bool = Field(False, description="the picture before the last stages came from the cache")
    derived: tuple[str, ...] = Field(
        (), description="fields of the recipe that nobody gave: steps, or stages.0.body; see Artifact.reopened"
    )
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

    `path`: where it was last saved to or read from, else None.
    """

    def __init__(self, image: Image.Image, request: Request, trace: Trace, session: SessionLike | None = None) -> None:
        self.image, self.request, self.trace = image, request, trace
        self.path: Path | None = None
        self._session = session
        self._applied_to: Artifact | None = None
        self._lossy = ""  # the format of the file that it was read from, if that does not keep every pixel

    @classmethod
    def from_image(cls, image: Image.Image) -> Artifact:
        """Wrap any picture, so that stages can be applied to it; an alpha channel is kept.

        The recipe identifies the picture by its SHA-256.
        """
        try:
            plain, notes = picture.plain(image)
        except picture.UNREADABLE as error:
            raise NoRecipe(f"the picture cannot be decoded ({error})", mend="Take another copy of the file.") from None
        return cls(plain, Request(source=picture_digest(plain)), Trace(notes=notes))

    @property
    def recipe(self) -> dict[str, Any]:
        """The content of the PNG's `zimage_kit` chunk: request and trace as JSON values."""
        trace = portable_json(self.trace.model_dump(mode="json"))
        return {
            "request": shareable(self.request),
            "trace": {**trace, "notes": list(map(portable_text, trace["notes"]))},
        }

    @property
    def _chunks(self) -> dict[str, str]:
        """What a file carries beside the pixels."""
        software = f"zimage_kit {_own_version()}"
        recipe = json.dumps(self.recipe, ensure_ascii=False, separators=(",", ":"))
        request = Request(**shareable(self.request))
        line = png.parameters_line(request, self.trace.fingerprint, software)
        return {png.RECIPE: recipe, png.PARAMETERS: line, png.SOFTWARE: software}

    @cached_property
    def _png(self) -> bytes:
        return png.encode(self.image, self._chunks)

    def png_bytes(self) -> bytes:
        """The picture as PNG bytes with its recipe. Encoded on the first call, in the caller's thread."""
        return self._png

    def encoded(self, ending: str = ".png", *, quality: int = 92, recipe: bool = True) -> bytes:
        """The picture as bytes of a .png, .jpg or .webp file in sRGB; `recipe=False` leaves the recipe out.

        JPEG and WebP lose some detail, more with a lower `quality` (1 … 100); what is transparent becomes white in a
        JPEG. Raises CannotWrite and BadRequest.
        """
        if not isinstance(quality, int) or not 1 <= quality <= 100:
            raise BadRequest(f"quality={quality!r}", expected="a whole number, 1 to 100")
        if ending in embedded.LOSSY:
            return embedded.encode(self.image, ending, self._chunks if recipe else {}, quality)
        return self._png if recipe else png.encode(self.image, {})

    def save(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        folder: Path | None = None,
        quality: int = 92,
        recipe: bool = True,
    ) -> Path:
        """Write a .png, .jpg or .webp file atomically and return its path. An existing file at `path` is replaced.

        Without a path: a new file `YYYY-MM-DD/HHMMSS-seed-slug.png` in `folder`, by default the outputs folder. PNG
        keeps every pixel; of the others, and of `quality` and `recipe`, see `encoded`. The recipe's inputs are kept in
        the outputs folder, see `recipe/asset.py`. Raises CannotWrite.
        """
        if recipe:
            asset.keep_all(self.request, folder)
        if path is not None:
            self.path = files.check_picture_path(path)
            content = self.encoded(self.path.suffix.lower(), quality=quality, recipe=recipe)
            files.write_whole(self.path, content)
            return self.path
        from ..library.store import path_for  # from a room above, only for the name of a new file

        while True:
            target = path_for(self, folder)
            try:
                files.write_whole(target, self.png_bytes(), replace=False)
            except FileExistsError:
                continue  # another process has just taken the name: try the next one
            self.path = target
            return target

    def connect(self, session: SessionLike) -> None:
        """Let `then`, `before` and `verify` run on this session instead of `zk.connect()`'s."""
        self._session = session

    def then(self, *stages: Any) -> Artifact:
        """Return a new artifact with these stages applied, by the session that made this one (or `zk.connect()`)."""
        return self._connected().apply(self, *stages)

    def before(self, stages: int = 1, on_event: Callable[[Any], None] | None = None) -> Artifact:
        """Return the picture as it was before its last stage, or its last few, for a comparison.

        `on_event` hears the job, if it is made again.

        It is still in memory, comes from the session's cache, or is made again from its recipe. In the last case
        ZImageError is raised if the pixels differ from the trace's digest. Raises BadRequest when there are fewer
        stages, and NoRecipe when the recipe starts from a picture that it does not contain.
        """
        kinds = [stage.kind for stage in self.request.stages]
        if not 1 <= stages <= len(kinds):
            expected = f"1 to {len(kinds)}, the number of its stages" if kinds else "a picture with stages"
            raise BadRequest(f"before({stages})", expected=expected)
        left = len(kinds) - stages
        if (origin := self._applied_to) is not None:
            had = len(origin.request.stages)
            if left == had:
                return origin
            return origin.before(had - left, on_event) if left < had else origin.then(*self.request.stages[had:left])
        if self.request.source is not None:
            raise NoRecipe(
                "the recipe does not contain the picture that these stages were applied to", mend="Open that picture."
            )
        session = self._connected()
        found: Artifact = session.run(self.request.but(stages=self.request.stages[:left]), on_event)
        marks = [name for name in self.trace.pictures if name == "drawn" or int(name.split()[1]) <= left]
        if marks and self.trace.pictures[marks[-1]] != picture_digest(found.image):
            raise ZImageError(
                "the picture before the stage, made again, has other pixels", mend="artifact.verify() says why."
            )
        return found

    def verify(self, session: SessionLike | None = None) -> Verdict:
        """Rerun the recipe without any cache and compare: identical, within tolerance or different, and why.

        Raises what `session.run` raises, and NoRecipe when the recipe starts from a picture that it does not contain.
        """
        session = session or self._connected()
        rerun: Artifact = session.run(self.request, fresh=True)
        found = judge(self.image, rerun.image, differences(_identity(self.trace), _identity(rerun.trace)))
        if self._lossy and found.state != "identical":
            same = picture_digest(rerun.image) in list(self.trace.pictures.values())[-1:]
            why = f"the file is a {self._lossy}, which does not keep every pixel"
            more = "; made again, the picture is the one that it was saved from" if same else ""
            found = Verdict("within tolerance" if same else found.state, found.pixels, (why + more, *found.reasons))
        return found

    def _connected(self) -> SessionLike:
        if self._session is None:
            from zimage_kit import connect  # here, as it is above this room: a picture from a file has no session

            return connect()
        return self._session

    def reopened(self, *, seed: bool = True) -> Request:
        """The recipe as it was asked for: what nobody gave is open again, and follows another model or another stage.

        `seed`: whether the seed stays, a random one too. `request` is the recipe with everything as it was.
        """
        found = self.request.opened(name for name in self.trace.derived if name != "seed")
        return found if seed else found.but(seed=None)

    def diff(self, other: Artifact) -> Difference:
        """Compare two artifacts: fields of the recipe, and pixels if the sizes are equal."""
        mine, theirs = (asset.without_origins(each.request.model_dump(mode="json")) for each in (self, other))
        fields = {name: (mine[name], theirs[name]) for name in mine if mine[name] != theirs[name]}
        same_size = self.image.size == other.image.size
        return Difference(
            fields=fields,
            pixels=compare(self.image, other.image) if same_size else None,
            inputs=tuple(asset.compared(self.request, other.request)),
        )

    def __repr__(self) -> str:
        r, size = self.request, f"{self.image.width}x{self.image.height}"
        stages = "".join(f" + {stage.kind}" for stage in r.stages)
        made = f"{r.prompt!r}, {r.model}, seed {r.seed}" if r.source is None else "a picture"
        return f"<Artifact {size}: {made}{stages}>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        """JPEG for the notebook, which stores its outputs; `save` writes the PNG."""
        out = io.BytesIO()
        picture.on_white(self.image).save(out, "JPEG", quality=90)
        return {"image/jpeg": out.getvalue(), "text/plain": repr(self)}


def picture_digest(image: Image.Image) -> str:
    """SHA-256 of a picture's size and pixels, hexadecimal."""
    return hashlib.sha256(f"{image.width}x{image.height}\0".encode() + image.tobytes()).hexdigest()


def _own_version() -> str:
    from zimage_kit import __version__

    return __version__


def shareable(request: Request) -> dict[str, Any]:
    """A request as JSON values for a file that may be shared: paths below the home folder begin with ~."""
    data = request.model_dump(mode="json")
    data["model"] = portable(data["model"]) if data["model"] else None
    for lora in data["loras"]:
        lora["path"] = portable(lora["path"])
    for stage in data["stages"]:
        paths = {name: value for name, value in stage.items() if isinstance(value, str) and value.startswith(os.sep)}
        stage.update({name: portable(value) for name, value in paths.items() if Path(value).exists()})
    return data


def _identity(trace: Trace) -> dict[str, str]:
    """A picture's identity; for one made before traces had it, the parts that they did have."""
    if trace.identity:
        return trace.identity
    return {"model": trace.fingerprint, "dtype": trace.dtype, **trace.versions}


def read(path: str | os.PathLike[str] | bytes) -> Artifact:
    """Read a PNG, JPEG or WebP file, from a path or its bytes, with its recipe and trace.

    Without our chunk an A1111 `parameters` line is read as far as possible; `trace.notes` says what was left out.
    Raises NoRecipe for a file that is not a picture or has no recipe.
    """
    from PIL import UnidentifiedImageError

    source, path = (
        (io.BytesIO(path), Path("the file")) if isinstance(path, bytes) else (None, files.expanded(Path(path)))
    )
    if source is None:
        files.check_allowed(path)
    try:
        with picture.opened(source or path) as file:
            texts = embedded.texts(file)
            sheet = png.GRID in texts or _marked(file.info.get("comment"))
            image, changes = picture.plain(file)
            lossy = file.format if file.format in embedded.LOSSY.values() else ""
    except FileNotFoundError:
        raise NoRecipe(f"there is no file {path}") from None
    except picture.UNREADABLE as error:
        told = getattr(error, "strerror", None) or " ".join(str(error).split())
        why = "unknown format" if isinstance(error, UnidentifiedImageError) else told
        reason = "" if source else f" ({why or 'it is cut off'})"
        mend = "Save it as PNG, JPEG or WebP." if path.suffix.lower() in (".heic", ".heif", ".psd", ".svg") else ""
        raise NoRecipe(f"{path} is not a readable picture{reason}", mend=mend) from None
    if sheet:
        raise NoRecipe(f"{path} is a contact sheet", expected="one picture", mend="zk.Grid.open(path) opens it.")
    if png.RECIPE in texts:
        artifact = _from_recipe(path, image, texts[png.RECIPE])
        artifact.path, artifact._lossy = None if source else path, lossy or ""
        return artifact
    if (found := programs.read_foreign(texts)) is not None:
        request, notes = found
        return Artifact(image, templates.literal(request), Trace(model=request.model or "", notes=(*changes, *notes)))
    if "workflow" in texts or "prompt" in texts:
        raise NoRecipe(f"{path} carries a ComfyUI graph in which no sampler is found", mend="Open it in ComfyUI.")
    raise NoRecipe(
        f"{path} carries no recipe",
        expected="a picture made by zimage_kit, A1111, ComfyUI or another program that docs/files.md names",
        mend="Use the original file: editing, screenshots and most messengers remove the recipe.",
    )


def read_any(path: str | os.PathLike[str] | bytes) -> Artifact:
    """Like `read`, but any other picture file becomes an artifact without a recipe. Raises NoRecipe for other files."""
    try:
        return read(path)
    except NoRecipe:
        try:
            with picture.opened(io.BytesIO(path) if isinstance(path, bytes) else files.expanded(Path(path))) as file:
                return Artifact.from_image(file)
        except (NoRecipe, *picture.UNREADABLE):
            pass  # the first error is the better one
        raise


def read_recipe(path: Path) -> tuple[Request, Trace, tuple[int, int]]:
    """Request, trace and size (width, height) of one of our PNGs, without decoding its pixels. Raises NoRecipe."""
    try:
        with picture.opened(path) as file:
            text, size = embedded.texts(file).get(png.RECIPE), file.size
    except picture.UNREADABLE as error:
        raise NoRecipe(f"{path} cannot be read ({error})") from None
    if not isinstance(text, str):
        raise NoRecipe(f"{path} carries no zimage_kit recipe")
    request, trace = recipe_in(path, text)
    return request, trace, size


def _marked(comment: object) -> bool:
    """Whether a JPEG's comment is a contact sheet's recipe or the start of one."""
    return isinstance(comment, bytes) and comment.startswith(png.GRID.encode())


def _from_recipe(path: Path, image: Image.Image, text: str) -> Artifact:
    return Artifact(image, *recipe_in(path, text))


def recipe_in(path: Path, text: str) -> tuple[Request, Trace]:
    """Request and trace of the text that a file of ours carries. Raises NoRecipe."""
    try:
        data = json.loads(text)
        return templates.literal(Request(**data["request"])), Trace(**data["trace"])
    except (ValueError, TypeError, KeyError, RecursionError, ValidationError, ZImageError) as error:
        reason = " ".join(str(error).split())
        raise NoRecipe(
            f"{path} carries a recipe that this version cannot read ({reason})", mend="Update zimage_kit."
        ) from None
