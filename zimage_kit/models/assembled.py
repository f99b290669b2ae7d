"""Models put together from files as people have them: `zimage models add` writes a folder in diffusers' layout.

It holds configurations, the tokenizer, and for each component the list of the files with its weights, which stay where
they are (`weights.FILES`). Removing it leaves them alone.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import BadRequest
from ..files import expanded
from .directories import INDEX, ORIGIN, added, component_config, models_dir, origin, read_index, scheduler_config
from .extras import EXTRAS
from .published import BASE_SHIFT, TURBO_CONFIGS
from .spec import SPECS, resolve
from .weights import ENDINGS, FILES, READABLE, Weight, component_files, component_weights, components_in, weights_in

_CLASSES = {
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "Qwen3Model"],
    "tokenizer": ["transformers", "Qwen2Tokenizer"],
    "transformer": ["diffusers", "ZImageTransformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}
_NETWORKS = ("transformer", "text_encoder", "vae")
_USUAL = {
    "transformer": "z_image_turbo_bf16.safetensors",
    "text_encoder": "qwen_3_4b.safetensors",
    "vae": "ae.safetensors",
}
_COMFYUI = ("diffusion_models", "unet", "text_encoders", "clip", "vae", "checkpoints")
"""Folders in which ComfyUI looks for them."""


@dataclass(frozen=True)
class Added:
    """What `add` put together: the folder, each component's files, and which came from the model that it is like."""

    name: str
    directory: Path
    files: Mapping[str, tuple[Path, ...]]
    borrowed: tuple[str, ...] = ()


def add(name: str, given: Iterable[Path], like: str = "turbo", tokenizer: Path | None = None) -> Added:
    """Put a model together and keep it under a name, for `model=name` from now on.

    `given`: safetensors or GGUF files that hold transformer, text encoder and VAE, alone or together, in diffusers'
    layout or ComfyUI's; a folder in diffusers' layout; or ComfyUI's `models` folder, where exactly one file of each
    kind fits. What is not among them is taken from the model `like`, if that is on this disk; so are configurations and
    the tokenizer (`tokenizer`: another folder for that). Nothing large is copied. Raises BadRequest and UnknownModel.
    """
    place = _place(name)
    spec = resolve(like)
    model, given = spec.directory(), [expanded(path).absolute() for path in given]
    found, configurations = _found(given, model, spec.family)
    borrowed = []
    for component in _NETWORKS:
        if component not in found:
            files = component_files(model / component) if model else []
            if not files:
                raise BadRequest(
                    f"no {component.replace('_', ' ')} among the files",
                    expected=f"one such as {_USUAL[component]}",
                    mend=f"Name that file too, or run: zimage models download {like}",
                )
            found[component] = tuple(files)
            borrowed.append(component)
    words = _tokenizer(tokenizer, [*(path for path in given if path.is_dir()), *([model] if model else [])])
    part = place.with_name(f".{name}.part")
    shutil.rmtree(part, ignore_errors=True)
    for component in _NETWORKS:
        _write(part / component / "config.json", configurations[component])
        _write(part / component / FILES, [str(file) for file in found[component]])
    _write(part / "scheduler" / "scheduler_config.json", configurations["scheduler"])
    _write(part / INDEX, {"_class_name": "ZImagePipeline", **_CLASSES})
    _write(part / ORIGIN, {"added": True, "like": spec.family})
    shutil.copytree(words, part / "tokenizer")
    _check(part, found)
    shutil.rmtree(place, ignore_errors=True)
    part.rename(place)
    return Added(name, place, found, tuple(borrowed))


def remove(name: str) -> Path:
    """Forget a model that `add` put together; the files with its weights stay. Returns its former folder."""
    place = models_dir() / name
    if Path(name).name != name or not origin(place).get("added"):
        raise BadRequest(
            f"{name} was not added by `zimage models add`", expected=", ".join(added()) or "one that was", model=name
        )
    shutil.rmtree(place)
    return place


def _place(name: str) -> Path:
    """The folder of a new model. Raises BadRequest for a name that is taken or none."""
    if not name or Path(name).name != name or name.startswith(".") or name.strip() != name:
        raise BadRequest(f"name {name!r}", expected="a plain name, such as my-model")
    if name in SPECS or name in EXTRAS:
        raise BadRequest(f"a model named {name!r} comes with zimage_kit", mend="Give yours another name.")
    place = models_dir() / name
    if place.exists() and not origin(place).get("added"):
        raise BadRequest(f"{place} exists and was not added by this command", mend="Give another name.")
    models_dir().mkdir(parents=True, exist_ok=True)
    return place


def _found(
    given: Sequence[Path], model: Path | None, family: str
) -> tuple[dict[str, tuple[Path, ...]], dict[str, dict[str, Any]]]:
    """The files of each component among those that were given, and all components' configurations."""
    configurations = _configurations(model, family)
    found: dict[str, tuple[Path, ...]] = {}
    for path in given:
        if (path / INDEX).is_file():
            for component in _NETWORKS:
                if read_index(path).get(component) and (files := component_files(path / component)):
                    _take(found, component, tuple(files))
                    configurations[component] = component_config(path, component)
            configurations["scheduler"] = dict(scheduler_config(path)) or configurations["scheduler"]
            continue
        if not path.exists():
            raise BadRequest(f"{path} is not there", expected="a safetensors file or a folder", path=str(path))
        if path.is_dir():
            for component, file in _searched(path, configurations):
                _take(found, component, (file,))
            continue
        components = components_in(path) if path.suffix in ENDINGS else ()
        if not components:
            raise BadRequest(
                f"{path} holds no transformer, text encoder or VAE of Z-Image",
                expected="a safetensors or GGUF file of diffusers' or ComfyUI's layout",
                path=str(path),
            )
        for component in components:
            _take(found, component, (path,))
    return found, configurations


def _take(found: dict[str, tuple[Path, ...]], component: str, files: tuple[Path, ...]) -> None:
    if component in found:
        raise BadRequest(
            f"{found[component][0]} and {files[0]} both hold a {component.replace('_', ' ')}", mend="Name one of them."
        )
    found[component] = files


def _searched(folder: Path, configurations: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Path]]:
    """The file of each component in ComfyUI's `models` folder. Raises BadRequest where several fit."""
    fitting: dict[str, list[Path]] = {}
    for kind in _COMFYUI:
        for file in sorted(each for each in (folder / kind).rglob("*") if each.suffix in ENDINGS):
            for component in components_in(file):
                if not _misfit(component, weights_in([file], component), configurations[component]):
                    fitting.setdefault(component, []).append(file)
    if not fitting:
        kinds = ", ".join(_COMFYUI)
        raise BadRequest(
            f"{folder} has no weights of Z-Image", expected=f"{INDEX}, or ComfyUI's models folder with {kinds}"
        )
    for component, files in fitting.items():
        if len(files) > 1:
            names = ", ".join(str(file.relative_to(folder)) for file in files)
            raise BadRequest(
                f"{folder} has several files with a {component.replace('_', ' ')}: {names}", mend="Name the files."
            )
        yield component, files[0]


def _configurations(model: Path | None, family: str) -> dict[str, dict[str, Any]]:
    """Those of a model that is here, else the published ones."""
    if model is not None:
        found = {component: dict(component_config(model, component)) for component in _NETWORKS}
        return {**found, "scheduler": dict(scheduler_config(model))}
    scheduler = TURBO_CONFIGS["scheduler"]
    return {**TURBO_CONFIGS, "scheduler": {**scheduler, "shift": BASE_SHIFT} if family == "base" else scheduler}


def _check(directory: Path, found: Mapping[str, tuple[Path, ...]]) -> None:
    """Raise BadRequest for weights of another model, or in a type that is not read."""
    for component in found:
        weights = component_weights(directory / component)
        misfit = _misfit(component, weights, component_config(directory, component))
        codes = sorted({weight.dtype for weight in weights.values()} - set(READABLE))
        if misfit or codes:
            shutil.rmtree(directory)
            raise BadRequest(
                f"{found[component][0]}: the {component.replace('_', ' ')} {misfit or f'is stored as {codes[0]}'}",
                expected=(misfit and "one of the model that it is said to be like") or " or ".join(READABLE),
                mend="See --like." if misfit else "Use a file in bfloat16, float8 or GGUF.",
            )


_NAMED = {
    "transformer": ("cap_embedder.1.weight", ("dim", "cap_feat_dim")),
    "text_encoder": ("embed_tokens.weight", ("vocab_size", "hidden_size")),
    "vae": ("decoder.conv_in.weight", (None, "latent_channels")),
}
"""A weight of each component whose shape its configuration tells."""


def _misfit(component: str, weights: Mapping[str, Weight], configuration: Mapping[str, Any]) -> str:
    """How weights differ from a configuration, "" where they fit as far as a glance tells."""
    name, sides = _NAMED[component]
    shape = next((weight.shape for each, weight in weights.items() if each.removeprefix("model.") == name), None)
    if shape is None:
        return f"has no {name}"
    sides_wanted = [configuration.get(side) if side else None for side in sides]
    wanted = [have if want is None else want for have, want in zip(shape, sides_wanted, strict=False)]
    if list(shape[: len(wanted)]) != wanted:
        return f"has {name} as {list(shape[: len(wanted)])}, not {wanted}"
    return ""


def _tokenizer(given: Path | None, models: Iterable[Path]) -> Path:
    """A folder with a tokenizer. Raises BadRequest where there is none."""
    extra = EXTRAS["turbo-tokenizer"]
    kept = extra.directory()
    places = [given, given / "tokenizer"] if given else [*(model / "tokenizer" for model in models)]
    places += [kept / "tokenizer"] if kept and not given else []
    for place in places:
        if all((place / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json")):
            return place
    raise BadRequest(
        f"{given} has no tokenizer" if given else "these files come without a tokenizer",
        expected="a folder with tokenizer.json and tokenizer_config.json",
        mend=f"Run `{extra.command}` ({extra.download_bytes / 1e6:.0f} MB), or use --tokenizer FOLDER.",
    )


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + os.linesep)
