"""The command `zimage`: what it promises about its answers, its exit status and what it leaves behind."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from hub_server import HubServer
from PIL import Image
from safetensors.numpy import save_file

import zimage_kit as zk
from zimage_kit import cli
from zimage_kit.cli import console
from zimage_kit.cli.run import numbered, parse_stage
from zimage_kit.errors import BadRequest
from zimage_kit.grid import preparation
from zimage_kit.grid.estimate import Estimate
from zimage_kit.recipe.request import StageData
from zimage_kit.stages.extensions import stage_class
from zimage_kit.stages.stage import build, registry
from zimage_kit.text.units import duration, gigabytes


@pytest.fixture(autouse=True)
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ZIMAGE_OUTPUTS", str(tmp_path / "outputs"))
    monkeypatch.delenv("ZIMAGE_DEBUG", raising=False)
    return tmp_path / "outputs"


def everything_in(folder: Path) -> list[str]:
    """Every file, hidden and temporary ones too."""
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def commands() -> Iterator[list[str]]:
    def walk(group: object, path: list[str]) -> Iterator[list[str]]:
        for name, command in getattr(group, "commands", {}).items():
            if hasattr(command, "commands"):
                yield from walk(command, [*path, name])
            else:
                yield [*path, name]

    yield from walk(typer.main.get_command(cli.app), [])


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_every_command_has_help_with_an_example(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.call([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"Examples?:\n +zimage {' '.join(words)}", shown), shown


def test_help_and_listings_load_nothing_heavy() -> None:
    script = (
        "import sys; from zimage_kit import cli;"
        "assert cli.call(['--help']) == cli.call(['models', 'list']) == cli.call(['run', '--help']) == 0;"
        "heavy = {'torch', 'diffusers', 'transformers', 'distributed', 'modelscope', 'rich'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_the_command_is_installed() -> None:
    zimage = Path(sysconfig.get_path("scripts")) / "zimage"
    if not zimage.exists():
        pytest.skip("zimage_kit runs from a checkout that is not installed")
    done = subprocess.run([str(zimage), "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"zimage_kit {zk.__version__}\n"


@pytest.mark.parametrize(
    ("line", "status", "says"),
    [
        ("run x --size 1000x1000", 2, r"width=1000.*multiple of 16.*992 or 1008"),
        ("run x --size large", 2, r"size='large'.*WIDTHxHEIGHT"),
        ("run x --steps 0", 2, r"steps=0.*1 to 200"),
        ("run x --model turbp", 2, r"turbp.*turbo"),
        ("run x --negative rain --model nano", 2, r"negative"),
        ("run x --stage nosuchstage", 2, r"nosuchstage"),
        ("run x --stage caption:text", 2, r"caption:text.*has no value.*KIND"),
        ("run x --count 0", 2, r"count.*zimage run --help"),
        ("run x --sise 4", 2, r"--sise.*--size.*zimage run --help"),
        ("models download turbo --source github", 2, r"github.*modelscope or huggingface"),
        ("models path", 2, r"NAME.*zimage models path --help"),
        ("doctor --quick --card 4060ti", 2, r"8GB or 16GB"),
        ("nosuchcommand", 2, r"nosuchcommand"),
        ("models path base", 1, r"base is not on this disk.*GB.*zimage models download base"),
        ("recipe show no/such.png", 1, r"no/such\.png"),
        ("run x --output /proc/nowhere/x.png", 1, r"cannot be written"),
        ("run x --output x.gif", 1, r"\.png"),
    ],
)
def test_an_error_is_one_line_with_what_to_do(
    line: str,
    status: int,
    says: str,
    outputs: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ZIMAGE_MODELS", str(outputs.parent / "models"))
    monkeypatch.setenv("HF_HOME", str(outputs.parent / "hf"))
    monkeypatch.setenv("MODELSCOPE_CACHE", str(outputs.parent / "ms"))
    assert cli.call(line.split()) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    (only,) = shown.err.splitlines()
    assert only.startswith("zimage")
    assert re.search(says, only), only
    assert not outputs.exists(), "nothing is left behind"


def test_a_traceback_is_shown_to_those_who_ask(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZIMAGE_DEBUG", "1")
    assert cli.call(["recipe", "show", "no/such.png"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_model_that_does_not_load_is_one_line_that_names_the_file(
    copied_model: Path, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (weights,) = (copied_model / "vae").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:1000])
    assert cli.call(["run", "a cat", "--model", str(copied_model), "--json"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.match(r"zimage: .*vae.*safetensors", shown.err.splitlines()[-1])
    assert "Traceback" not in shown.err
    assert not outputs.exists()


def test_a_stage_that_breaks_is_one_line_and_its_traceback_can_be_had(
    model: str, outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Breaks(zk.Stage):
        kind = "breaks"

        def after(self, image: Image.Image, ctx: zk.Context) -> Image.Image:
            raise RuntimeError("no picture today")

    registry.add(Breaks)
    # in this process, which alone knows the stage; a session of an earlier test may still run
    line = ["run", "a cat", "--model", model, "--steps", "1", "--stage", "breaks", "--inline", "--json"]
    try:
        assert cli.call(line) == 1
        shown = capsys.readouterr()
        assert re.match(r"zimage: .*no picture today.*ZIMAGE_DEBUG=1 prints it\.$", shown.err.splitlines()[-1])
        assert "Traceback" not in shown.err
        monkeypatch.setenv("ZIMAGE_DEBUG", "1")
        assert cli.call(line) == 1
        assert 'raise RuntimeError("no picture today")' in capsys.readouterr().err
    finally:
        registry.remove("breaks")
    assert not outputs.exists()


def test_a_command_leaves_the_library_as_talkative_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    cli.call(["extensions", "list"])
    logging.getLogger("zimage_kit").warning("after a command", extra={"in_trace": True})
    assert "after a command" in caplog.text


def test_a_group_alone_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.call(["models"]) == 2
    shown = capsys.readouterr()
    assert "download" in shown.out + shown.err


def test_run_says_what_it_does_and_where_the_picture_lies(
    model: str, outputs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.call(["run", "a red balloon", "--model", model, "--seed", "5", "--steps", "2"]) == 0
    shown = capsys.readouterr()
    saved = re.fullmatch(r"saved (\S+\.png) \(seed 5, [\d.]+ s\)\n", shown.out)
    assert saved is not None, shown.out
    assert "step 1 of 2\nstep 2 of 2\n" in shown.err
    artifact = zk.open(saved[1])
    assert artifact.request.prompt == "a red balloon"
    assert Path(saved[1]).is_relative_to(outputs)


def test_json_is_one_object_and_nothing_else(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["run", "红色的气球", "--model", model, "--seed", "7", "--steps", "1", "--count", "2", "--json"]
    assert cli.call([*line, "--output", str(tmp_path / "b.png")]) == 0
    shown = capsys.readouterr()
    pictures = json.loads(shown.out)["pictures"]
    assert [p["path"] for p in pictures] == [str(tmp_path / "b-1.png"), str(tmp_path / "b-2.png")]
    assert [p["request"]["seed"] for p in pictures] == [7, 8]
    assert pictures[0]["request"]["prompt"] == "红色的气球"
    assert "红色" in shown.out, "Chinese stays readable"
    assert "step" not in shown.err


def test_seeds_that_differ_are_looked_for(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["run", "a cat", "--model", model, "--seed", "7", "--steps", "4", "--size", "64x64", "--scout", "6"]
    assert cli.call([*line, "--count", "2", "--output", str(tmp_path / "b.png")]) == 0
    shown = capsys.readouterr()
    assert "looking at 6 seeds, 2 of 4 steps each: the work of 3 pictures, then 2 to finish\n" in shown.err
    seeds = [zk.open(tmp_path / f"b-{number}.png").request.seed for number in (1, 2)]
    assert seeds == sorted(set(seeds))
    assert set(seeds) <= set(range(7, 13))
    assert cli.call([*line, "--count", "2", "--output", str(tmp_path / "c.png"), "--json"]) == 0
    assert [each["request"]["seed"] for each in json.loads(capsys.readouterr().out)["pictures"]] == seeds


def test_the_same_command_gives_the_same_pixels(model: str, tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        line = ["run", "a cat", "--model", model, "--seed", "3", "--steps", "2", "--size", "128x96"]
        assert cli.call([*line, "-o", str(tmp_path / name)]) == 0
    one, two = (Image.open(tmp_path / name) for name in ("one.png", "two.png"))
    assert one.size == (128, 96)
    assert one.tobytes() == two.tobytes()


def test_a_recipe_is_shown_rerun_verified_and_compared(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, other, again = (str(tmp_path / f"{name}.png") for name in ("first", "other", "again"))
    for path, seed in ((first, "3"), (other, "4")):
        assert cli.call(["run", "a cat", "--model", model, "--seed", seed, "--steps", "2", "-o", path]) == 0
    capsys.readouterr()

    assert cli.call(["recipe", "show", first]) == 0
    assert re.search(r"^prompt +a cat$", capsys.readouterr().out, re.MULTILINE)
    assert cli.call(["recipe", "show", first, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["request"]["seed"] == 3

    assert cli.call(["recipe", "rerun", first, "--verify"]) == 0
    assert capsys.readouterr().out == "identical\n"
    assert cli.call(["recipe", "rerun", first, "-o", again]) == 0
    capsys.readouterr()
    assert Image.open(again).tobytes() == Image.open(first).tobytes()

    assert cli.call(["recipe", "diff", first, other]) == 0
    assert "seed: 3 -> 4" in capsys.readouterr().out
    assert cli.call(["recipe", "diff", first, again, "--json"]) == 0
    same = {"largest": 0, "mean": 0.0, "share": 0.0}
    assert json.loads(capsys.readouterr().out) == {"fields": {}, "pixels": same, "inputs": []}


def test_a_picture_that_was_changed_does_not_verify(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "changed.png"
    artifact = zk.connect("inline").run("a cat", model=model, seed=3, steps=2)
    changed = artifact.image.copy()
    changed.paste((255, 0, 0), (0, 0, 128, 128))
    zk.Artifact(changed, artifact.request, artifact.trace).save(path)
    assert cli.call(["recipe", "rerun", str(path), "--verify"]) == 1
    assert capsys.readouterr().out.startswith("different: largest difference")


def test_ctrl_c_stops_between_two_steps_and_leaves_nothing(model: str, outputs: Path, tmp_path: Path) -> None:
    picture = tmp_path / "out" / "picture.png"
    command = [
        sys.executable,
        "-m",
        "zimage_kit",
        "run",
        "a cat",
        "--model",
        model,
        "--steps",
        "200",
        "-o",
        str(picture),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("step 2 of 200"):
            break
    else:
        pytest.fail(f"it ended with {process.wait()} before its second step")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "zimage: interrupted; nothing was left half-written"
    assert "Traceback" not in err
    assert out == ""
    assert everything_in(picture.parent) == everything_in(outputs) == []


def test_a_terminal_gets_a_bar_that_vanishes_and_then_the_answer(model: str, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    ours, theirs = pty.openpty()
    line = ["run", "a cat", "--model", model, "--steps", "4", "-o", str(tmp_path / "x.png")]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    process = subprocess.Popen(
        [sys.executable, "-m", "zimage_kit", *line], stdout=subprocess.PIPE, stderr=theirs, env=environment, text=True
    )
    os.close(theirs)
    shown = b""
    try:
        while piece := os.read(ours, 4096):
            shown += piece
    except OSError:  # how Linux says that the other side was closed
        pass
    os.close(ours)
    assert process.stdout is not None
    answer = process.stdout.read()
    process.stdout.close()
    assert process.wait() == 0, shown
    assert answer.startswith(f"saved {tmp_path / 'x.png'} (seed ")
    assert b"step 4 of 4" in shown
    assert b"\x1b[2K" in shown, "the bar redraws its line and erases it at the end"
    assert shown.count(b"\n") < 12, "one line that redraws itself, not a line for each step"


def test_a_reader_that_goes_away_is_no_error_of_ours() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "zimage_kit", "doctor", "--quick"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait() in (0, 1)


def test_a_download_tells_its_progress_in_lines_and_its_end_as_json(
    model_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZIMAGE_MODELS", str(tmp_path / "models"))
    with HubServer(model_directory, repository="Tongyi-MAI/Z-Image") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        assert cli.call(["models", "download", "base"]) == 0
        shown = capsys.readouterr()
        assert shown.out.startswith(f"base is at {tmp_path / 'models' / 'base'} (")
        assert re.search(r"\d+ MB of \d+ MB", shown.err)
        assert cli.call(["models", "download", "base", "--json"]) == 0
        shown = capsys.readouterr()
        assert json.loads(shown.out)["directory"] == str(tmp_path / "models" / "base")
        assert shown.err == ""
    assert cli.call(["models", "path", "base"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'models' / 'base'}\n"
    assert cli.call(["models", "verify", "base"]) == 0
    assert "no published checksums" in capsys.readouterr().out


def test_verify_names_what_is_broken_and_fails(
    model_directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that pretends to be turbo: whole, but not what its authors published."""
    monkeypatch.setenv("ZIMAGE_MODELS", str(tmp_path))
    (tmp_path / "turbo").symlink_to(model_directory, target_is_directory=True)
    assert cli.call(["models", "verify", "turbo"]) == 1
    assert re.search(r"model_index\.json \(broken\).*zimage models download turbo", capsys.readouterr().out)


def test_models_loras_tells_their_trigger_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZIMAGE_LORAS", str(tmp_path))
    save_file({}, tmp_path / "ink.safetensors", {"modelspec.trigger_phrase": "ink wash", "ss_network_dim": "8"})
    assert cli.call(["models", "loras"]) == 0
    assert re.search(r"ink\s+rank 8\s+ink wash\n.*papercut", capsys.readouterr().out, re.DOTALL)
    assert cli.call(["models", "loras", "--model", "nano", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["ink"]
    assert told["triggers"] == ["ink wash"] and told["file"] == str(tmp_path / "ink.safetensors")


def test_models_lists_where_each_lies(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.call(["models", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert list(listed["models"]) == ["nano", "turbo", "base"]
    assert listed["default"] in ("nano", "turbo")


def test_the_doctor_answers_in_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    status = cli.call(["doctor", "--quick", "--json", "--card", "RTX 3060 12GB"])
    report = json.loads(capsys.readouterr().out)
    assert status == (0 if report["healthy"] else 1)
    assert report["advice_is_an_estimate"] is True
    assert "the exact model" in report["advice"][0]
    assert report["plan"]["exact"] and report["plan"]["resident_blocks"] + report["plan"]["streamed_blocks"] == 34


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("caption", {"kind": "caption"}),
        ("caption:text=海上生明月,place=bottom", {"kind": "caption", "text": "海上生明月", "place": "bottom"}),
        ('caption:text="one, two",size=0.1', {"kind": "caption", "text": "one, two", "size": "0.1"}),
        ("caption:text=don't", {"kind": "caption", "text": "don't"}),
        ("caption:text=a=b", {"kind": "caption", "text": "a=b"}),
        ('pose:{"points": [[0.5, 0.5]]}', {"kind": "pose", "points": [[0.5, 0.5]]}),
    ],
)
def test_a_stage_is_read_from_the_command_line(text: str, data: dict[str, object]) -> None:
    assert parse_stage(text) == data


def test_the_fields_of_a_stage_say_what_the_text_of_a_command_is() -> None:
    data = StageData(**parse_stage("upscale:factor=4"))
    assert dict(build(data, stage_class("upscale"), ()))["factor"] == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":a=1",
        "caption:text",
        'caption:text="open',
        "caption:{bad",
        "caption:=1",
        "control:kind=pose",
        'control:{"kind": "pose"}',
        "caption:size=1, size=2",
    ],
)
def test_a_stage_that_cannot_be_read_says_how_to_write_it(text: str) -> None:
    with pytest.raises(BadRequest, match="KIND:KEY=VALUE"):
        parse_stage(text)


def test_several_pictures_are_numbered() -> None:
    assert numbered(Path("a/b.png"), 1) == [Path("a/b.png")]
    assert numbered(Path("a/b.png"), 2) == [Path("a/b-1.png"), Path("a/b-2.png")]
    assert numbered(None, 2) == [None, None]


def test_numbers_read_well() -> None:
    assert gigabytes(33_000_000_000) == "33.0 GB"
    assert duration(1.44) == "1.4 s"
    assert duration(185) == "3 min 05 s"
    assert duration(7800) == "2 h 10 min"
    assert console.table([("气球", "1"), ("a", "2")]) == "气球  1\na     2"


@pytest.mark.slow
def test_lab_serves_the_notebooks_on_this_machine_only(tmp_path: Path) -> None:
    pytest.importorskip("jupyterlab")
    command = [sys.executable, "-m", "zimage_kit", "lab", "--no-browser", "--port", "0"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=dict(os.environ),
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if found := re.search(r"(http://\S+/lab\S*)", line):
                break
        else:
            pytest.fail(f"JupyterLab ended with {process.wait()}")
        assert found[1].startswith("http://127.0.0.1:") or found[1].startswith("http://localhost:")
        assert "01_first_picture.ipynb" in found[1]
        assert "token=" in found[1]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def test_the_course_is_copied_and_nothing_of_the_users_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "my course"
    assert cli.call(["lab", "--copy", str(target)]) == 0
    told = capsys.readouterr()
    written = sorted(path.name for path in target.glob("*.ipynb"))
    assert written[0] == "01_first_picture.ipynb" and len(written) == 13
    assert f"notebooks written to {target}" in told.out
    assert f"zimage lab '{target}'" in told.err
    mine, gone = target / written[0], target / written[1]
    mine.write_text("mine")
    gone.unlink()
    assert cli.call(["lab", "--copy", str(target)]) == 0
    told = capsys.readouterr()
    assert mine.read_text() == "mine" and gone.is_file()
    assert told.out.startswith("1 notebook written") and "were there already" in told.out
    assert f"kept as it is: {mine}" in told.err
    (tmp_path / "file").write_text("")
    assert cli.call(["lab", "--copy", str(tmp_path / "file")]) == 1
    assert "is a file; expected a folder" in capsys.readouterr().err
    assert cli.call(["lab", str(target), "--copy", str(target)]) == 2


def test_a_grid_that_cannot_be_is_refused_before_anything_is_loaded(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    for words, said in (
        (["grid"], "without axes"),
        (["grid", "a cat"], "--x seed=1-4"),
        (["grid", "a cat", "--x", "seed"], "--x 'seed'; expected NAME=VALUES"),
        (["grid", "a cat", "--x", "seed=1", "--y", "seed=2"], "an axis already"),
        (["grid", "a cat", "--x", "sede=1"], "Did you mean seed?"),
        (["grid", "a cat", "--x", "seed=1-9(-1)"], "a step that leads from 1 to 9"),
        (["grid", "a cat", "--x", "steps=0,1"], "cell 'steps 0'"),
        (["grid", "a {c} cat", "--x", "seed=1"], "slot {c} without an axis"),
        (["grid", "a cat", "--reopen", "x.png"], "one or the other"),
        (["grid", "--reopen", "x.png", "--seed", "1"], "--reopen with --seed; expected the grid as it was saved"),
        (["grid", "--reopen", "x.png", "--stage", "upscale"], "--reopen with --stage"),
        (["grid", "--reopen", "x.png", "--guidance", "0"], "--reopen with --guidance"),
        (["grid", "--cells", "none.csv"], "none.csv cannot be read"),
    ):
        assert cli.call([*words, "--inline"]) == 2, words
        told = capsys.readouterr()
        assert told.out == ""
        assert said in told.err, words
        assert told.err.count("\n") <= 2, "one line, and perhaps that nano draws"
    for words, said in (
        (["grid", "a cat", "--x", "seed=1", "-o", "x.gif"], "expected .png, .jpg"),
        (["grid", "a cat", "--x", "seed=1", "-o", "/proc/x.png"], "cannot be written"),
    ):
        assert cli.call(words) == 1, words
        assert said in capsys.readouterr().err
    assert not (home / "outputs").exists()


NANO = ["--model", "nano", "--size", "64x64", "--steps", "1", "--inline"]


def test_a_long_prompt_does_not_fill_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.call(["grid", "--y", f"prompt={'long ' * 180}", "--x", "steps=0,1", "--inline"]) == 2
    said = capsys.readouterr().err
    assert re.search(r"cell 'long .{40,60} … .*steps 0'", said)
    assert len(said) < 400


def test_a_large_grid_is_not_asked_about_where_nobody_answers(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda text="": pytest.fail("it asks"))
    for more in ([], ["--json"]):
        assert cli.call(["grid", "a balloon", "--x", "seed=1-201", *NANO, *more]) == 2
        told = capsys.readouterr()
        assert told.out == ""
        assert "201 cells, all new" in told.err
        assert "which was not confirmed. Give yes=True (--yes)" in told.err


def test_a_question_is_no_part_of_the_answer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    estimate = Estimate(cells=300, new=300, drawings=300, seconds=None, bytes=1000)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    preparation.confirm_cost(estimate, 300, yes=False)
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"{estimate}. Make them? [y/N] ")
    with preparation.cost_output("line"), pytest.raises(BadRequest, match="which was not confirmed"):
        preparation.confirm_cost(estimate, 300, yes=False)
    with preparation.cost_output("line"):
        preparation.confirm_cost(estimate, 300, yes=True)
    with preparation.cost_output("nothing"):
        preparation.confirm_cost(estimate, 300, yes=True)
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", f"{estimate}\n")


def test_a_grid_says_what_it_costs_and_opens_again_under_another_title(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    first, again = tmp_path / "first.json", tmp_path / "again.json"
    (tmp_path / "cells.csv").write_text("seed,steps\n1,1\n2,1\n")
    words = ["grid", "a {title} balloon", "--cells", str(tmp_path / "cells.csv"), "--x", "title=red,blue", *NANO]
    assert cli.call([*words, "-o", str(first)]) == 0
    assert "4 cells, all new" in capsys.readouterr().err
    assert json.loads(first.read_text())["dimensions"]["columns"] == [{"title": "red"}, {"title": "blue"}]
    assert cli.call(["grid", "--reopen", str(first), "--title", "Balloons", "-o", str(again), "--inline"]) == 0
    saved = json.loads(again.read_text())
    assert saved == {**json.loads(first.read_text()), "title": "Balloons"}
    assert cli.call([*words, "--y", "steps=1,2"]) == 2
    assert "steps is a column of" in capsys.readouterr().err
