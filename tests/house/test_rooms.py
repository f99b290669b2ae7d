"""The house: ten rooms, imports go down only, torch stays where it belongs. Read off the syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "zimage_kit"

ROOMS = (
    {"errors"},
    {"files"},
    {"text"},
    {"recipe"},
    {"models"},
    {"stages"},
    {"engine"},
    {"library"},
    {"session"},
    {"grid"},
    {"studio"},
    {"doctor"},
    {"cli"},
    {"notebook"},
    {"__main__"},
)
"""From the ground up. A module imports from its own room and from those below; a new room is given its place here."""

FRONT_DOORS = {
    ("recipe", "library"): "artifact.save() without a path asks where pictures are kept",
    ("recipe", "connect"): "an artifact that was read from a file asks the package for a session",
    ("recipe", "models"): "another program's recipe takes over the LoRAs that are here by name",
    ("grid", "connect"): "so does a grid that was read from a file",
    ("grid", "studio"): "a grid shows itself in a notebook",
    ("session", "grid"): "session.grid(...)",
    ("session", "studio"): "session.studio()",
}
"""The imports that go up, all of them inside of functions: what asks -> whom, and why."""

LARGEST, LARGEST_ROOT = 400, 8
"""Lines of a module; modules at the root of the package."""

RANK = {room: rank for rank, level in enumerate(ROOMS) for room in level}


def modules() -> Iterator[tuple[str, Path]]:
    """(room, file) of everything but the package's own front door and nano, which stands beside the rooms."""
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room not in ("__init__", "nano"):
            yield room, path


def imports(path: Path) -> Iterator[tuple[str, list[str], bool]]:
    """(absolute module, names, at the top level of the module?) of a file's imports, those only for types left out."""
    tree = ast.parse(path.read_text("utf-8"))
    for_types = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in ast.walk(node)
    }
    inside = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.walk(node)
    }
    package = ["zimage_kit", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        top = id(node) not in inside
        if isinstance(node, ast.Import):
            yield from ((alias.name, [], top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield module, [alias.name for alias in node.names], top


def rooms_of(module: str, names: list[str]) -> list[str]:
    """The rooms that an import reaches; a name of the package's own that is no room stands for its front door."""
    if module == "zimage_kit":
        return names
    return [module.split(".")[1]] if module.startswith("zimage_kit.") else []


def files_of(module: str, names: list[str]) -> set[str]:
    """The modules of ours that an import reaches, as dotted names."""
    found = {f"{module}.{name}" for name in names if _is_module(f"{module}.{name}")}
    if len(found) < len(names) or not names:
        found |= {module} if _is_module(module) else set()
    return found


def _is_module(dotted: str) -> bool:
    if not dotted.startswith("zimage_kit"):
        return False
    path = PACKAGE.parent.joinpath(*dotted.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", [pytest.param(path, id=str(path.relative_to(PACKAGE))) for _, path in modules()])
def test_imports_go_down_only(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert room in RANK, f"give {room} its place in ROOMS"
    for module, names, top in imports(path):
        for target in rooms_of(module, names):
            if target in (room, "nano", "__version__"):
                continue
            if (room, target) in FRONT_DOORS:
                assert not top, f"{path.name} imports {target} at its top: a front door is opened inside of a function"
                continue
            assert target in RANK, f"{path.name} imports {target} from the package's front door"
            assert RANK[target] < RANK[room], f"{dotted(path)} imports {target}, which lies above {room}"


def test_every_front_door_is_used() -> None:
    used = {
        (room, target)
        for room, path in modules()
        for module, names, _ in imports(path)
        for target in rooms_of(module, names)
    }
    assert set(FRONT_DOORS) <= used


def test_no_modules_go_in_circles() -> None:
    """Not even inside of a room; imports inside of functions through front doors do not count."""
    reach: dict[str, set[str]] = {}
    for room, path in modules():
        for module, names, _ in imports(path):
            doors = {target for target in rooms_of(module, names) if (room, target) in FRONT_DOORS}
            if not doors:
                reach.setdefault(dotted(path), set()).update(files_of(module, names) - {dotted(path), "zimage_kit"})
    circles = []
    for name in reach:
        seen: set[str] = set()
        todo = set(reach[name])
        while todo:
            other = todo.pop()
            seen.add(other)
            todo |= reach.get(other, set()) - seen
        if name in seen:
            circles.append(name)
    assert not circles


def test_only_the_engine_imports_diffusers_and_only_where_it_is_needed() -> None:
    found = {
        (path.relative_to(PACKAGE).as_posix(), top)
        for _, path in modules()
        for module, _, top in imports(path)
        if module.split(".")[0] in ("diffusers", "transformers")
    }
    found = {each for each in found if not each[0].startswith(("nano/", "doctor/"))}  # tools, and a probe that tries it
    assert found == {("engine/stock.py", True), ("engine/controlnet.py", False), ("engine/load.py", False)}


def test_torch_is_imported_at_the_top_only_in_the_engine() -> None:
    found = {
        path.relative_to(PACKAGE).as_posix()
        for _, path in modules()
        for module, _, top in imports(path)
        if module.split(".")[0] == "torch" and top
    }
    names = (
        "adapters",
        "attention",
        "attention_kernels",
        "autoencoder",
        "blocks",
        "crossing",
        "controlnet",
        "denoise",
        "eight",
        "encode",
        "flat_controlnet",
        "fused",
        "graphs",
        "half",
        "fill",
        "kernels",
        "load",
        "lora",
        "lora_layouts",
        "machine",
        "networks",
        "packing",
        "pipeline",
        "places",
        "prepare",
        "rehearse",
        "scheduler",
        "unpack",
    )
    assert found == {f"engine/{name}.py" for name in (*names, "preview", "steps", "transformer")}


def test_the_root_holds_the_door_only() -> None:
    found = sorted(path.name for path in PACKAGE.glob("*.py"))
    assert len(found) <= LARGEST_ROOT, found
    assert found == ["__init__.py", "__main__.py", "errors.py", "files.py"]


def test_every_room_says_what_it_is_for() -> None:
    for folder in [path.parent for path in PACKAGE.rglob("__init__.py")]:
        assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8"))), folder


@pytest.mark.parametrize("path", [pytest.param(path, id=str(path.relative_to(PACKAGE))) for _, path in modules()])
def test_a_module_reads_in_one_sitting(path: Path) -> None:
    lines = path.read_text("utf-8").count("\n")
    assert lines <= LARGEST, f"{dotted(path)} has {lines} lines"
