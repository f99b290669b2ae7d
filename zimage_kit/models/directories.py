"""Model directories on this disk: where a model may be, whether it is complete, and what identifies its weights.

Uses only the local disk, never the network. Of large files it reads sizes, headers and samples.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from ..files import expanded, parsed_json
from .weights import FILES, Weight, component_files, component_weights, header, in_files

INDEX = "model_index.json"
_SAMPLES, _SAMPLE_BYTES, _READ_WHOLE, _LARGEST_HEADER = 16, 4096, 64 << 20, 64 << 20
_IDENTIFYING = (".json", ".safetensors", ".jinja", ".txt")


def models_dir() -> Path:
    """The folder that downloads go to: $ZIMAGE_MODELS, else ~/zimage/models."""
    return expanded(Path(os.environ.get("ZIMAGE_MODELS") or "~/zimage/models"))


def candidates(name: str, modelscope_id: str | None, huggingface_id: str | None) -> Iterator[Path]:
    """Every place where this model may already be, best first: our own folder, ModelScope's caches, Hugging Face's."""
    yield models_dir() / name
    if modelscope_id:
        yield from _modelscope_candidates(modelscope_id)
    if huggingface_id:
        hub = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
        home = expanded(Path(os.environ.get("HF_HOME") or "~/.cache/huggingface"))
        base = expanded(Path(hub)) if hub else home / "hub"
        yield from _snapshots(base / f"models--{huggingface_id.replace('/', '--')}")


def _modelscope_candidates(repository: str) -> Iterator[Path]:
    """The cache layouts of ModelScope's clients (1.40's, and the older ones that it still reads)."""
    owner, name = repository.split("/")
    root = expanded(Path(os.environ.get("MODELSCOPE_CACHE") or "~/.cache/modelscope"))
    for base in (root, root / "hub"):
        yield from _snapshots(base / "models" / f"{owner}--{name}")
        for spelled in dict.fromkeys((name, name.replace(".", "___"))):
            yield base / "models" / owner / spelled
            yield base / owner / spelled


def _snapshots(repository: Path) -> Iterator[Path]:
    """Revisions under `snapshots/`, newest first."""
    try:
        revisions = [path for path in (repository / "snapshots").iterdir() if path.is_dir()]
        yield from sorted(revisions, key=lambda path: path.stat().st_mtime, reverse=True)
    except OSError:
        return  # no such cache


def missing_files(directory: Path) -> list[str]:
    """Files that are missing from a model directory (or have size zero), relative to it; empty if it is complete.

    Complete means: model_index.json, and for each component that it names the configuration and every shard in the
    component's index, or one weight file if there is no index.
    """
    index = _read_json(directory / INDEX)
    if index is None:
        return [INDEX]
    missing: list[str] = []
    for component, value in index.items():
        if component.startswith("_") or not isinstance(value, list) or value[:1] in ([], [None]):
            continue
        try:
            missing += [f"{component}/{name}" for name in _missing_of(directory / component, component)]
        except (OSError, ValueError):  # a name that no folder can have
            missing.append(component)
    return missing


def _missing_of(folder: Path, component: str) -> list[str]:
    if component == "scheduler":
        return _absent(folder, "scheduler_config.json")
    if component == "tokenizer":
        return _absent(folder, "tokenizer.json", "tokenizer_config.json")
    missing = _absent(folder, "config.json")
    if (folder / FILES).exists():
        return missing + [str(file) for file in component_files(folder) or [folder / FILES] if not _present(file)]
    indices = sorted(folder.glob("*.safetensors.index.json"))
    if not indices and not any(_present(path) for path in folder.glob("*.safetensors")):
        return [*missing, "*.safetensors"]
    for path in indices:
        shards = (_read_json(path) or {}).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            missing.append(path.name)
        else:
            missing += _absent(folder, *sorted({str(shard) for shard in shards.values()}))
    return missing


def _absent(folder: Path, *names: str) -> list[str]:
    return [name for name in names if not _present(folder / name)]


def _present(path: Path) -> bool:
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _read_json(path: Path) -> dict[str, object] | None:
    try:
        data = parsed_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def read_index(directory: Path) -> dict[str, Any]:
    """Read model_index.json: for each component its [library, class]; empty if it cannot be read."""
    return _read_json(directory / INDEX) or {}


@dataclass(frozen=True)
class ComponentSize:
    """How many numbers a network holds: in each of its repeated blocks, and in the rest.

    `width`: of its hidden states, 0 where there are no blocks.
    """

    blocks: tuple[int, ...] = ()
    rest: int = 0
    width: int = 0

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.blocks) + self.rest


def component_sizes(directory: Path) -> dict[str, ComponentSize]:
    """The size of each network of a model, from its files' headers.

    In the order of model_index.json; components without weights (scheduler, tokenizer) are left out. The text encoder
    counts without its last layer and what comes after it, which are never needed.
    """
    sizes = {}
    for name, value in read_index(directory).items():
        if isinstance(value, list) and value[0] and component_files(directory / name):
            sizes[name] = _size(component_weights(directory / name), without_last=name == "text_encoder")
    return sizes


BLOCK_LISTS = ("noise_refiner", "context_refiner", "layers")
"""The lists of equal blocks in a network, in the order in which a pass comes by."""
CONTROL_BLOCK_LISTS = ("control_noise_refiner", "control_layers")
"""Those of a ControlNet."""
_LISTS = BLOCK_LISTS + CONTROL_BLOCK_LISTS
_BLOCK = re.compile(rf"(?:model\.)?({'|'.join(_LISTS)})\.(\d+)\.")


_AFTER_LAST = re.compile(r"(?:model\.)?norm\.weight|lm_head\..*")
"""What a text encoder has after its last layer."""


def component_size(files: Iterable[Path]) -> ComponentSize:
    """How many numbers these files hold together."""
    return _size(in_files(files))


def _size(weights: Mapping[str, Weight], without_last: bool = False) -> ComponentSize:
    blocks: dict[tuple[int, int], int] = {}
    rest = width = 0
    for name, weight in weights.items():
        found = _BLOCK.match(name)
        if found:
            block = _LISTS.index(found[1]), int(found[2])
            blocks[block] = blocks.get(block, 0) + prod(weight.shape)
            if name.endswith((".attention.to_q.weight", ".self_attn.q_proj.weight")):
                width = weight.shape[-1]
        elif not (without_last and _AFTER_LAST.fullmatch(name)):
            rest += prod(weight.shape)
    if without_last and blocks:
        del blocks[max(blocks)]
    return ComponentSize(tuple(blocks[block] for block in sorted(blocks)), rest, width)


def float32_bytes(path: Path) -> int:
    """Bytes of float32 numbers in a safetensors file; 0 for any other file and for a broken one."""
    entries = (each for each in header(path).values() if isinstance(each, dict)) if path.is_file() else ()
    return sum(4 * prod(each.get("shape", (0,))) for each in entries if each.get("dtype") == "F32")


CONVERTED = ("transformer", "text_encoder")
"""The components that `convert` rounds to bfloat16. Not the autoencoder, which some plans compute in float32."""


def convertible(directory: Path) -> list[Path]:
    """The files of a model that `convert` would round: half of their `float32_bytes` are freed."""
    files = (path for name in CONVERTED for path in sorted((directory / name).glob("*.safetensors")))
    return [path for path in files if float32_bytes(path)]


def savings(directory: Path) -> int:
    """Bytes on disk that `convert` would free."""
    return sum(map(float32_bytes, convertible(directory))) // 2


ORIGIN = ".zimage.json"
"""A file of ours in a model's directory: the repository it was downloaded from, and what `convert` did."""


def origin(directory: Path) -> dict[str, Any]:
    """The content of ORIGIN; empty if it cannot be read."""
    return _read_json(directory / ORIGIN) or {}


def added() -> dict[str, Path]:
    """The folders of the models that `zimage models add` put together, by name."""
    try:
        folders = sorted(models_dir().iterdir())
    except OSError:  # there is no such folder yet
        return {}
    return {each.name: each for each in folders if not each.name.startswith(".") and origin(each).get("added")}


def kept_origin(directory: Path) -> str:
    """The hub id that was written with a download, or ""."""
    return str(origin(directory).get("hub_id", ""))


@dataclass(frozen=True)
class Conversion:
    """What `convert` noted in ORIGIN; empty where it never ran.

    `before`: the directory's fingerprint when it began; `states`: fingerprints of the content that it left since, shard
    by shard; `files`: the SHA-256 of each file that it wrote, by relative path.
    """

    before: str = ""
    states: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


def conversion(directory: Path) -> Conversion:
    """What was converted in this directory."""
    noted = origin(directory).get("converted")
    match noted:
        case {"before": str(before), "states": list(states), "files": dict(files)}:
            return Conversion(before, tuple(states), files)
    return Conversion()


def scheduler_config(directory: Path) -> dict[str, object]:
    """The scheduler's configuration; empty if it cannot be read."""
    return _read_json(directory / "scheduler" / "scheduler_config.json") or {}


def component_config(directory: Path, component: str) -> dict[str, object]:
    """A component's config.json; empty if it cannot be read."""
    return _read_json(directory / component / "config.json") or {}


def fingerprint(directory: Path) -> str:
    """16 hexadecimal digits that identify the weights and configuration; takes milliseconds even for 33 GB.

    That of the content, see `content_fingerprint`. Weights that `convert` rounded to bfloat16 count as what they were
    before, as long as the files are what it left: computed in bfloat16 they give the same pixels. For other types see
    `rounded_fingerprint`.
    """
    content, done = content_fingerprint(directory), conversion(directory)
    return done.before if content in done.states else content


def rounded_fingerprint(directory: Path) -> str:
    """The content's fingerprint where `fingerprint` is not that, since weights were rounded to bfloat16; else ""."""
    content = content_fingerprint(directory)
    return content if fingerprint(directory) != content else ""


def content_fingerprint(directory: Path, replaced: Mapping[str, Path] | None = None) -> str:
    """The fingerprint of the files as they are, or as they will be with those `replaced` (relative path -> file).

    What it covers: SHA-256 over each file's name and size, and the content of files up to 64 MiB; of larger ones a
    safetensors file's header (names, shapes, types) and 16 evenly spaced samples of 4 KiB. The same files in another
    directory give the same fingerprint. Files are read again only when a size or a modification time has changed.
    """
    found = {}
    for path in directory.rglob("*"):
        relative = path.relative_to(directory)
        hidden = any(part.startswith(".") for part in relative.parts)  # a download client's own files
        if path.suffix in _IDENTIFYING and not hidden:
            found[relative.as_posix()] = path
        if path.name == FILES and not hidden:
            found |= {f"{relative.parent.as_posix()}/{file.name}": file for file in component_files(path.parent)}
            del found[relative.as_posix()]  # where they lie does not matter
    found |= replaced or {}
    return _digest(tuple(_state(name, found[name]) for name in sorted(found)))


def _state(name: str, path: Path) -> tuple[str, Path, int, int]:
    stat = path.stat()
    return name, path, stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=64)
def _digest(files: tuple[tuple[str, Path, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, path, size, _ in files:
        digest.update(f"{name}\0{size}\0".encode())
        with path.open("rb") as file:
            if size <= _READ_WHOLE:
                digest.update(file.read())
                continue
            if name.endswith(".safetensors"):
                length = int.from_bytes(file.read(8), "little")
                digest.update(file.read(min(length, _LARGEST_HEADER)))
            for sample in range(_SAMPLES):
                file.seek(sample * (size - _SAMPLE_BYTES) // (_SAMPLES - 1))
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()[:16]
