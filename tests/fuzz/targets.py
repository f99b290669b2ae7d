"""What reads texts, recipes and tables of others, one target each: bytes go to the real reader, and only our errors
come out. Those that read weights, pictures, fonts and folders are in file_targets.py.

A target knows which errors its reader may raise: those of `zimage_kit.errors` that its docstring names, or none where
it says that it never raises. Time and memory are bounded too. A target takes a folder, in which are the file that is
read, and the places that readers look into (LoRAs, word lists, presets).

    python -m tests.fuzz.run                fuzzes them; see there
    tests/fuzz/test_seeds.py                every input that was kept, at each run of the tests
"""

from __future__ import annotations

from pathlib import Path

import file_targets  # noqa: F401  its targets are in TARGETS
from bounds import TARGETS, as_text, latin, one_line, same_again, stage, target, with_checksums

__all__ = ["TARGETS"]

# recipes in pictures


@target("PIL")
def picture(data: bytes, folder: Path) -> None:
    """A whole file: `zk.open`, a picture without a recipe, the library's look at it."""
    from zimage_kit.errors import NoRecipe
    from zimage_kit.library import scan
    from zimage_kit.recipe import artifact

    data, file = with_checksums(data), folder / "picture.png"
    file.write_bytes(data)
    for read in (lambda: artifact.read(data), lambda: artifact.read_any(file), lambda: artifact.read_recipe(file)):
        try:
            found = read()
        except NoRecipe as error:
            one_line(error)
        else:
            if isinstance(found, artifact.Artifact):
                same_again(found.request)
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
        image.info[latin(name)] = latin(text)
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

    text = as_text(data)
    for given in (text, '{"request":' + text + ',"trace":{}}', '{"request":{},"trace":' + text + "}"):
        try:
            found, trace = recipe_in(folder / "picture.png", given)
        except NoRecipe as error:
            one_line(error)
        else:
            same_again(found)
            trace.model_dump_json()
    for given_bytes in (data, text):
        try:
            request = Request.from_json(given_bytes)
        except BadRequest as error:
            one_line(error)
            continue
        same_again(request)
        try:
            extensions.build_stages(request.stages)
        except BadRequest as error:
            one_line(error)


_PROGRAMS = ("parameters", "prompt", "workflow", "invokeai_metadata", "sd-metadata", "Comment", "xmp", "Description")


@target()
def foreign(data: bytes, folder: Path) -> None:
    """A recipe of another program: the first byte says of which."""
    from zimage_kit.recipe.programs import read_foreign

    name, text = _PROGRAMS[data[0] % len(_PROGRAMS)] if data else "parameters", as_text(data[1:])
    if name == "xmp":
        text = f"<exif:UserComment><rdf:Alt><rdf:li>{text}</rdf:li></rdf:Alt></exif:UserComment>"
    found = read_foreign({name: text, "Description": "a boat"})
    if found is not None:
        request, notes = found
        same_again(request)
        assert all(isinstance(note, str) for note in notes)


# poses, LoRAs' names


@target("zimage_extensions")
def pose(data: bytes, folder: Path) -> None:
    """OpenPose JSON as text and as a file; what can be read can be drawn."""
    from zimage_kit.errors import BadRequest

    made_of = stage("pose")
    file = folder / "pose.json"
    file.write_bytes(data)
    text = as_text(data)
    for people in (text, file, "{" + text, {"people": text}):
        for fit in ("canvas", "frame"):
            try:
                made = made_of(people=people, fit=fit)
            except BadRequest as error:
                one_line(error)
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

    name = as_text(data)
    try:
        request = Request(loras=[name])
        same_again(request)
        lora_file(request.loras[0], resolve("nano"))
    except BadRequest as error:
        one_line(error)
    same_again(to_request(Found("a test", f"a boat <lora:{name}:0.5>", loras=[(name, "1")]))[0])


# texts and tables


@target()
def template(data: bytes, folder: Path) -> None:
    """A template: what it may become, and its place in a recipe."""
    from zimage_kit.errors import BadRequest
    from zimage_kit.recipe import templates

    text = as_text(data)
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
        one_line(error)


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
        one_line(error)
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
        one_line(error)


@target()
def axis(data: bytes, folder: Path) -> None:
    """An axis of a grid as a person types it: a name, a line break, values."""
    from zimage_kit.errors import ZImageError
    from zimage_kit.grid.planning import plan
    from zimage_kit.recipe.request import Request

    name, _, values = as_text(data).partition("\n")
    if values.startswith("@"):
        return  # any file of this machine
    try:
        found = plan(Request(prompt="a {slot} boat").then({"kind": "variety"}), {name: values, "slot": ["x"]})
        for place, _ in zip(found.places(), range(20), strict=False):
            found.request(place)
    except ZImageError as error:
        one_line(error)


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
        one_line(error)


@target()
def kept(data: bytes, folder: Path) -> None:
    """A preset, and the user's styles."""
    from zimage_kit.errors import BadRequest
    from zimage_kit.recipe import presets, styles

    for name in ("given.json", ".styles.json"):
        (folder / "presets" / name).write_bytes(data)
    for read in (lambda: same_again(presets.preset("given")), lambda: repr(styles.styles())):
        try:
            read()
        except BadRequest as error:
            one_line(error)


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

    text = as_text(data)
    for name in (text, "asset:" + "0" * 64 + "/" + text):
        try:
            found = of.parsed(name)
            if found is not None:
                assert of.parsed(str(found)) is not None
                assert not Path(found.place).is_absolute() and ".." not in Path(found.place).parts
                str(found.name).encode()
        except BadRequest as error:
            one_line(error)
