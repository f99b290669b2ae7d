"""`zimage bench`: what it measures, compares and writes; small pictures of nano."""

from __future__ import annotations

import csv
import json
from math import inf
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from zimage_kit.cli import call
from zimage_kit.doctor.bench import Profile
from zimage_kit.doctor.bench_compare import differences, psnr, ssim
from zimage_kit.errors import BadRequest


def test_two_speeds_beside_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = "bench --model nano --size 64x64 --size 96x64 --steps 2 --rounds 1 --device cpu --compare --save"
    assert call([*words.split(), str(tmp_path / "new"), "--profile", "stock", "--profile", "exact"]) == 0
    shown = capsys.readouterr().out
    found = json.loads((tmp_path / "new" / "bench.json").read_text("utf-8"))
    rows: list[dict[str, Any]] = found["rows"]
    assert [(row["size"], row["profile"]) for row in rows] == [
        (size, profile) for profile in ("stock", "exact") for size in ("64x64", "96x64")
    ]
    for row in rows:
        assert row["picture"] > row["decode"] > 0 and row["step"] > 0 and row["encode"] > 0 and row["peak_bytes"] > 0
        stock = next(each for each in rows if each["profile"] == "stock" and each["size"] == row["size"])
        assert row["over_stock"] == pytest.approx(stock["picture"] / row["picture"], abs=1e-3)
    assert [row["load"] > 0 for row in rows] == [True, False, True, False]
    (apart,) = found["differences"]
    assert (apart["profile"], apart["other"], apart["pictures"]) == ("exact", "stock", 2) and apart["largest"] <= 1
    assert (found["device"], found["steps"]) == ("cpu", 2) and found["versions"]["torch"]
    assert shown.strip() == (tmp_path / "new" / "bench.md").read_text("utf-8").strip()
    assert "exact beside stock, 2 pictures" in shown and "64x64 | exact |" in shown
    with (tmp_path / "new" / "bench.csv").open() as file:
        assert [float(row["picture"]) for row in csv.DictReader(file)] == [row["picture"] for row in rows]
    drawn = ElementTree.parse(tmp_path / "new" / "bench.svg").getroot()
    assert sum(each.tag.endswith("rect") for each in drawn.iter()) == 1 + len(rows)
    with Image.open(tmp_path / "new" / "sheet.png") as sheet:
        assert sheet.size == (96 + 4 + 96, 28 + 64 + 4 + 64), "each picture in its own shape"


def test_a_profile_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(["bench", "--profile", "warp"]) == 2
    assert "warp" in (told := capsys.readouterr().err) and "exact" in told
    for text in ("exactly", "exact:much"):
        with pytest.raises(BadRequest):
            Profile.parse(text)
    assert call(["bench", "--profile", "exact", "--compare"]) == 2
    assert str(Profile.parse("exact:8GB")) == "exact:8GB"


def test_figures_of_likeness() -> None:
    noise = np.random.default_rng(0)
    picture = noise.uniform(0, 255, (64, 48, 3))
    assert psnr(picture, picture) == inf and ssim(picture, picture) == pytest.approx(1)
    assert psnr(picture, picture + 25.5) == pytest.approx(20)  # a tenth of the range
    closer, farther = (picture + noise.normal(0, sigma, picture.shape) for sigma in (5, 50))
    assert 0 < ssim(picture, farther) < ssim(picture, closer) < 1
    flat = np.full((16, 16, 3), 100.0)  # means alone: (2 a b + c1) / (a² + b² + c1)
    assert ssim(flat, flat + 50) == pytest.approx((2 * 100 * 150 + 6.5025) / (100**2 + 150**2 + 6.5025))
    one = Image.new("RGB", (16, 16), "red")
    (same,) = differences({"exact": [one, one], "fast": [one, one]})
    assert same.psnr is None and "all equal" in str(same)
