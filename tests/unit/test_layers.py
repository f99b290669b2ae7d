"""Imports go down only, as design has it; torch and diffusers stay where they belong. Read off the syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "zimage_kit"

LAYERS = (
    {"breaking", "display", "errors", "events", "model_data", "cards", "fonts", "gpus", "hub_sources", "units"},
    {"progress", "status", "texts"},
    {"request", "store", "compare", "png"},
    {"artifact"},
    {"stage"},
    {"placement", "directories", "discovery", "extras", "models", "extensions", "prompts", "memory"},
    {"lora", "controlnet", "preview", "steps", "hub"},
    {"preflight", "contract", "scaffold"},
    {"pipeline"},
    {"execute"},
    {"engines"},
    {"job"},
    {"session"},
    {"grid"},
    {"doctor", "doctor_probe"},
    {"widgets"},
    {"cli"},
    {"__main__", "magic"},
)
"""Lowest first. A module imports from its own layer and those below. A new module must be given its place here."""

FRONT_DOOR = {
    ("artifact", "connect"), ("grid", "connect"), ("session", "widgets"), ("session", "grid"), ("grid", "widgets"),
}  # fmt: skip
"""An artifact or a grid read from a file has no session yet, and asks the package's front door for one; a session makes
its own grids and panel, and a grid its own view. All inside of a function, when somebody asks for it."""

RANK = {module: rank for rank, layer in enumerate(LAYERS) for module in layer}


def modules() -> Iterator[tuple[str, Path]]:
    """(first-level name, file) of everything but the front door itself and nano, which stands beside the layers."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if name not in ("__init__", "nano"):
            yield name, path


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
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, [], id(node) not in inside
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield (
                ".".join([*base, *([node.module] if node.module else [])]),
                [a.name for a in node.names],
                (id(node) not in inside),
            )


def ours(module: str, names: list[str]) -> list[str]:
    """First-level modules of ours that an import reaches; a name that is no module stands for the front door."""
    if module == "zimage_kit":
        return names
    return [module.split(".")[1]] if module.startswith("zimage_kit.") else []


@pytest.mark.parametrize("path", [pytest.param(path, id=str(path.relative_to(PACKAGE))) for _, path in modules()])
def test_imports_go_down_only(path: Path) -> None:
    name = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert name in RANK, f"give {name} its place in LAYERS"
    for module, names, _ in imports(path):
        for target in ours(module, names):
            if target in (name, "nano", "__version__") or (name, target) in FRONT_DOOR:
                continue
            assert target in RANK, f"{path.name} imports {target} from the front door"
            assert RANK[target] <= RANK[name], f"{name} (layer {RANK[name]}) imports {target} (layer {RANK[target]})"


def test_modules_of_one_layer_do_not_go_in_circles() -> None:
    reach: dict[str, set[str]] = {}
    for name, path in modules():
        targets = {target for module, names, _ in imports(path) for target in ours(module, names)}
        reach.setdefault(name, set()).update(target for target in targets if target in RANK and target != name)
    for layer in LAYERS:
        for name in layer & set(reach):
            seen, todo = set(), {other for other in reach[name] if other in layer}
            while todo:
                other = todo.pop()
                seen.add(other)
                todo |= {next_ for next_ in reach.get(other, set()) if next_ in layer} - seen
            assert name not in seen, f"{name} imports itself by way of {seen}"


def test_only_the_pipeline_and_its_controlnets_import_diffusers() -> None:
    found = {
        path.name for _, path in modules() for module, _, _ in imports(path) if module.split(".")[0] == "diffusers"
    }
    assert found - {"doctor_probe.py"} == {
        "pipeline.py",
        "controlnet.py",
    }  # the probe only tries it


def test_torch_is_imported_at_the_top_only_where_the_pipeline_is() -> None:
    found = {
        path.name
        for _, path in modules()
        for module, _, top in imports(path)
        if module.split(".")[0] == "torch" and top
    }
    assert found == {"pipeline.py", "controlnet.py", "preview.py", "steps.py"}
