"""What reads weights, pictures for stages, fonts and folders of others, one target each: see targets.py."""

from __future__ import annotations

import json
import shutil
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from bounds import one_line, stage, target, with_checksums

SIDES = 64, 48
"""Of the picture that something is made for."""


@contextmanager
def written(folder: Path, data: bytes, ending: str) -> Iterator[Path]:
    """A file with a name of its own: what was read of a file is remembered by name, size and time."""
    file = folder / f"given{zlib.crc32(data):08x}{ending}"
    file.write_bytes(data)
    try:
        yield file
    finally:
        file.unlink()


# weights


@target()
def lora_header(data: bytes, folder: Path) -> None:
    """A LoRA's header and what is beside it; the tensors that it names are there, all zero."""
    from safetensors import SafetensorError

    from zimage_kit.engine import lora_layouts
    from zimage_kit.models import lora_info, weights

    file = folder / "lora.safetensors"
    (folder / "lora.json").write_bytes(data)
    header = data if data[:1] == b"{" else data[8:]
    length = len(header) if data[:1] == b"{" else int.from_bytes(data[:8].ljust(8, b"\0"), "little")
    file.write_bytes(struct.pack("<Q", length) + header + bytes(_wanted(header)))
    lora_info.lora_info(file)
    for component in weights.components_in(file):
        weights.weights_in([file], component)
    weights.in_files([file])
    try:
        tensors, told = lora_layouts.read(file)
    except (SafetensorError, ValueError, OSError, RuntimeError, LookupError, TypeError):
        return  # `Loras` says that it cannot be read
    modules = {"layers.0.attention.to_q": (8, 8, False), "layers.0.norm": (0, 8, False), "x": (4, 6, True)}
    known = {name: lora_layouts.Module(*module) for name, module in modules.items()}
    found = lora_layouts.convert(tensors, known, told)
    assert all(change.targets for change in found.changes)


def _wanted(header: bytes) -> int:
    """Bytes of the tensors that a header names, as far as it can be read; at most 64 kB."""
    try:
        ends = [entry["data_offsets"][1] for name, entry in json.loads(header).items() if name != "__metadata__"]
        return min(int(max([0, *ends])), 1 << 16)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError):
        return 0


@target("gguf")
def gguf(data: bytes, folder: Path) -> None:
    """A GGUF file: names and shapes, and every tensor of it."""
    from zimage_kit.engine.fill import opened, read_weight
    from zimage_kit.errors import JobFailed
    from zimage_kit.models import weights

    file = folder / f"weights{zlib.crc32(data)}.gguf"  # another name: what was read of a file is remembered
    file.write_bytes(data if data[:4] == b"GGUF" else b"GGUF" + data)
    try:
        for component in weights.components_in(file):
            weights.weights_in([file], component)
        found = weights.in_files([file])
        for weight in list(found.values())[:20]:
            try:
                with opened(file) as tensors:
                    read_weight(tensors, weight)
            except JobFailed as error:
                one_line(error)
    finally:
        file.unlink()


@target()
def model_folder(data: bytes, folder: Path) -> None:
    """The JSON files of a model's folder: index, configurations, lists of files."""
    from zimage_kit.errors import ZImageError
    from zimage_kit.models import directories, weights
    from zimage_kit.models.spec import resolve

    model = folder / "model"
    for name in ("transformer", "text_encoder", "vae", "scheduler"):
        (model / name).mkdir(exist_ok=True)
        (model / name / "config.json").write_bytes(data)
        (model / name / weights.FILES).write_bytes(data)
    (model / "model_index.json").write_bytes(data)
    (model / "transformer" / "diffusion_pytorch_model.safetensors.index.json").write_bytes(data)
    try:
        directories.missing_files(model)
        resolve(str(model))
    except ZImageError as error:
        one_line(error)
    for name in ("transformer", "text_encoder", "vae"):
        weights.component_files(model / name)
        directories.component_config(model, name)


@target("spandrel", "torch._weights_only_unpickler")
def network(data: bytes, folder: Path) -> None:
    """An upscaler's network: an even first byte makes it a .pth, an odd one a .safetensors file."""
    from zimage_kit.errors import BadRequest

    stage("upscale")
    from zimage_extensions.upscale import networks

    with written(folder, data[1:], ".safetensors" if data[:1] and data[0] % 2 else ".pth") as file:
        try:
            networks.load(file, "spandrel", "cpu")
        except BadRequest as error:
            one_line(error)


@target()
def controlnet(data: bytes, folder: Path) -> None:
    """A ControlNet: an even first byte makes what follows the config.json beside it, an odd one its header."""
    from zimage_kit.engine import controlnet as engine
    from zimage_kit.errors import BadRequest
    from zimage_kit.models.directories import component_size

    beside, header = folder / engine.CONFIG, data[1:]
    if not (data[:1] and data[0] % 2):
        beside.write_bytes(header)
        header = _control_header()
    content = struct.pack("<Q", len(header)) + header + bytes(_wanted(header))
    with written(folder, content, ".safetensors") as file:
        try:
            component_size([file])
            config, about = engine.configuration(file)
            assert "\n" not in about
            assert isinstance(config["dim"], int) and max(config["control_layers_places"]) >= 0
        except BadRequest as error:
            one_line(error)
        finally:
            beside.unlink(missing_ok=True)


@cache
def _control_header() -> bytes:
    shapes = {"control_all_x_embedder.2-1.weight": [8, 16], "control_layers.0.attention.norm_q.weight": [4]}
    at, entries = 0, {}
    for name, shape in shapes.items():
        size = 4 * shape[0] * (shape[1] if shape[1:] else 1)
        entries[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    return json.dumps(entries).encode()


# a model's folder


@target("jinja2")
def tokenizer(data: bytes, folder: Path) -> None:
    """A model's tokenizer: the first byte says which of its three files is what follows; the others are nano's."""
    from zimage_kit.errors import ModelMissing
    from zimage_kit.models import tokens
    from zimage_kit.models.spec import resolve

    names = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"
    own = resolve("nano").directory()
    assert own is not None
    model = folder / f"model{zlib.crc32(data):08x}"  # another name: what was read of a folder is remembered
    (model / "tokenizer").mkdir(parents=True)
    which = names[data[0] % 3] if data else names[0]
    for name in names:
        if name != "chat_template.jinja" or which != "tokenizer_config.json":
            content = data[1:] if name == which else (own / "tokenizer" / name).read_bytes()
            (model / "tokenizer" / name).write_bytes(content)
    try:
        for prompt in ("", "a red boat 春"):
            assert tokens.count_tokens(prompt, model) >= 0
    except ModelMissing as error:
        one_line(error)
    finally:
        shutil.rmtree(model)


# pictures and fonts for stages

_TYPES = ("canny", "scribble", "depth", "hed", "mlsd", "gray")


@target("PIL")
def control(data: bytes, folder: Path) -> None:
    """A picture for the stage control; the first byte says what is made of it and how."""
    from zimage_kit.errors import BadRequest

    how = data[0] if data else 0
    fields = {"type": _TYPES[how % 6], "source": (None, "map", None, "photo")[how // 6 % 4]}
    fields["fit"] = ("crop", "pad", "stretch")[how // 24 % 3]
    with written(folder, with_checksums(data[1:]), ".png") as file:
        try:
            made = stage("control")(picture=file, **fields).control_picture(*SIDES)
        except BadRequest as error:
            one_line(error)
        else:
            assert (made.mode, made.size) == ("RGB", SIDES)


@target("PIL")
def mask(data: bytes, folder: Path) -> None:
    """A mask to inpaint: a file, upright or inverted, or for a first byte from 128 on what a page has painted."""
    from zimage_kit.errors import BadRequest

    inpaint = stage("inpaint")
    from zimage_extensions.refine import painter

    how = data[0] if data else 0
    try:
        if how >= 128:
            made = painter.unpacked(data[1:])
            assert painter.unpacked(painter.packed(made)).tobytes() == made.tobytes()
            return
        with written(folder, with_checksums(data[1:]), ".png") as file:
            made = inpaint(mask=file, invert=bool(how % 2)).mask_at(SIDES)
            assert (made.mode, made.size) == ("L", SIDES)
    except BadRequest as error:
        one_line(error)


@target()
def font(data: bytes, folder: Path) -> None:
    """A font file for text on a picture, and for the labels of grids."""
    from PIL import Image

    from zimage_kit import Context, Request
    from zimage_kit.errors import BadRequest

    overlay = stage("text_overlay")
    from zimage_extensions.text_overlay import faces

    with written(folder, data, ".ttf") as file:
        try:
            made = overlay(text="Ae 1\n春", font=str(file)).after(Image.new("RGB", SIDES), Context(Request(prompt="x")))
            assert made.size == SIDES
        except BadRequest as error:
            one_line(error)
        finally:
            faces._read.cache_clear()
            faces._at_weight.cache_clear()


# small files that the program looks for


@target()
def values(data: bytes, folder: Path) -> None:
    """A file of values for an axis of a grid, `@FILE`; the first byte says for which axis."""
    from zimage_kit.errors import ZImageError
    from zimage_kit.grid.planning import plan
    from zimage_kit.recipe.request import Request

    axes = ("seed", "size", "lora", "prompt", "slot", "guidance", "stages.text_overlay")
    name = axes[data[0] % len(axes)] if data else axes[0]
    with written(folder, data[1:], ".txt") as file:
        try:
            found = plan(Request(prompt="a {slot} boat"), {"slot": ["x"], name: f"@{file}"})
            for place, _ in zip(found.places(), range(20), strict=False):
                found.request(place)
        except ZImageError as error:
            one_line(error)


@target()
def own(data: bytes, folder: Path) -> None:
    """What the program itself keeps as JSON: the session's file, what pictures took, the panel's state."""
    from zimage_kit.errors import BadRequest
    from zimage_kit.grid.estimate import CostModel, PlannedPicture
    from zimage_kit.recipe.request import Request
    from zimage_kit.session.shared import launch
    from zimage_kit.studio.panel.keeper import Keeper

    with written(folder, data, ".json") as file:
        file.chmod(0o600)
        try:
            repr(launch.read_session_file(file))
        except BadRequest as error:
            one_line(error)
        picture = PlannedPicture(Request(prompt="x", width=64, height=64, steps=2), "m")
        str(CostModel(file).estimate(1, 1, [picture], 1))
    keeper = Keeper("page", dict)
    assert keeper.path is not None
    keeper.path.parent.mkdir(parents=True, exist_ok=True)
    keeper.path.write_bytes(data)
    assert isinstance(keeper.load(), dict)
    keeper.close()
