"""Identity: equal identities are equal pixels, and what differs is named, entry by entry."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

import zimage_kit as zk
from zimage_kit import Artifact, Request, Session
from zimage_kit.models.spec import NANO, SPECS

SMALL = {"model": "nano", "width": 64, "height": 64, "steps": 2, "seed": 1}


@pytest.fixture
def lora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A LoRA in the user's own LoRA folder, as "mine"."""
    assert NANO.loras is not None
    folder = tmp_path / "loras"
    folder.mkdir()
    monkeypatch.setenv("ZIMAGE_LORAS", str(folder))
    return Path(shutil.copy(next(NANO.loras.glob("*.safetensors")), folder / "mine.safetensors"))


def weaken(file: Path) -> None:
    """Write other weights of the same names, shapes and size."""
    save_file({name: tensor * 0.5 for name, tensor in load_file(file).items()}, file, metadata={"format": "pt"})


def test_another_lora_of_the_same_name_is_named_by_verify(session: Session, lora: Path) -> None:
    made = session.run("a cat", **SMALL, loras=["mine"], fresh=True)
    assert made.verify(session).state == "identical"
    weaken(lora)
    verdict = made.verify(session)
    assert verdict.state != "identical"
    assert [reason.split(" was ")[0] for reason in verdict.reasons] == ["lora 1"]
    assert "lora 1 was" in str(verdict)


def test_another_lora_of_the_same_name_is_no_cached_picture(session: Session, lora: Path) -> None:
    before = session.run("a fish", **SMALL, loras=["mine"])
    weaken(lora)
    after = session.run("a fish", **SMALL, loras=["mine"])
    assert not after.trace.cached
    assert after.image.tobytes() != before.image.tobytes()


def test_a_lora_by_name_and_by_path_is_one_picture(session: Session, lora: Path, tmp_path: Path) -> None:
    elsewhere = Path(shutil.copy(lora, tmp_path / "copy.safetensors"))
    by_name = session.run("a dog", **SMALL, loras=["mine"])
    for path in (lora, elsewhere):
        again = session.run("a dog", **SMALL, loras=[str(path)])
        assert again.trace.cached
        assert again.trace.identity == by_name.trace.identity
    assert by_name.trace.identity["lora 1"].endswith("at 1")


@pytest.fixture
def controlnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """nano with its ControlNet in a folder where it can be changed."""
    assert NANO.controlnet is not None and NANO.controlnet.path is not None
    folder = Path(shutil.copytree(NANO.controlnet.path, tmp_path / "controlnet"))
    own = NANO.model_copy(update={"controlnet": NANO.controlnet.model_copy(update={"path": folder})})
    monkeypatch.setitem(SPECS, "nano", own)
    yield next(folder.glob("diffusion_pytorch_model*.safetensors"))


def test_the_models_own_controlnet_is_part_of_what_a_picture_depends_on(session: Session, controlnet: Path) -> None:
    request = Request(prompt="a girl", **SMALL).then(zk.stages.pose(preset="waving"))
    before = session.run(request)
    assert session.run(request).trace.cached
    weaken(controlnet)
    after = session.run(request)
    assert not after.trace.cached
    changed = {name for name, value in before.trace.identity.items() if after.trace.identity[name] != value}
    assert changed == {"stage 1 pose controlnet"}


def test_a_stages_settings_and_the_circumstances_are_in_it(session: Session) -> None:
    made = session.run(Request(prompt="a boat", **SMALL).then(zk.stages.text_overlay(text="moon")))
    names = set(made.trace.identity)
    assert {"prompt", "seed", "width", "height", "steps", "guidance", "model", "device", "dtype", "speed"} <= names
    assert {"stage 1 text_overlay", "stage 1 text_overlay code", "stage 1 text_overlay font", "torch"} <= names
    assert made.trace.identity["device"] == "cpu"


def test_stages_that_are_applied_later_add_their_entries(session: Session) -> None:
    drawn = session.run("a boat", **SMALL)
    after = drawn.then(zk.stages.upscale())
    assert drawn.trace.identity.items() <= after.trace.identity.items()
    assert {"stage 1 upscale", "stage 1 upscale weights", "stage 1 upscale engine"} <= set(after.trace.identity)


def test_a_stage_of_a_notebook_that_was_edited_gives_no_old_picture(session: Session) -> None:
    from zimage_kit.stages.stage import registry

    code = (
        "class Shade(zk.Stage):\n    '''Shades.'''\n    kind = 'test_shade'\n"
        "    def after(self, image, ctx):\n        return image.point(lambda value: value // {divisor})\n"
    )
    made = []
    try:
        for divisor in (2, 4, 2):
            space: dict[str, object] = {"zk": zk, "__name__": "__main__"}
            exec(code.format(divisor=divisor), space)
            registry.add(space["Shade"])  # type: ignore[arg-type]
            made.append(session.run("a boat", **SMALL, stages=[space["Shade"]()]))  # type: ignore[operator]
    finally:
        registry.remove("test_shade")
    assert made[0].image.tobytes() != made[1].image.tobytes()
    assert made[0].image.tobytes() == made[2].image.tobytes()


def test_no_path_below_the_home_is_written_into_a_picture(
    session: Session, lora: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = home / "weights" / "private.safetensors"
    mine.parent.mkdir()
    shutil.copy(lora, mine)
    made = session.run("a cat", **SMALL, loras=[str(mine)])
    made.trace = made.trace.model_copy(update={"notes": (f"the LoRA is {mine}, of another one", *made.trace.notes)})
    file = made.save(home / "shared.png")
    assert str(home).encode() not in file.read_bytes()
    assert str(zk.open(file).request.loras[0].path) == "~/weights/private.safetensors"
    assert zk.open(file).verify(session).state == "identical"


def test_a_picture_of_before_identities_is_verified_by_what_it_says(session: Session) -> None:
    made = session.run("a cat", **SMALL)
    old = Artifact(made.image, made.request, made.trace.model_copy(update={"identity": {}}))
    assert old.verify(session).state == "identical"
