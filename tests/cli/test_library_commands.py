"""`zimage library` as it is typed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from zimage_kit import Artifact, Request, Trace, cli

Typed = Callable[..., tuple[int, str, str]]


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three pictures: made now, three and nine days ago."""
    monkeypatch.setenv("ZIMAGE_OUTPUTS", str(tmp_path / "pictures"))
    monkeypatch.delenv("ZIMAGE_DEBUG", raising=False)
    for name, prompt, ago in (("cat", "a cat", 0), ("balloon", "海上的红色热气球", 3), ("boat", "a red boat", 9)):
        made = (datetime.now().astimezone() - timedelta(days=ago)).isoformat()
        request = Request(prompt=prompt, model="nano", seed=ago, width=64, height=64)
        artifact = Artifact(Image.new("RGB", (64, 64), (20 * ago, 90, 90)), request, Trace(created=made))
        artifact.save(tmp_path / "pictures" / f"{name}.png")
    return tmp_path / "pictures"


@pytest.fixture
def zimage(outputs: Path, capsys: pytest.CaptureFixture[str]) -> Typed:
    """A command after `zimage library`: its exit status and what it printed."""

    def run(*words: object) -> tuple[int, str, str]:
        capsys.readouterr()
        status = cli.call(["library", *map(str, words)])
        out, err = capsys.readouterr()
        return status, out, err

    return run


def names(printed: str) -> list[str]:
    return [Path(each["path"]).stem for each in json.loads(printed)["pictures"]]


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["list"], ["cat", "balloon", "boat"]),
        (["list", "-n", 1], ["cat"]),
        (["search", "red", "boat"], ["boat"]),
        (["search", "红色"], ["balloon"]),
        (["search", "--since", "4d"], ["cat", "balloon"]),
        (["search", "--until", "4d", "--model", "nano"], ["boat"]),
        (["search", "red boat"], ["boat"]),
        (["search", "boat red"], []),
        (["search", "--seed", 3], ["balloon"]),
    ],
)
def test_list_and_search(zimage: Typed, words: list[Any], wanted: list[str]) -> None:
    status, out, _ = zimage(*words, "--json")
    assert (status, names(out)) == (0, wanted)
    assert json.loads(out)["total"] == (3 if "list" in words else len(wanted))


def test_people_see_lines_and_how_many_there_are(zimage: Typed, outputs: Path) -> None:
    status, out, err = zimage("list", "-n", 2)
    assert status == 0 and str(outputs / "cat.png") in out and "a cat" in out and len(out.splitlines()) == 2
    assert "2 of 3; -n shows more" in err
    assert names(zimage("search", "--json", "--", "a", "-boat")[1]) == ["cat", "balloon"]
    assert zimage("search", "zebra") == (0, "", "no pictures\n")


def test_stars_and_tags(zimage: Typed, outputs: Path) -> None:
    assert zimage("star", outputs / "boat.png", "cat.png", "--stars", 4)[2] == "2 pictures: ★★★★\n"
    assert names(zimage("search", "--stars", 4, "--json")[1]) == ["cat", "boat"]
    assert zimage("tag", "boat.png", "--add", "poster", "--add", "sea")[0] == 0
    assert names(zimage("search", "--tag", "poster", "--json")[1]) == ["boat"]
    zimage("tag", "boat.png", "--remove", "sea")
    status, out, _ = zimage("show", "boat.png", "--json")
    found = json.loads(out)
    assert (status, found["stars"], found["tags"], found["seed"]) == (0, 4, ["poster"], 9)
    assert "poster" in zimage("show", "boat.png")[1]
    assert zimage("tag", "boat.png")[0] == 2


def test_clean_says_first_and_removes_with_yes(zimage: Typed, outputs: Path) -> None:
    zimage("star", "boat.png")
    status, out, err = zimage("clean", "--older-than", "2d")
    assert status == 0 and out.startswith("1 picture") and "add --yes" in err and (outputs / "balloon.png").exists()
    status, out, _ = zimage("clean", "--older-than", "2d", "--yes", "--json")
    assert json.loads(out)["pictures"] == ["balloon.png"] and not (outputs / "balloon.png").exists()
    status, out, _ = zimage("trash")
    assert "1 picture" in out and "until" in out
    (listed,) = json.loads(zimage("trash", "--json")[1])
    assert datetime.fromisoformat(listed["until"]) - datetime.fromisoformat(listed["when"]) == timedelta(days=30)
    assert "T" in listed["when"], "as all dates in JSON"
    status, out, err = zimage("restore")
    assert (status, out, err) == (0, f"{outputs / 'balloon.png'}\n", "1 picture back\n")
    assert zimage("clean", "--max-size", "0.001MB")[1].startswith("2 pictures")
    assert zimage("clean")[0] == 2 and zimage("clean", "--max-size", "many")[0] == 2
    assert zimage("clean", "--older-than", "soon")[0] == 2


def test_remove_and_empty(zimage: Typed, outputs: Path) -> None:
    assert "1 picture removed" in zimage("remove", "cat.png")[2] and not (outputs / "cat.png").exists()
    assert "1 removals deleted" not in zimage("trash", "--empty")[2]
    assert zimage("trash")[1] == "" and zimage("restore")[0] == 2


def test_export(zimage: Typed, tmp_path: Path) -> None:
    status, out, _ = zimage("export", tmp_path / "best.zip", "--words", "red")
    assert status == 0 and out.strip() == str(tmp_path / "best.zip") and (tmp_path / "best.zip").is_file()
    status, out, _ = zimage("export", tmp_path / "two", "cat.png", "boat.png", "--no-sheet", "--no-recipe")
    assert sorted(each.name for each in (tmp_path / "two").iterdir()) == ["boat.png", "cat.png"]
    for words in (["best.zip"], [tmp_path / "two", "cat.png"], [tmp_path / "x", "nothing.png"]):
        assert zimage("export", *words)[0] == 2


def test_another_folder(zimage: Typed, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "other" / "photo.png")
    assert names(zimage("list", "--folder", tmp_path / "other", "--json")[1]) == ["photo"]
