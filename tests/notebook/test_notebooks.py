"""Every notebook: its form, what is stored in it, and (by `make check-notebooks`) that it runs in a real kernel."""

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

from zimage_kit.session.shared import launch
from zimage_kit.session.shared.shared_engine import SharedEngine

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
def ran(tmp_path_factory: pytest.TempPathFactory, running: Path) -> Any:
    """Runs a notebook once, in a kernel of its own, and keeps what came of it for the tests that ask."""
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


@pytest.mark.notebooks
@pytest.mark.parametrize("path", NOTEBOOKS, ids=IDS)
def test_a_notebook_runs_top_to_bottom_and_shows_pictures(path: Path, ran: Any) -> None:
    shown = [picture for cell in ran(path).cells for picture in pictures(cell)]
    assert shown
    for picture in shown:
        darkest, brightest = picture.convert("L").getextrema()
        assert brightest - darkest > 30, "a picture, not a single flat colour"


@pytest.mark.notebooks
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


@pytest.mark.notebooks
def test_the_second_notebook_shows_two_kernels_on_one_session(ran: Any) -> None:
    cells = [cell for cell in ran(NOTEBOOKS[1]).cells if cell.cell_type == "code"]
    _, first, second, watched, kept, last = cells
    assert "1 model load," in text(first) and pictures(first)
    assert "loads: 1 · torch in this kernel: False" in text(second) and pictures(second)
    assert pictures(first)[0].tobytes() != pictures(second)[0].tobytes(), "another seed, another picture"
    assert "the last: cancelled" in text(watched) and text(watched).endswith("here it is cancelled\n")
    assert "kept: True" in text(kept) and pictures(kept)
    assert Path(text(kept).splitlines()[-1]).is_file(), "saved although its kernel died"
    assert "1 load · 0 queued" in text(last)


@pytest.mark.notebooks
def test_all_notebooks_together_load_one_model_once(ran: Any, running: Path) -> None:
    for path in NOTEBOOKS:
        ran(path)
    engine = SharedEngine.at(running / launch.FILE)
    status = engine.status()
    engine.close()
    assert status.model_loads == 1
    assert status.clients == 1, "kernels that have ended are not attached any more"
