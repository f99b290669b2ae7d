"""Every notebook: its form, what is stored in it, and that it runs top to bottom in a real kernel."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
IDS = [path.stem for path in NOTEBOOKS]


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def pictures(cell: Any) -> list[Image.Image]:
    """The pictures that a code cell shows without widgets."""
    shown = [output.get("data", {}) for output in cell.get("outputs", ())]
    encoded = [data[kind] for data in shown for kind in ("image/png", "image/jpeg") if kind in data]
    return [Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB") for text in encoded]


def text(cell: Any) -> str:
    return "".join(output.get("text", "") for output in cell.get("outputs", ()))


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=IDS)
def test_a_notebook_is_short_and_starts_with_the_session(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    assert len(notebook.cells) <= 12
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code[0].source == "import zimage_kit as zk; session = zk.connect()"
    assert notebook.cells[0].cell_type == "markdown", "prose first: what this is about"
    assert not any(re.search(r"^\s*(def|class) ", cell.source, re.MULTILINE) for cell in code)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=IDS)
def test_a_stored_notebook_shows_its_pictures_and_nothing_of_this_machine(path: Path) -> None:
    assert path.stat().st_size < 1_000_000
    notebook = read(path)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert any(pictures(cell) for cell in code), f"run `make notebooks`: {path.name} holds no picture"
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    for private in ("/root/", "/home/", "/Users/", "/tmp/"):
        assert private not in path.read_text()


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs a notebook once and keeps what came of it for the tests that ask."""
    kept: dict[Path, Any] = {}

    def run(path: Path) -> Any:
        if path not in kept:
            notebook = read(path)
            for cell in notebook.cells:
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = [], None
            place = {"metadata": {"path": str(path.parent)}}
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("ZIMAGE_OUTPUTS", str(tmp_path_factory.mktemp("outputs")))
                NotebookClient(notebook, timeout=300, resources=place).execute()
            kept[path] = notebook
        return kept[path]

    return run


@pytest.mark.xdist_group("notebooks")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=IDS)
def test_a_notebook_runs_top_to_bottom_and_shows_pictures(path: Path, ran: Any) -> None:
    shown = [picture for cell in ran(path).cells for picture in pictures(cell)]
    assert shown
    for picture in shown:
        darkest, brightest = picture.convert("L").getextrema()
        assert brightest - darkest > 30, "a picture, not a single flat colour"


@pytest.mark.xdist_group("notebooks")
def test_the_first_notebook_keeps_its_promises(ran: Any) -> None:
    cells = [cell for cell in ran(NOTEBOOKS[0]).cells if cell.cell_type == "code"]
    _, first, chinese, seeds, recipe, cancel = cells
    assert pictures(first)[0].size == (256, 256)
    assert "龙" in text(chinese) and pictures(chinese)
    assert len({picture.tobytes() for picture in pictures(seeds)}) == 3, "three seeds, three pictures"
    assert text(recipe).rstrip().endswith("identical")
    saved = Path(text(recipe).splitlines()[0])
    assert saved.is_file() and saved.suffix == ".png"
    assert text(cancel).split()[-2:] == ["cancelled", "cancelled"], "the last event, and the job's state"
    assert "step 3" in text(cancel) and "step 20" not in text(cancel)
