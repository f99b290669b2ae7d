"""ModelSpec: what is known about a model before it is loaded. nano, turbo, base, or any local folder.

A name is resolved to a directory on this disk first; diffusers then uses that directory only.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import cast

from pydantic import BaseModel, ConfigDict, Field

from .. import nano
from ..errors import BadRequest, ModelMissing, UnknownModel, closest
from ..files import check_allowed, expanded, no_file, parsed_json
from .directories import (
    INDEX,
    added,
    candidates,
    component_config,
    fingerprint,
    kept_origin,
    missing_files,
    models_dir,
    origin,
    read_index,
    scheduler_config,
)
from .extras import EXTRAS
from .published import FLUX_LATENT_RGB, MEGAPIXEL_SIZES, TURBO_MD5, UNION_KINDS

__all__ = [
    "SPECS", "ModelSpec", "controlnet_file", "default_model", "default_notice", "fingerprints_here", "known",
    "models_dir", "models_here", "register_model", "registered", "require", "resolve",
]  # fmt: skip


class ControlNetSpec(BaseModel):
    """A model's own ControlNet: the name of an Extra, or a folder that comes with zimage_kit, and its useful scales."""

    model_config = ConfigDict(frozen=True)

    extra: str = ""
    path: Path | None = None
    scales: tuple[float, float] = Field(description="lowest and highest strength that its authors recommend")
    kinds: tuple[str, ...] = Field(("pose",), description="control pictures that it was trained with")


class ModelSpec(BaseModel):
    """One model. Sides in pixels, sizes in bytes; `steps` and `guidance` are the defaults that it was trained for."""

    model_config = ConfigDict(frozen=True)

    name: str = Field(description="its name in a request; for a folder, its path")
    family: str = Field(description="the model whose limits and conventions apply: nano, turbo or base")
    summary: str
    hub_ids: dict[str, str] = Field(default_factory=dict, description="modelscope and huggingface to repository ids")
    path: Path | None = Field(None, description="the directory, if it is fixed")
    native: tuple[int, int] = Field(description="width, height that it was trained for")
    sizes: tuple[tuple[int, int], ...] = Field(description="presets: width, height")
    largest_side: int = Field(description="beyond this a request is refused")
    advised_side: int = Field(description="beyond this the picture degrades, and the trace says so")
    prompt_tokens: int = Field(description="the most tokens of a prompt, including the chat template's")
    steps: int
    guidance: float
    negative_prompt: bool = Field(description="whether it was trained for negative prompts")
    license: str = Field("", description="its weights' licence as far as known: an SPDX identifier, or words")
    download_bytes: int = Field(0, description="0: nothing to download")
    latent_rgb: tuple[tuple[float, float, float], ...] | None = Field(None, description="16 rows; see latent_to_rgb")
    checksums: dict[str, str] = Field(default_factory=dict, description="relative path to MD5, by the model's authors")
    controlnet: ControlNetSpec | None = Field(None, description="the one for poses; see the function controlnet")
    loras: Path | None = Field(None, description="folder of LoRAs that come with it, found by name")
    vocabulary: str = Field("", description="`module:function` that maps a prompt to the words unknown to the model")

    def hub_id(self, source: str) -> str | None:
        """The repository on `modelscope` or `huggingface`, or None."""
        return self.hub_ids.get(source)

    def directory(self) -> Path | None:
        """The directory on this disk that has it complete, or None. Never uses the network."""
        if self.path is not None:
            return self.path if not missing_files(self.path) else None
        places = candidates(self.name, self.hub_id("modelscope"), self.hub_id("huggingface"))
        return next((place for place in places if not missing_files(place)), None)

    def unknown_words(self, prompt: str) -> list[str]:
        """Words of the prompt that the model was not trained on, in order; always empty without a `vocabulary`."""
        if not self.vocabulary:
            return []
        module, _, function = self.vocabulary.partition(":")
        return cast("Callable[[str], list[str]]", getattr(import_module(module), function))(prompt)

    def latent_to_rgb(self, directory: Path) -> tuple[list[list[float]], list[float]] | None:
        """The map from the scheduler's latents to RGB in -1 … 1, as (16 rows of 3, 3 offsets); None if unknown.

        A `latent_rgb.json` in the model's directory overrides the built-in matrix.
        """
        fitted = directory / "latent_rgb.json"
        if fitted.is_file():
            data = parsed_json(fitted.read_bytes())
            return data["matrix"], data["bias"]
        return ([list(row) for row in self.latent_rgb], [0.0, 0.0, 0.0]) if self.latent_rgb else None


TURBO = ModelSpec(
    name="turbo",
    family="turbo",
    summary="Z-Image-Turbo, 6 B parameters, distilled for 8 steps without guidance; English and Chinese",
    hub_ids={"modelscope": "Tongyi-MAI/Z-Image-Turbo", "huggingface": "Tongyi-MAI/Z-Image-Turbo"},
    license="apache-2.0",
    native=(1024, 1024),
    sizes=MEGAPIXEL_SIZES,
    largest_side=2048,
    advised_side=1536,
    prompt_tokens=512,
    steps=8,
    guidance=0.0,
    negative_prompt=False,
    download_bytes=33_000_000_000,  # the published transformer is float32
    latent_rgb=FLUX_LATENT_RGB,
    checksums=TURBO_MD5,
    controlnet=ControlNetSpec(extra="turbo-control", scales=(0.65, 1.0), kinds=UNION_KINDS),
)

BASE = TURBO.model_copy(
    update={
        "name": "base",
        "family": "base",
        "summary": "Z-Image, the undistilled model: slower (28-50 steps), supports guidance and negative prompts",
        "hub_ids": {"modelscope": "Tongyi-MAI/Z-Image", "huggingface": "Tongyi-MAI/Z-Image"},
        "steps": 28,
        "guidance": 4.0,
        "negative_prompt": True,
        "controlnet": None,  # turbo's is for turbo only
        "license": "",  # as the hub says
        "checksums": {},  # none are published; download_bytes is turbo's, an upper bound, since the parts are the same
    }
)

NANO = ModelSpec(
    name="nano",
    family="nano",
    summary="the embedded miniature: simple illustrations in 256x256, in about a second on a laptop",
    path=nano.DIRECTORY,
    native=(256, 256),
    sizes=((256, 256), (320, 192), (192, 320), (288, 224), (224, 288)),
    largest_side=512,
    advised_side=320,
    prompt_tokens=128,
    steps=8,
    guidance=0.0,
    negative_prompt=False,
    controlnet=ControlNetSpec(
        path=nano.DIRECTORY.parent / "controlnet", scales=(0.5, 1.2), kinds=("pose", "canny", "scribble")
    ),
    loras=nano.DIRECTORY.parent / "loras",
    vocabulary="zimage_kit.nano.lexicon:unknown_words",
)

SPECS: dict[str, ModelSpec] = {spec.name: spec for spec in (NANO, TURBO, BASE)}
"""The models known by name, in the order of display."""

_OURS = frozenset(SPECS)
_LOCAL: dict[str, object] = {"hub_ids": {}, "checksums": {}, "download_bytes": 0, "license": ""}  # a local folder
_BASE_SHIFT = 4.5  # between turbo's 3.0 and the base model's 6.0
_LARGE_DIM = 1024  # a transformer at least this wide is a full-size Z-Image, a narrower one a miniature


_client_specs: ContextVar[Mapping[str, ModelSpec]] = ContextVar("client_specs", default=MappingProxyType({}))


def register_model(name: str, path: str | os.PathLike[str], *, like: str = "turbo", **changes: object) -> ModelSpec:
    """Register a folder in diffusers' layout under a name, for this process and the sessions that it uses.

    It gets the limits and defaults of the model `like`; `changes` override fields of its ModelSpec, such as steps=12.
    Registering a name again replaces it. Raises BadRequest and UnknownModel.
    """
    if name in _OURS:
        raise BadRequest(f"a model named {name!r} comes with zimage_kit", mend="Give yours another name.")
    if unknown := next((field for field in changes if field not in ModelSpec.model_fields), ""):
        raise BadRequest(f"unknown field {unknown}", mend=closest(unknown, ModelSpec.model_fields), field=unknown)
    folder = resolve(os.fspath(path))
    values = {**resolve(like).model_dump(), **_LOCAL, "name": name, "path": folder.path, "summary": f"like {like}"}
    SPECS[name] = ModelSpec(**{**values, **changes})
    return SPECS[name]


def registered() -> tuple[ModelSpec, ...]:
    """The specs that were registered in this process."""
    return tuple(spec for name, spec in SPECS.items() if name not in _OURS)


@contextmanager
def knowing(specs: Iterable[ModelSpec]) -> Iterator[None]:
    """Context manager: inside, these models are known too. They are those that the task's client registered."""
    token = _client_specs.set({spec.name: spec for spec in specs})
    try:
        yield
    finally:
        _client_specs.reset(token)


def known() -> dict[str, ModelSpec]:
    """The models that have a name here: those that come with zimage_kit, were registered, or added."""
    return {**SPECS, **{name: resolve(name) for name in added() if name not in SPECS}}


def resolve(name_or_path: str | os.PathLike[str]) -> ModelSpec:
    """The spec of a name (see `known`), or of a folder in diffusers' layout, whose path becomes absolute.

    A folder gets the limits of its family, see `family_of`. Raises UnknownModel.
    """
    name = os.fspath(name_or_path)
    named = {**SPECS, **_client_specs.get()}
    if name in named:
        return named[name]
    path = expanded(Path(name)).absolute()
    here = models_dir() / name
    if Path(name).name == name and origin(here).get("added"):
        like = resolve(str(origin(here).get("like", "turbo")))
        return like.model_copy(update={"name": name, "path": here, "summary": f"added, like {like.name}", **_LOCAL})
    check_allowed(path)
    if no_file(path) != "is a folder":
        names = [*named, *added()]
        hint = closest(name, names) if Path(name).name == name else "Give a folder in diffusers' layout."
        raise UnknownModel(f"model {name!r}", expected=f"{', '.join(names)} or a folder", mend=hint, model=name)
    if not (path / INDEX).is_file():
        raise UnknownModel(
            f"folder {path} has no {INDEX}",
            expected="a model in diffusers' layout (scheduler, text_encoder, tokenizer, transformer, vae)",
            mend="Give the folder that holds that file.",
            model=name,
        )
    family = family_of(path)
    told = f"a local folder, used like {family.name}"
    return family.model_copy(update={"name": str(path), "path": path, "summary": told, **_LOCAL})


def family_of(directory: Path) -> ModelSpec:
    """nano, turbo or base, according to the model's own files; its folder's name is ignored.

    A narrow transformer is nano. For a large one, the hub id in a download's `.zimage.json` or in model_index.json
    names the model; otherwise the scheduler's shift decides: turbo was distilled with 3, the base model has a larger
    one. Without any of these it counts as turbo; `register_model(like=…)` overrides that.
    """
    width = component_config(directory, "transformer").get("dim", 3840)  # ZImageTransformer2DModel's default
    if isinstance(width, int) and width < _LARGE_DIM:
        return NANO
    origin = kept_origin(directory) or str(read_index(directory).get("_name_or_path", ""))
    for spec in (TURBO, BASE):
        if origin in spec.hub_ids.values():
            return spec
    shift = scheduler_config(directory).get("shift")
    return BASE if isinstance(shift, int | float) and shift >= _BASE_SHIFT else TURBO


def require(name: str) -> Path:
    """The directory of a model that is complete on this disk. Never uses the network.

    Raises UnknownModel, and ModelMissing with the command that downloads it, its size and the free disk space.
    """
    spec = resolve(name)
    directory = spec.directory()
    if directory is not None:
        return directory
    if spec.path is not None:
        files = missing_files(spec.path)
        raise ModelMissing(
            f"model {spec.name} at {spec.path} lacks {', '.join(files[:3])}{' …' if len(files) > 3 else ''}",
            mend="Install zimage_kit again." if spec.name in SPECS else "Complete the folder.",
            model=spec.name,
            missing=files,
        )
    place, free = models_dir() / spec.name, free_bytes(models_dir())
    raise ModelMissing(
        f"model {spec.name} is not on this disk",
        expected=f"{spec.download_bytes / 1e9:.0f} GB in {place}, where {free / 1e9:.0f} GB are free",
        mend=f"Run: zimage models download {spec.name}",
        model=spec.name,
        bytes=spec.download_bytes,
        free_bytes=free,
        command=f"zimage models download {spec.name}",
    )


def controlnet_file(spec: ModelSpec) -> Path:
    """The folder or file of a model's own ControlNet.

    Raises BadRequest if it has none, and ModelMissing if it is not on this disk.
    """
    if spec.controlnet is None:
        raise BadRequest(
            f"{spec.name} has no ControlNet of its own", mend="Give a file, controlnet='….safetensors', or use turbo."
        )
    if spec.controlnet.path is not None:
        return spec.controlnet.path
    extra = EXTRAS[spec.controlnet.extra]
    return extra.require() / extra.files[0]


def free_bytes(folder: Path) -> int:
    """Free bytes on the disk that `folder` is on, or will be on once it is created."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return shutil.disk_usage(place).free


def models_here() -> frozenset[str]:
    """Names of the models that are complete on this disk."""
    return frozenset(name for name, spec in known().items() if spec.directory() is not None)


def fingerprints_here() -> dict[str, str]:
    """The fingerprint of each model that is complete on this disk, by name."""
    found = ((name, spec.directory()) for name, spec in known().items())
    return {name: fingerprint(directory) for name, directory in found if directory is not None}


def default_model(there: frozenset[str] | None = None) -> str:
    """`turbo` if it is on this disk (or among the names `there`, of a session's workers), else `nano`."""
    found = TURBO.directory() is not None if there is None else TURBO.name in there
    return TURBO.name if found else NANO.name


_noticed = False


def default_notice(chosen: str | None) -> str | None:
    """A notice that nano was `chosen` because turbo is missing, the first time in this process; else None."""
    global _noticed
    if _noticed or chosen != NANO.name:
        return None
    _noticed = True
    size = TURBO.download_bytes / 1e9
    return f"turbo is not on this disk, so nano draws. `zimage models download turbo` fetches it ({size:.0f} GB)."
