"""What reads files and texts of others, one target each: bytes go to the real reader, and only our errors come out.

A target knows which errors its reader may raise: those of `zimage_kit.errors` that its docstring names, or none where
it says that it never raises. Time and memory are bounded too. A target takes a folder, in which are the file that is
read, and the places that readers look into (LoRAs, word lists, presets).

    python -m tests.fuzz.run                fuzzes them; see there
    tests/fuzz/test_seeds.py                every input that was kept, at each run of the tests
"""

from __future__ import annotations

import io
import json
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

SECONDS, MEGABYTES = 2.0, 200
"""The most that an input of any kind may take, of time and of memory beyond what the process had."""
SEEDS = Path(__file__).parent / "seeds"
LISTS = {"animals": "cat\n2::dog\n{big|small} fox\n", "sea": "# none\nwave __animals__\n", "round": "a __round__\n"}

Read = Callable[[bytes, Path], None]


class Broken(AssertionError):
    """An input that a reader took wrongly: another error than ours, a wrong answer, too long or too much."""


@dataclass(frozen=True)
class Target:
    """`read` gets an input and a folder; `packages` are those whose branches guide the fuzzer, beside our own."""

    name: str
    read: Read
    packages: tuple[str, ...] = ()

    def seeds(self) -> list[Path]:
        """The inputs that are kept."""
        return sorted((SEEDS / self.name).glob("*"))


TARGETS: dict[str, Target] = {}


def target(*packages: str) -> Callable[[Read], Read]:
    """Decorator: this function is a target of its own name."""

    def add(read: Read) -> Read:
        TARGETS[read.__name__] = Target(read.__name__, read, packages)
        return read

    return add


@contextmanager
def bounded(seconds: float = SECONDS, megabytes: int = MEGABYTES) -> Iterator[None]:
    """Context manager: raises Broken if what is inside took more processor time, or memory at its peak.

    What waits without end is the business of whoever runs this: pytest's time-out, libFuzzer's.
    """
    _forget_peak()
    before, begin = _megabytes("VmRSS"), time.process_time()
    yield
    took, grown = time.process_time() - begin, _megabytes("VmHWM") - before
    if took > seconds:
        raise Broken(f"took {took:.1f} s, at most {seconds:g} are allowed")
    if grown > megabytes:
        raise Broken(f"took {grown:.0f} MB, at most {megabytes} are allowed")


def _forget_peak() -> None:
    """The peak of memory counts from here (Linux alone; elsewhere only time is bounded)."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _megabytes(field: str) -> float:
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    found = next((line for line in status.splitlines() if line.startswith(field + ":")), "x 0 kB")
    return int(found.split()[1]) / 1024


def prepare(folder: Path) -> dict[str, str]:
    """Fill a folder with what readers look for; returns the environment in which they find it there."""
    lists = folder / "wordlists"
    lists.mkdir(exist_ok=True)
    for name, text in LISTS.items():
        (lists / f"{name}.txt").write_text(text)
    for name in ("presets", "loras", "model", "outputs"):
        (folder / name).mkdir(exist_ok=True)
    (folder / "loras" / "known.safetensors").write_bytes(struct.pack("<Q", 2) + b"{}")
    own = {f"ZIMAGE_{name.upper()}": str(folder / name) for name in ("outputs", "wordlists", "presets", "loras")}
    return {"HOME": str(folder), "ZIMAGE_LARGEST_PIXELS": "4000000", **own}


def _text(data: bytes) -> str:
    """Any text: also characters that are half of a pair, as JSON may hold them."""
    return data.decode("utf-8", "surrogatepass" if b"\xed" in data else "replace") if _is_text(data) else _latin(data)


def _is_text(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _latin(data: bytes) -> str:
    return data.decode("latin-1")


# recipes in pictures


@target("PIL")
def picture(data: bytes, folder: Path) -> None:
    """A whole file: `zk.open`, a picture without a recipe, the library's look at it."""
    from zimage_kit.errors import NoRecipe
    from zimage_kit.library import scan
    from zimage_kit.recipe import artifact

    data, file = _with_checksums(data), folder / "picture.png"
    file.write_bytes(data)
    for read in (lambda: artifact.read(data), lambda: artifact.read_any(file), lambda: artifact.read_recipe(file)):
        try:
            found = read()
        except NoRecipe as error:
            _one_line(error)
        else:
            if isinstance(found, artifact.Artifact):
                _same_again(found.request)
                assert found.image.mode in ("RGB", "RGBA")
    stat = file.stat()
    scan.facts(file, scan.Stamp(stat.st_size, stat.st_mtime_ns))


@target("PIL")
def metadata(data: bytes, folder: Path) -> None:
    """What formats carry beside the pixels: the first byte says where the rest is put."""
    from PIL import Image

    from zimage_kit.recipe import embedded, picture, programs

    where, data = data[:1], data[1:]
    image = Image.new("RGB", (2, 2))
    if where < b"\x20":
        name, _, text = data.partition(b"\0")
        image.info[_latin(name)] = _latin(text)
    elif where < b"\x60":
        image.info["xmp"] = data
    else:
        image.info["exif"] = data if where < b"\xa0" else b"Exif\0\0" + data
    try:
        found = embedded.texts(image)
    except picture.UNREADABLE:
        return  # who opens a file says that it cannot be read
    programs.read_foreign(found)


@target()
def recipe(data: bytes, folder: Path) -> None:
    """The text of our own chunk, and of what `request.to_json` wrote."""
    from zimage_kit.errors import BadRequest, NoRecipe
    from zimage_kit.recipe.artifact import recipe_in
    from zimage_kit.recipe.request import Request
    from zimage_kit.stages import extensions

    text = _text(data)
    for given in (text, '{"request":' + text + ',"trace":{}}', '{"request":{},"trace":' + text + "}"):
        try:
            found, trace = recipe_in(folder / "picture.png", given)
        except NoRecipe as error:
            _one_line(error)
        else:
            _same_again(found)
            trace.model_dump_json()
    for given_bytes in (data, text):
        try:
            request = Request.from_json(given_bytes)
        except BadRequest as error:
            _one_line(error)
            continue
        _same_again(request)
        try:
            extensions.build_stages(request.stages)
        except BadRequest as error:
            _one_line(error)


_PROGRAMS = ("parameters", "prompt", "workflow", "invokeai_metadata", "sd-metadata", "Comment", "xmp", "Description")


@target()
def foreign(data: bytes, folder: Path) -> None:
    """A recipe of another program: the first byte says of which."""
    from zimage_kit.recipe.programs import read_foreign

    name, text = _PROGRAMS[data[0] % len(_PROGRAMS)] if data else "parameters", _text(data[1:])
    if name == "xmp":
        text = f"<exif:UserComment><rdf:Alt><rdf:li>{text}</rdf:li></rdf:Alt></exif:UserComment>"
    found = read_foreign({name: text, "Description": "a boat"})
    if found is not None:
        request, notes = found
        _same_again(request)
        assert all(isinstance(note, str) for note in notes)


# poses, LoRAs, weights


@target("zimage_extensions")
def pose(data: bytes, folder: Path) -> None:
    """OpenPose JSON as text and as a file; what can be read can be drawn."""
    from zimage_kit.errors import BadRequest

    made_of = _stage("pose")
    file = folder / "pose.json"
    file.write_bytes(data)
    text = _text(data)
    for people in (text, file, "{" + text, {"people": text}):
        for fit in ("canvas", "frame"):
            try:
                made = made_of(people=people, fit=fit)
            except BadRequest as error:
                _one_line(error)
                continue
            made.skeleton(64, 48)
            made.openpose_json(64, 48)


@target()
def lora_name(data: bytes, folder: Path) -> None:
    """A LoRA's name from a request, and in a tag of another program's prompt."""
    from zimage_kit.errors import BadRequest
    from zimage_kit.models.loras import lora_file
    from zimage_kit.models.spec import resolve
    from zimage_kit.recipe.foreign import Found, to_request
    from zimage_kit.recipe.request import Request

    name = _text(data)
    try:
        request = Request(loras=[name])
        _same_again(request)
        lora_file(request.loras[0], resolve("nano"))
    except BadRequest as error:
        _one_line(error)
    _same_again(to_request(Found("a test", f"a boat <lora:{name}:0.5>", loras=[(name, "1")]))[0])


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
                _one_line(error)
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
        _one_line(error)
    for name in ("transformer", "text_encoder", "vae"):
        weights.component_files(model / name)
        directories.component_config(model, name)


# texts and tables


@target()
def template(data: bytes, folder: Path) -> None:
    """A template: what it may become, and its place in a recipe."""
    from zimage_kit.errors import BadRequest
    from zimage_kit.recipe import templates

    text = _text(data)
    escaped = templates.escape(text)
    try:
        assert templates.resolve(escaped, 1) == text, "an escaped text means itself"
        ways = templates.count(text)
        first, second = (templates.resolve(text, seed) for seed in (1, 2))
        if ways == 1:
            assert first == second
        if ways <= 500:
            assert {first, second} <= {each.prompt for each in templates.every(text)}
        templates.some(text, 3)
    except BadRequest as error:
        _one_line(error)


@target()
def word_list(data: bytes, folder: Path) -> None:
    """The file of a word list."""
    from zimage_kit.errors import BadRequest
    from zimage_kit.recipe import templates

    (folder / "wordlists" / "given.txt").write_bytes(data)
    try:
        templates.resolve("a __given__", 1)
        templates.count("{2$$__given__} __animals__")
    except BadRequest as error:
        _one_line(error)
    finally:
        (folder / "wordlists" / "given.txt").unlink()


@target()
def table(data: bytes, folder: Path) -> None:
    """A table as a grid's axes, as far as its plan."""
    from zimage_kit.errors import ZImageError
    from zimage_kit.grid.planning import plan

    file = folder / "table.csv"
    file.write_bytes(data)
    try:
        found = plan("a boat", file)
        for place, _ in zip(found.places(), range(20), strict=False):
            found.request(place)
    except ZImageError as error:
        _one_line(error)


@target()
def axis(data: bytes, folder: Path) -> None:
    """An axis of a grid as a person types it: a name, a line break, values."""
    from zimage_kit.errors import ZImageError
    from zimage_kit.grid.planning import plan
    from zimage_kit.recipe.request import Request

    name, _, values = _text(data).partition("\n")
    if values.startswith("@"):
        return  # any file of this machine
    try:
        found = plan(Request(prompt="a {slot} boat").then({"kind": "variety"}), {name: values, "slot": ["x"]})
        for place, _ in zip(found.places(), range(20), strict=False):
            found.request(place)
    except ZImageError as error:
        _one_line(error)


@target()
def grid(data: bytes, folder: Path) -> None:
    """A file that a grid was saved in."""
    from zimage_kit.errors import ZImageError
    from zimage_kit.grid.grid import Grid

    file = folder / "grid.json"
    file.write_bytes(data)
    try:
        repr(Grid.open(file))
    except ZImageError as error:
        _one_line(error)


@target()
def kept(data: bytes, folder: Path) -> None:
    """A preset, and the user's styles."""
    from zimage_kit.errors import BadRequest
    from zimage_kit.recipe import presets, styles

    for name in ("given.json", ".styles.json"):
        (folder / "presets" / name).write_bytes(data)
    for read in (lambda: _same_again(presets.preset("given")), lambda: repr(styles.styles())):
        try:
            read()
        except BadRequest as error:
            _one_line(error)


@target()
def manifest(data: bytes, folder: Path) -> None:
    """An extension's extension.toml."""
    from zimage_kit.stages import discovery

    own = folder / "given"
    own.mkdir(exist_ok=True)
    (own / discovery.MANIFEST).write_bytes(data)
    found = discovery._read(own, "zimage_extensions.given", "")
    assert "\n" not in found.problem


@target()
def marks(data: bytes, folder: Path) -> None:
    """A sidecar of a picture: read, and written again with other stars."""
    from zimage_kit.library import marks as of

    image = folder / "marked.png"
    image.with_suffix(of.OLD).write_bytes(data)
    of.sidecar(image).write_bytes(data)
    found = of.read(image)
    given = of.Marks(3, (*found.tags[:20], "sea"), True)
    of.write(image, given)
    again = of.read(image)
    assert (again.stars, again.winner) == (3, True)
    for left in folder.glob("marked.*"):
        left.unlink()


@target()
def asset(data: bytes, folder: Path) -> None:
    """What a stage's field says of a file."""
    from zimage_kit.errors import BadRequest
    from zimage_kit.recipe import asset as of

    text = _text(data)
    for name in (text, "asset:" + "0" * 64 + "/" + text):
        try:
            found = of.parsed(name)
            if found is not None:
                assert of.parsed(str(found)) is not None
                assert not Path(found.place).is_absolute() and ".." not in Path(found.place).parts
                str(found.name).encode()
        except BadRequest as error:
            _one_line(error)


# what every target says


@cache
def _stage(kind: str) -> Any:
    """A stage's class, looked for once: its folder is read anew at each look."""
    from zimage_kit.stages.extensions import stage_class

    return stage_class(kind)


def _one_line(error: BaseException) -> None:
    """An error's message is one line that any terminal can show."""
    assert "\n" not in str(error)
    str(error).encode()


def _same_again(request: object) -> None:
    """A request that was read is a request that can be written and read."""
    from zimage_kit.recipe.request import Request

    assert isinstance(request, Request)
    text = request.to_json()
    text.encode()
    again = Request.from_json(text)
    assert again.to_json() == text, "a request reads back as another one"


def _with_checksums(data: bytes) -> bytes:
    """A PNG whose chunks have the right checksums, so that what is in them is read; anything else as it is."""
    if not data.startswith(b"\x89PNG\r\n\x1a\n"):
        return data
    out, at = io.BytesIO(), 8
    out.write(data[:8])
    while at + 8 <= len(data):
        length = struct.unpack(">I", data[at : at + 4])[0]
        body = data[at + 4 : at + 8 + length]
        out.write(data[at : at + 4] + body)
        if len(body) == 4 + length:
            out.write(struct.pack(">I", zlib.crc32(body)))
        at += 12 + length
    return out.getvalue()
