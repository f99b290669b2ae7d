"""What the doctor finds and advises."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from zimage_kit.doctor import report as doctor
from zimage_kit.engine import cards, gpus
from zimage_kit.errors import BadRequest, OutOfMemory
from zimage_kit.text import fonts


def test_a_quick_look_at_this_machine_finds_it_able_to_draw() -> None:
    report = doctor.examine(quick=True)
    found = {(f.area, f.what): f for f in report.findings}
    assert found["system", "Python"].saw == ".".join(str(n) for n in sys.version_info[:3])
    assert found["packages", "torch and torchvision"].verdict == "ok"
    assert found["models", "nano"].verdict == "ok"
    assert found["models", "default"].saw in ("nano", "turbo")
    assert re.match(r"\d+ GB at ", found["models", "free disk"].saw)
    assert report.healthy
    assert report.advice
    json.dumps(report.to_json())


def test_every_complaint_says_what_to_do() -> None:
    report = doctor.examine(quick=True)
    for finding in report.findings:
        if finding.verdict in ("warn", "fail"):
            assert finding.mend, finding


def test_the_probe_imports_the_packages_in_a_process_of_its_own() -> None:
    command = [sys.executable, "-W", "ignore", "-m", "zimage_kit.doctor.probe"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["errors"] == {}
    assert facts["seconds"] > 0
    assert facts["cuda_usable"] in (True, False)
    assert facts["cuda_usable"] or facts["compute_rate"] > 1e9


def test_looking_does_not_load_torch() -> None:
    script = (
        "import sys; from zimage_kit.doctor import report as r; r.examine(quick=True); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("torch", "vision", "required", "verdict"),
    [
        ("2.15.0", "0.29.2", ">=2.14.0", "ok"),
        ("2.15.0+cpu", "0.29.2+cpu", "==2.15.0", "ok"),
        ("2.15.0+cpu", "0.29.2", "==2.15.0", "fail"),
        ("2.14.1", "0.29.2", "==2.15.0", "fail"),
    ],
)
def test_a_torchvision_for_another_torch_is_found(torch: str, vision: str, required: str, verdict: str) -> None:
    (finding,) = doctor.torch_pair(torch, vision, required)
    assert finding.verdict == verdict
    assert ("install" in finding.mend) == (verdict == "fail")


@pytest.mark.parametrize(
    ("build", "usable", "card", "verdicts"),
    [
        ("13.0", True, True, ["ok"]),
        ("13.0", False, True, ["warn"]),
        (None, False, True, ["warn"]),
        ("13.0", False, False, []),
    ],
)
def test_a_card_that_torch_cannot_use_is_found(
    build: str | None, usable: bool, card: bool, verdicts: list[str]
) -> None:
    assert [f.verdict for f in doctor.cuda_agrees(build, usable, card)] == verdicts


def test_cards_are_looked_for_without_cuda() -> None:
    found, why = gpus.list_gpus()
    assert bool(found) != bool(why), "either there are cards, or a reason why not"
    for gpu in found:
        assert gpu.total > gpu.used >= 0


@pytest.mark.parametrize(
    ("text", "gigabytes", "placement"),
    [
        ("RTX 3060 12GB", 12, "blocks streamed"),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", 16, "encoder streamed"),
        ("4070 Ti S", 16, "encoder streamed"),
        ("4080S", 16, "encoder streamed"),
        ("RTX 4090D", 24, "resident"),
        ("A6000", 48, "resident"),
        ("RTX 4060 Ti 8 GB", 8, "blocks streamed"),
        ("RTX 4050 Laptop", 6, "blocks streamed"),
        ("4GB", 4, "blocks streamed"),
        ("24gb", 24, "resident"),
    ],
)
def test_a_named_card_draws_the_exact_model(text: str, gigabytes: float, placement: str) -> None:
    card = cards.parse_card(text)
    assert card.gigabytes == gigabytes
    found = cards.plan_for(card)
    assert found.exact and placement in found.placement
    assert found.peak_bytes < gigabytes * 2**30
    assert "the exact model" in cards.advise(card)[0] and "(computed)" in cards.advise(card)[0]
    assert found.facts["resident_blocks"] + found.facts["streamed_blocks"] == 34


def test_what_is_too_small_is_said_with_the_numbers() -> None:
    card = cards.parse_card("2GB")
    with pytest.raises(OutOfMemory):
        cards.plan_for(card)
    (told, nano) = cards.advise(card)
    assert told.startswith("A card, 2 GB: 1024x1024 needs 2.5 GB on cuda:0 even with every block streamed, but 1.2 GB")
    assert "nano" in nano
    nearly = cards.advise(cards.parse_card("RTX 3050 3.15GB"))[0]
    assert nearly.startswith("RTX 3050, 3.15 GB: ")
    assert (numbers := re.findall(r"(\d+) MB", nearly)) and int(numbers[0]) > int(numbers[1]), "not 2.5 and 2.5 GB"


def test_without_a_card_the_advice_comes_from_the_plan_too() -> None:
    rich = cards.plan_without_card("cpu", 64 << 30, 1e12)
    assert (rich.device, rich.dtype, rich.streamed_blocks, rich.mapped) == ("cpu", "float32", 0, False)
    assert rich.peak_bytes < 0.9 * (64 << 30)
    assert 445 < rich.seconds < 1.1 * 445, "55.6 TFLOP for each of 8 evaluations"
    poor = cards.plan_without_card("cpu", 24 << 30, 1e12)
    assert poor.mapped and poor.streamed_blocks > 0 and poor.exact
    assert poor.peak_bytes + poor.host_bytes <= 24 << 30
    told = " ".join(cards.advise_without_card("cpu", 24 << 30, 1e12))
    assert "blocks are read from the disk in each step" in told and "8 min" in told
    assert "everything stays in RAM" in " ".join(cards.advise_without_card("mps", 64 << 30))
    assert "does not run here" in cards.advise_without_card("cpu", 2 << 30)[1]


def test_a_laptops_card_is_not_taken_for_the_desktops() -> None:
    laptop, desktop = (cards.plan_for(cards.parse_card(name)).seconds for name in ("RTX 4060 Laptop", "RTX 4060"))
    assert laptop > 1.5 * desktop


def test_a_card_sold_in_two_sizes_has_to_say_which() -> None:
    with pytest.raises(BadRequest, match=r"8GB or 16GB.*RTX 4060 Ti 16GB"):
        cards.parse_card("RTX 4060 Ti")
    with pytest.raises(BadRequest, match=r"unknown card.*12GB"):
        cards.parse_card("Voodoo 5")


def test_a_card_without_bfloat16_is_warned_about() -> None:
    assert cards.parse_card("RTX 2080 Ti").bfloat16 is False
    assert cards.parse_card("RTX 3090").bfloat16 is True
    assert cards.parse_card("24GB").bfloat16 is None
    assert any("bfloat16" in line for line in cards.advise(cards.parse_card("T4")))


def test_a_font_is_either_able_to_write_chinese_or_not_used_for_it() -> None:
    if fonts.cjk_font() is None:
        assert not fonts.can_draw("海上")
        assert "fonts-noto-cjk" in fonts.MEND
        return
    assert fonts.can_draw("海上")
    font = fonts.label_font(20)
    drawn = {bytes(font.getmask(letter)) for letter in "海上生明月"}
    assert len(drawn) == 5, "five characters, five shapes: no empty boxes"


def test_a_font_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own.ttf"
    own.write_bytes(b"")
    monkeypatch.setenv("ZIMAGE_FONT", str(own))
    fonts.cjk_font.cache_clear()
    try:
        assert fonts.cjk_font() == own
    finally:
        fonts.cjk_font.cache_clear()


def test_extensions_that_are_broken_or_lack_a_package_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = 'name = "{0}"\nsummary = "a test"\napi = 1\nrequires = [{1}]\nstages = ["{0}_stage"]\n'
    for name, requires in (("fine", ""), ("lacking", '"no-such-package-at-all>=3"')):
        (tmp_path / name).mkdir()
        (tmp_path / name / "extension.toml").write_text(manifest.format(name, requires))
        (tmp_path / name / "__init__.py").write_text("")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "extension.toml").write_text("name = ")
    monkeypatch.setenv("ZIMAGE_EXTENSIONS", str(tmp_path))
    found = {f.what: f for f in doctor.examine(quick=True).findings if f.area == "extensions"}
    assert found["fine"].verdict == "ok"
    assert found["lacking"].verdict == "note"
    assert "no-such-package-at-all" in found["lacking"].mend
    assert found["broken"].verdict == "warn"


def test_an_optional_part_is_asked_for_by_its_requirements() -> None:
    assert doctor.requirements_of("pose").startswith('"controlnet-aux>=')
    assert "matplotlib" in doctor.requirements_of("pose")
    assert doctor.requirements_of("no-such-part") == ""


def test_a_light_client_is_a_healthy_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "engine_is_here", lambda: False)
    report = doctor.examine()
    found = {(f.area, f.what): f for f in report.findings}
    assert ("packages", "torch") not in found and "imports" not in {area for area, _ in found}
    assert found["packages", "engine"].mend == 'To draw here: pip install "zimage-kit[engine]"'
    assert report.healthy and report.advice[0].startswith("Once the engine is installed:")
