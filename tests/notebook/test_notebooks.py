"""The course: the form of every notebook, what is stored in it, and (`make check-notebooks`) that it runs in a kernel.

ZIMAGE_TEST_ZH=1 runs the Chinese notebooks too; their cells are the English ones', which a test compares.
"""

from __future__ import annotations

import ast
import base64
import io
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

from zimage_kit.session.shared import launch
from zimage_kit.session.shared.shared_engine import SharedEngine
from zimage_kit.stages.extensions import checkout, discover

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
ENGLISH = sorted(FOLDER.glob("*.ipynb"))
CHINESE = sorted((FOLDER / "zh").glob("*.ipynb"))
ALL = [*ENGLISH, *CHINESE]
COURSE = [path.stem for path in ENGLISH]
RUN = ALL if os.environ.get("ZIMAGE_TEST_ZH") else ENGLISH
SHIPPED = [kind for found in discover() if found.folder.parent == checkout() for kind in found.stages]
KILOBYTES = 520
"""All notebooks of one language together; a clone brings them."""

Run = Callable[..., Any]


def name_of(path: Path) -> str:
    return path.relative_to(FOLDER).with_suffix("").as_posix()


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)


def code_of(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose_of(notebook: Any) -> str:
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def python(source: str) -> str:
    """A cell without the lines that are IPython's own."""
    return re.sub(r"^( *)[!%].*$", r"\1pass", source, flags=re.MULTILINE)


def pictures(cell: Any) -> list[Image.Image]:
    """The pictures that a code cell shows without widgets."""
    shown = [output.get("data", {}) for output in cell.get("outputs", ())]
    encoded = [data[kind] for data in shown for kind in ("image/png", "image/jpeg") if kind in data]
    return [Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB") for text in encoded]


def text(cell: Any) -> str:
    return "".join(output.get("text", "") for output in cell.get("outputs", ()))


def solutions(notebook: Any) -> list[str]:
    """The code of the tasks' solutions."""
    folded = re.findall(r"<details>.*?</details>", prose_of(notebook), re.DOTALL)
    return [code for part in folded for code in re.findall(r"```python\n(.*?)```", part, re.DOTALL)]


def test_the_course_is_whole() -> None:
    assert [stem.partition("_")[0] for stem in COURSE] == [*(f"{number:02}" for number in range(1, 11)), "A", "B", "C"]
    assert sum(path.stat().st_size for path in ENGLISH) < KILOBYTES * 1000


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_a_notebook_has_the_form_of_the_course(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    code, opening = code_of(notebook), notebook.cells[0]
    assert len(code) <= 12
    assert code[0].source == "import zimage_kit as zk; session = zk.connect()"
    assert opening.cell_type == "markdown", "prose first: what this is about"
    (minutes,) = map(int, re.findall(r"\*\*(\d+) ?(?:minutes|分钟)", opening.source))
    assert 5 <= minutes <= 10
    assert len(solutions(notebook)) == 2
    assert len(re.findall(r"</details>", prose_of(notebook))) == 2
    if not path.stem.startswith("10"):
        assert not any(re.search(r"^\s*(def|class) ", cell.source, re.MULTILINE) for cell in code)


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_its_code_can_be_read_and_its_solutions_too(path: Path) -> None:
    notebook = read(path)
    for source in [cell.source for cell in code_of(notebook)] + solutions(notebook):
        ast.parse(python(source))


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_it_leads_to_its_neighbours(path: Path) -> None:
    last, place = read(path).cells[-1].source, COURSE.index(path.stem)
    linked = re.findall(r"\]\(([^)]+\.ipynb)\)", last)
    assert [name for name in linked if not (path.parent / name).is_file()] == []
    neighbours = [COURSE[each] for each in (place - 1, place + 1) if 0 <= each < len(COURSE)]
    assert {f"{stem}.ipynb" for stem in neighbours} <= set(linked)


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_papermill_finds_the_parameter(path: Path) -> None:
    tagged = [cell for cell in code_of(read(path)) if "parameters" in cell.metadata.get("tags", ())]
    assert [cell.source for cell in tagged] == ["model = None"]


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_what_is_stored_is_in_step_and_says_nothing_of_this_machine(path: Path) -> None:
    assert path.stat().st_size < 1_000_000
    notebook = read(path)
    code = code_of(notebook)
    assert any(pictures(cell) for cell in code), f"run `make notebooks`: {path.name} holds no picture"
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run `make notebooks`"
    assert not any(output.output_type == "error" for cell in code for output in cell.outputs)
    for private in ("/root/", "/home/", "/Users/", "/tmp/", "/work/"):
        assert private not in path.read_text("utf-8")


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_every_stored_grid_has_its_sheet(path: Path) -> None:
    for cell in code_of(read(path)):
        if any(output.get("data", {}).get("text/plain", "").startswith("<Grid") for output in cell.outputs):
            assert pictures(cell), f"run `make notebooks`: no sheet beneath {cell.source!r}"


def test_turbo_is_missed_once_and_not_in_every_notebook() -> None:
    said = "turbo is not on this disk"
    told = [path.stem for path in ENGLISH if any(said in text(cell) for cell in code_of(read(path)))]
    assert told == COURSE[:1]


@pytest.mark.parametrize("path", CHINESE, ids=name_of)
def test_the_chinese_cells_are_the_english_ones(path: Path) -> None:
    english, chinese = read(FOLDER / path.name), read(path)
    assert [cell.cell_type for cell in chinese.cells] == [cell.cell_type for cell in english.cells]
    for ours, theirs in zip(code_of(chinese), code_of(english), strict=True):
        assert ours.source == theirs.source
        assert ours.metadata.get("tags") == theirs.metadata.get("tags")


def test_both_languages_have_the_whole_course() -> None:
    assert [path.name for path in CHINESE] in ([], [path.name for path in ENGLISH])


def test_every_kind_of_stage_is_shown() -> None:
    cells = "\n".join(cell.source for path in ENGLISH for cell in code_of(read(path)))
    assert [kind for kind in SHIPPED if f"stages.{kind}(" not in cells] == []


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, running: Path) -> Run:
    """Runs a notebook once, in a kernel of its own, and keeps what came of it for the tests that ask.

    They share an outputs folder, as a reader's do, unless `alone`. `model` is injected as Papermill does it.
    """
    kept: dict[tuple[Path, bool, str | None], Any] = {}
    together = tmp_path_factory.mktemp("course")

    def run(path: Path, *, alone: bool = False, model: str | None = None) -> Any:
        if (path, alone, model) not in kept:
            notebook = read(path)
            for cell in code_of(notebook):
                cell.outputs, cell.execution_count = [], None
            if model is not None:
                tags = [cell.metadata.get("tags", ()) for cell in notebook.cells]
                tagged = next(place for place, names in enumerate(tags) if "parameters" in names)
                injected = nbformat.v4.new_code_cell(f"# Parameters\nmodel = {model!r}\n")
                injected.metadata["tags"] = ["injected-parameters"]
                notebook.cells.insert(tagged + 1, injected)
            folder = tmp_path_factory.mktemp("alone") if alone else together
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("ZIMAGE_OUTPUTS", str(folder / "outputs"))
                place = {"metadata": {"path": str(path.parent)}}
                NotebookClient(notebook, timeout=300, coalesce_streams=True, resources=place).execute()
            kept[path, alone, model] = notebook
        return kept[path, alone, model]

    return run


def named(stem: str) -> Path:
    return next(path for path in ENGLISH if path.stem.startswith(stem))


@pytest.mark.notebooks
@pytest.mark.parametrize("path", RUN, ids=name_of)
def test_a_notebook_runs_top_to_bottom_and_shows_pictures(path: Path, ran: Run) -> None:
    began = time.monotonic()
    shown = [picture for cell in code_of(ran(path)) for picture in pictures(cell)]
    print(f"{path.stem}: {time.monotonic() - began:.1f} s")
    assert shown
    for picture in shown:
        darkest, brightest = picture.convert("L").getextrema()
        assert brightest - darkest > 30, "a picture, not a single flat colour"


@pytest.mark.notebooks
def test_the_first_notebook_keeps_its_promises(ran: Run) -> None:
    _, _, first, _, recipe, boat, library, cancel = code_of(ran(named("01")))
    assert pictures(first)[0].size == (256, 256)
    assert text(recipe).rstrip().endswith("identical")
    assert pictures(boat)[0].tobytes() == pictures(library)[0].tobytes(), "the library found the boat"
    assert text(cancel).split()[-2:] == ["cancelled", "cancelled"], "the last event, and the job's state"
    assert "step 3" in text(cancel) and "step 20" not in text(cancel)


@pytest.mark.notebooks
def test_a_later_notebook_finds_the_boat_of_the_first(ran: Run) -> None:
    boat, found = code_of(ran(named("01")))[5], code_of(ran(named("03")))[2]
    assert pictures(boat)[0].tobytes() == pictures(found)[0].tobytes()


@pytest.mark.notebooks
def test_a_notebook_runs_alone_and_with_papermills_parameter(ran: Run) -> None:
    code = code_of(ran(named("08"), alone=True, model="nano"))
    assert code[2].metadata["tags"] == ["injected-parameters"]
    assert pictures(code[3]), "the lantern was made, since it was not there"


@pytest.mark.notebooks
def test_the_appendix_shows_two_kernels_on_one_session(ran: Run) -> None:
    _, _, first, second, watched, kept, batch = code_of(ran(named("A")))
    assert "nano · 1 · 0" in text(first)
    assert "1 False" in text(second), "one load, and no torch in the second kernel"
    assert pictures(first)[0].tobytes() != pictures(second)[0].tobytes(), "another seed, another picture"
    assert text(watched).split() == ["cancelled", "cancelled"]
    assert text(kept).startswith("True ") and pictures(kept), "saved although its kernel died"
    assert text(batch).count("(256, 256)") == 2


@pytest.mark.notebooks
def test_all_notebooks_together_load_one_model_once(ran: Run, running: Path) -> None:
    for path in ENGLISH:
        ran(path)
    engine = SharedEngine.at(running / launch.FILE)
    status = engine.status()
    engine.close()
    assert status.model_loads == 1
    assert status.clients == 1, "kernels that have ended are not attached any more"
