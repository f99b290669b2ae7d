"""Recipes of other programs: what is read, changed to fit, and left out, and that all of it is told."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from zimage_kit.recipe.foreign import a1111, nearest, to_request
from zimage_kit.recipe.png import parameters_line
from zimage_kit.recipe.request import Lora, Request


def read(text: str) -> tuple[Request, str]:
    found = a1111(text)
    assert found is not None
    request, notes = to_request(found)
    return request, " | ".join(notes)


def test_a_line_is_read_as_far_as_it_goes() -> None:
    request, told = read(
        "a cat,\nsitting: here\nNegative prompt: blurry\n"
        "Steps: 20, Sampler: DPM++ 2M, CFG scale: 5.5, Seed: 42, Size: 512x500, Model hash: abc, Model: sdxl, "
        'Lora hashes: "a: 1, b: 2", Version: v1.9'
    )
    assert (request.prompt, request.negative_prompt) == ("a cat,\nsitting: here", "blurry")
    assert (request.steps, request.seed, request.guidance, request.model) == (20, 42, 4.5, None)
    assert (request.width, request.height) == (512, 496)
    for part in ("model sdxl", "size 512x500: 512x496", "Sampler: DPM++ 2M", "Lora hashes: a: 1, b: 2"):
        assert part in told


def test_our_own_line_comes_back_whole() -> None:
    request = Request(
        prompt="a\nb", negative_prompt="c", model="base", width=64, height=80, steps=9, guidance=3.5, seed=1
    )
    found, told = read(parameters_line(request, "abc", "zimage_kit 0.1.0"))
    assert found == request and "left out: Model" not in told


@pytest.mark.parametrize("text", ["", "a cat", "Steps", "prompt\nNegative prompt: x", "{}"])
def test_text_that_is_no_such_line_gives_nothing(text: str) -> None:
    assert a1111(text) is None


def test_numbers_that_are_none_are_told() -> None:
    request, told = read("a boat\nSteps: ²0, Seed: ³, CFG scale: much")
    assert (request.steps, request.seed, request.guidance) == (None, None, None)
    assert "left out: Steps: ²0" in told and "left out: Seed: ³" in told and "left out: CFG scale: much" in told


def test_lines_that_extensions_add_are_told() -> None:
    request, told = read(
        "a red boat\nSteps: 8, Seed: 3, CFG scale: 1, Size: 256x256\n"
        "Template: a {red|blue} boat\n\nNegative Template: x"
    )
    assert (request.prompt, request.steps, request.seed) == ("a red boat", 8, 3)
    assert "left out: Template: a {red|blue} boat" in told and "left out: Negative Template: x" in told


def test_a_line_of_a_template_is_no_settings() -> None:
    request, told = read("Steps: a stair\nSteps: 8, Seed: 3, CFG scale: nan\nTemplate: a boat\nSteps: {1|2}")
    assert (request.prompt, request.steps, request.seed, request.guidance) == ("Steps: a stair", 8, 3, None)
    assert "left out: Steps: {1|2}" in told and "left out: guidance=nan" in told


@pytest.mark.parametrize("prompt", ["y" + " " * 50_000 + "x", "<lora:" * 5000, "y" + " ," * 20_000 + "x"])
def test_long_texts_are_read_at_once(prompt: str) -> None:
    began = time.perf_counter()
    request, told = read(f"{prompt}\nSteps: 8, Seed: {'9' * 5000}, {'a ' * 50_000}, Size: 64x64")
    assert (request.prompt, request.steps, request.seed, request.width) == (prompt, 8, None, 64)
    assert "left out: Seed: 99" in told
    assert time.perf_counter() - began < 5


def test_a_negative_prompt_that_does_nothing_is_left_out_so_that_it_can_run() -> None:
    request, told = read("a boat\nNegative prompt: blurry, low\nSteps: 8, CFG scale: 1, Seed: 7")
    assert (request.negative_prompt, request.guidance) == ("", 0.0)
    assert "without guidance: blurry, low" in told
    assert read("a boat\nNegative prompt: blurry\nSteps: 8, CFG scale: 2, Seed: 7")[0].negative_prompt == "blurry"


@pytest.mark.parametrize(
    ("size", "found"),
    [
        ((320, 180), (320, 176)),
        ((1920, 1080), (1920, 1088)),
        ((512, 512), (512, 512)),
        ((30, 30), (64, 64)),
        ((10000, 5000), (4096, 2048)),
        ((1, 4000), (64, 4096)),
    ],
)
def test_the_nearest_size(size: tuple[int, int], found: tuple[int, int]) -> None:
    assert nearest(size) == found
    Request(width=found[0], height=found[1])


def test_loras_in_the_prompt_are_taken_over_where_they_are_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZIMAGE_LORAS", str(tmp_path))
    (tmp_path / "ink wash.safetensors").write_bytes(b"")
    request, told = read(
        "a girl on the grass, <lora:ink wash:0.8>, <lora:not here:1:0.5>, <lyco:nor this>, running\nSteps: 8, Seed: 3"
    )
    assert request.prompt == "a girl on the grass, running"
    assert request.loras == (Lora(path=Path("ink wash"), weight=0.8),)
    assert "LoRA not here: left out" in told and "LoRA nor this: left out" in told
