"""`%%imagine`, and progress without the panel, in a real kernel."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.error import UsageError
from nbclient import NotebookClient
from PIL import Image

import zimage_kit as zk
from zimage_kit.notebook import magic

CELLS = {
    "load": "%load_ext zimage_kit",
    "one": "%%imagine --seed 7 --steps 3 --as boat\na red boat\non the sea",
    "named": "print(boat.request.prompt, boat.request.seed, boat.request.steps)",
    "several": "%%imagine --count 2 --seed 5 --steps 2 --stage text_overlay:text=Hi --output boats.png\na red boat",
    "wrong": "%%imagine --steps many\na red boat",
    "empty": "%%imagine\n  \n",
    "words": "%%imagine --seed 3 a red\nboat",
    "line": "%imagine --seed 3 --steps 2 a red boat",
    "scout": "%imagine --scout 6 --count 2 --seed 5 --steps 2 --size 64x64 --as far a red boat",
    "seeds": "print(sorted(each.request.seed for each in far))",
    "stage": "%%imagine --stage nothing\na red boat",
    "help": "%imagine --help",
    "slow": "import zimage_kit as zk; zk.connect().run('a red boat', steps=60, seed=9)",
    "error": "zk.connect().run('', seed=1)",
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, running: Path) -> dict[str, Any]:
    """Each cell's outputs, by its name, and the folder that the kernel ran in. Updates of a display are kept apart."""
    folder = tmp_path_factory.mktemp("imagine")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS.values()])
    updates: list[Any] = []

    class Client(NotebookClient):
        def process_message(self, message: Any, cell: Any, index: int) -> Any:
            if message["msg_type"] in ("display_data", "update_display_data"):
                updates.append((list(CELLS)[index], message["content"]["data"]))
            return super().process_message(message, cell, index)

    Client(notebook, timeout=120, allow_errors=True, resources={"metadata": {"path": str(folder)}}).execute()
    return {
        "folder": folder,
        "updates": updates,
        **{name: cell.outputs for name, cell in zip(CELLS, notebook.cells, strict=True)},
    }


def text(outputs: Any) -> str:
    return "".join(output.get("text", "") for output in outputs)


def pictures(outputs: Any) -> list[Image.Image]:
    data = [output.get("data", {}).get("image/jpeg") for output in outputs]
    return [Image.open(io.BytesIO(base64.b64decode(each))) for each in data if each]


def test_a_cell_is_a_prompt_and_gives_its_artifact(ran: dict[str, Any]) -> None:
    assert [picture.size for picture in pictures(ran["one"])] == [(256, 256)]
    assert text(ran["named"]) == "a red boat\non the sea 7 3\n"


def test_one_line_does_as_well(ran: dict[str, Any]) -> None:
    assert "'a red boat', nano, seed 3" in ran["line"][-1]["data"]["text/plain"]


def test_seeds_that_differ_are_looked_for(ran: dict[str, Any]) -> None:
    assert len(pictures(ran["scout"])) == 2
    found = eval(text(ran["seeds"]))
    assert len(set(found)) == 2
    assert set(found) <= set(range(5, 11))


def test_several_pictures_with_a_stage_are_shown_and_written(ran: dict[str, Any]) -> None:
    assert len(pictures(ran["several"])) == 2
    files = sorted(Path(ran["folder"]).glob("boats*.png"))
    assert [zk.open(file).request.seed for file in files] == [5, 6]
    assert [stage.kind for stage in zk.open(files[0]).request.stages] == ["text_overlay"]


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("wrong", "--steps: invalid int value: 'many'. %imagine --help lists the options."),
        ("words", "'a red' stands behind the options; the prompt goes below that line"),
        ("empty", "the prompt is empty. Say what to draw."),
        ("stage", "unknown stage 'nothing'"),
    ],
)
def test_what_cannot_be_is_one_line_without_a_traceback(ran: dict[str, Any], cell: str, says: str) -> None:
    shown = text(ran[cell]) + "".join("\n".join(output.get("traceback", ())) for output in ran[cell])
    assert says in shown and "Traceback" not in shown and "File" not in shown
    assert len(shown.strip().splitlines()) == 1


def test_help_lists_the_options_with_an_example(ran: dict[str, Any]) -> None:
    assert "--lora NAME[:WEIGHT]" in text(ran["help"]) and "Example:" in text(ran["help"])


def test_run_shows_a_bar_with_the_picture_in_the_making_and_takes_it_away(ran: dict[str, Any]) -> None:
    told = [data for name, data in ran["updates"] if name == "slow"]
    bars = [data["text/html"] for data in told if "<progress" in data.get("text/html", "")]
    assert len(bars) > 5 and "of 60" in bars[-1] and "left" in bars[-1]
    assert "data:image/jpeg;base64," in bars[-1]
    assert any(data == {} for data in told), "taken away at the end"
    assert not any("<progress" in output.get("data", {}).get("text/html", "") for output in ran["slow"])
    assert len(pictures(ran["slow"])) == 1


def test_an_error_in_a_cell_is_one_line_and_where(ran: dict[str, Any]) -> None:
    (error,) = [output for output in ran["error"] if output.output_type == "error"]
    assert error.traceback == [
        "BadRequest: the prompt is empty. Say what to draw.",
        "  line 1 of the cell: zk.connect().run('', seed=1)",
    ]


@pytest.mark.parametrize(
    ("line", "arguments", "prompt"),
    [
        ("a cat's toy", [], "a cat's toy"),
        ("--seed 3 the dog's and the cat's toys", ["--seed=3"], "the dog's and the cat's toys"),
        ('a sign that says "OPEN  NOW"', [], 'a sign that says "OPEN  NOW"'),
        ('a 5" nail --seed 7', ["--seed=7"], 'a 5" nail'),
        ("写着“海上生明月”的灯笼，‘红’的 --steps 2", ["--steps=2"], "写着“海上生明月”的灯笼，‘红’的"),
        (r"a back\slash and $5", [], r"a back\slash and $5"),
        ('--negative "too dark" a cat', ["--negative=too dark"], "a cat"),
        ("--negative='it is late' a cat's toy", ["--negative=it is late"], "a cat's toy"),
        ('--stage text_overlay:text="Sea and moon",place=bottom a boat',
         ["--stage=text_overlay:text=Sea and moon,place=bottom"], "a boat"),
        ("--save -o boats.png --guidance -1 a boat", ["--save", "-o", "boats.png", "--guidance=-1"], "a boat"),
        ("--see 7 a boat", ["--see=7"], "a boat"),
        ("a -3 degree morning, well-lit", [], "a -3 degree morning, well-lit"),
        ("a boat --seed", ["--seed"], "a boat"),
        ("--seed --save a boat", ["--seed", "--save"], "a boat"),
        ("--unknown 3 a boat", ["--unknown"], "3 a boat"),
        ("", [], ""),
    ],
)  # fmt: skip
def test_a_prompt_comes_out_as_it_was_typed(line: str, arguments: list[str], prompt: str) -> None:
    assert magic._split(line, magic._options()) == (arguments, prompt)


@pytest.mark.parametrize("line", ["a boat --seed", "--seed --save a boat", "--unknown 3 a boat"])
def test_an_option_that_cannot_be_is_wrong_usage(line: str) -> None:
    with pytest.raises(UsageError, match="%imagine --help lists the options"):
        magic.imagine(line)
