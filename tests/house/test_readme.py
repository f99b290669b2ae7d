"""The pages a newcomer reads: their code runs, their commands work, the help they show is the real one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from test_docs import anchors

import zimage_kit as zk
from zimage_kit.engine.cards import parse_card, plan_for
from zimage_kit.files import PICTURES

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["README.md", "README.zh-CN.md"]
GUIDES = ["docs/guide.md", "docs/guide.zh-CN.md"]
HELP = re.compile(r"<!-- help: (zimage[a-z ]*) -->\n```text\n(.*?)```", re.DOTALL)


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def words(text: str) -> list[str]:
    """The words alone: how typer wraps and brackets them differs between its versions."""
    return re.sub(r"[\[\]{}<>]", " ", text).split()


@cache
def real_help(command: str) -> str:
    """What the command shows."""
    line = [sys.executable, "-m", "zimage_kit", *command.split()[1:], "--help"]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout


def test_the_help_that_is_shown_is_the_real_one() -> None:
    name = "docs/cli.md"
    blocks = HELP.findall(page(name))
    assert len(blocks) == page(name).count("<!-- help:") > 8, "run: python scripts/embed_help.py " + name
    for command, shown in blocks:
        assert words(shown) == words(real_help(command)), f"stale: python scripts/embed_help.py {name}"


@pytest.mark.parametrize("name", PAGES)
def test_the_cards_have_the_plans_that_the_program_makes(name: str) -> None:
    (names, rows) = re.findall(r"<!-- cards: (.*?) -->\n\|[^\n]*\n\|[^\n]*\n((?:\|[^\n]*\n)+)", page(name))[0]
    shown = [line.split("|")[1:-1] for line in rows.splitlines()]
    assert [each[0].strip() for each in shown] == names.split(", ")
    for card, stays, ram, seconds in shown:
        found = plan_for(parse_card(card.strip()))
        assert found.exact
        assert stays.strip() == f"{found.resident_blocks}/34", f"stale: python scripts/embed_help.py {name}"
        assert (ram.strip(), seconds.strip()) == (f"{found.host_bytes / 1e9:.0f} GB", f"{found.seconds:.0f} s")


def test_predicted_seconds_beside_what_others_tell_are_those_of_the_plan() -> None:
    (rows,) = re.findall(r"\| predicted / told \|[^\n]*\n\|[^\n]*\n((?:\|[^\n]*\n)+)", page("docs/measurements.md"))
    for line in rows.splitlines():
        name, evaluations, told, _, predicted, ratio, needed, published = (
            part.strip() for part in line.split("|")[1:-1]
        )
        card, count, seconds = parse_card(name), int(evaluations), float(told.removesuffix(" s"))
        found = plan_for(card).seconds * count / 8
        assert (predicted, ratio) == (f"{found:.1f} s", f"{found / seconds:.1f}"), name
        assert (needed, published) == (f"{55.6 * count / seconds:.0f}", f"{card.tflops:.0f}"), name


def python_of(name: str) -> str:
    return "\n".join(re.findall(r"```python\n(.*?)```", page(name), re.DOTALL))


def run(line: list[str], place: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ZIMAGE_OUTPUTS": str(place / "outputs"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


def run_commands(blocks: list[str], place: Path) -> str:
    zimage = f'"{sys.executable}" -m zimage_kit'
    script = "set -e\n" + re.sub(r"^zimage", zimage.replace("\\", r"\\"), "".join(blocks), flags=re.MULTILINE)
    return run(["sh", "-c", script], place).stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_the_first_lines_of_python_and_the_first_commands_make_the_same_picture(
    name: str, running: Path, tmp_path: Path
) -> None:
    assert run([sys.executable, "-c", python_of(name)], tmp_path).stdout == "identical\n"
    (drawn,) = tmp_path.glob("*.png")
    pixels = zk.open(drawn).image.tobytes()
    drawn.unlink()
    assert "identical" in run_commands(re.findall(r"```\n(zimage run .*?)```", page(name), re.DOTALL), tmp_path)
    assert zk.open(drawn).image.tobytes() == pixels


@pytest.mark.slow
@pytest.mark.parametrize("name", GUIDES)
def test_the_python_examples_run_as_they_stand(name: str, running: Path, tmp_path: Path) -> None:
    code = python_of(name)
    done = run([sys.executable, "-c", code], tmp_path)
    assert "identical" in done.stdout
    assert "\ncancelled\n" in done.stdout
    assert "9 made, 0 failed\n" in done.stdout
    assert done.stdout.endswith("3 drawings for 6 cells\n")
    saved = {path.name for path in tmp_path.glob("*.png")}
    assert saved == set(re.findall(r'save\("([^"]+)"\)', code)) | {f"boat-{seed}.png" for seed in (42, 43, 44)}


@pytest.mark.slow
def test_the_commands_run_as_they_stand(running: Path, tmp_path: Path) -> None:
    blocks = re.findall(r"```\n(zimage (?:run|grid) .*?)```", page("docs/guide.md"), re.DOTALL)
    assert len(blocks) == 3
    out = run_commands(blocks, tmp_path)
    assert len(list(tmp_path.glob("balloon-*.png"))) == 4
    assert "identical" in out
    assert "text_overlay  ready" in out
    assert {"balloons.html", "steps.png", "steps.csv"} <= {path.name for path in tmp_path.iterdir()}
    assert (tmp_path / "my_extensions" / "my_frame" / "extension.toml").is_file()


@pytest.mark.parametrize("name", PAGES)
def test_every_link_and_picture_of_the_repository_is_there(name: str) -> None:
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page(name)):
        assert (ROOT / target).exists(), target
        assert not anchor or anchor in anchors(page(target)), f"{target}#{anchor}"
    pictures = re.findall(r'<img src="([^"]+)" width="\d+" alt="[^"]{20,}">', page(name))
    assert len(pictures) == page(name).count("<img") == 6
    for picture in pictures:
        assert (ROOT / picture).is_file(), picture


@pytest.mark.parametrize(("one", "other"), [PAGES, GUIDES])
def test_both_languages_have_the_same_sections_code_and_commands(one: str, other: str) -> None:
    for what in (r"^##+ ", r"^```\w*$", r"^\|"):
        found = [re.findall(what, page(name), re.MULTILINE) for name in (one, other)]
        assert found[0] == found[1], what


def test_every_ending_that_is_written_is_in_the_page_about_files() -> None:
    shown = set(re.findall(r"`(\.\w+)`", page("docs/files.md").partition("## Pictures out")[2].partition("## ")[0]))
    assert shown == set(PICTURES)
