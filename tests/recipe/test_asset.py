"""Inputs by content: a recipe with a mask runs again where its bytes are, wherever they lie, and says so where not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

import zimage_kit as zk
from zimage_kit import Artifact, Request, Session, cli
from zimage_kit.engine.preflight import check
from zimage_kit.errors import BadRequest
from zimage_kit.recipe import asset

SMALL = Request(prompt="a red boat", model="nano", width=64, height=64, steps=1, seed=1)


def painted(path: Path, level: int = 255) -> Path:
    image = Image.new("L", (64, 64))
    ImageDraw.Draw(image).rectangle((16, 16, 47, 47), fill=level)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


@pytest.fixture
def mask(home: Path) -> Path:
    return painted(home / "masks" / "boat.png")


@pytest.fixture
def kept(home: Path) -> Path:
    """The folder of assets."""
    return home / "outputs" / "assets"


def with_mask(mask: Path | str) -> Request:
    return SMALL.then(zk.stages.inpaint(mask=mask, prompt="a blue boat", steps=1))


def named(artifact: Artifact) -> str:
    return str(artifact.request.stages[0].fields()["mask"])


def test_a_recipe_names_its_input_by_content_and_where_it_was(session: Session, mask: Path, tmp_path: Path) -> None:
    digest = asset.sha256(mask)
    made = session.run(with_mask(mask))
    assert named(made) == f"asset:{digest}/~/masks/boat.png"
    assert asset.parsed(named(made)) == asset.Asset(digest, "~/masks/boat.png")
    for text in (f"asset:{digest}", f"asset:{digest}/boat.png", f"asset:{digest}/data/boat.png"):
        found = asset.parsed(Path(text))
        assert found is not None and str(found) == text
    assert str(Path.home()) not in (made.save(tmp_path / "x.png").read_bytes().decode("latin-1"))
    with pytest.raises(BadRequest, match="names no asset"):
        check(with_mask("asset:12/boat.png"))
    assert "stages.0.mask" not in made.trace.derived


def test_by_path_or_by_content_it_is_the_same_picture(session: Session, mask: Path) -> None:
    made = session.run(with_mask(mask))
    again = session.run(with_mask(f"asset:{asset.sha256(mask)}/~/masks/boat.png"))
    assert again.trace.cached and again.trace.identity == made.trace.identity


def test_what_was_saved_runs_again_after_its_input_is_gone(
    session: Session, mask: Path, kept: Path, tmp_path: Path
) -> None:
    made = session.run(with_mask(mask))
    assert not kept.exists(), "nothing is kept of what is not saved"
    path = made.save(tmp_path / "made.png")
    (file,) = kept.glob("*/*")
    assert file.name == f"{asset.sha256(mask)}.png" and file.read_bytes() == mask.read_bytes()
    assert file.stat().st_mode & 0o077 == 0
    painted(mask, 128)  # the recipe means what it was
    assert session.run(zk.open(path).request, fresh=True).image.tobytes() == made.image.tobytes()
    mask.unlink()
    assert zk.open(path).verify(session).state == "identical"


def test_an_input_where_it_was_is_taken_only_while_it_is_the_same(session: Session, mask: Path, kept: Path) -> None:
    made = session.run(with_mask(mask))
    assert session.run(made.request, fresh=True).image.tobytes() == made.image.tobytes()
    painted(mask, 128)
    with pytest.raises(BadRequest, match="boat.png has other content") as raised:
        made.verify(session)
    digest = raised.value.facts["asset"]
    assert digest in str(raised.value) and str(kept / digest[:2] / f"{digest}.png") in str(raised.value)
    mask.unlink()
    with pytest.raises(BadRequest, match=r"the input boat\.png .* is missing"):
        session.run(made.request)


def test_a_kept_input_that_was_changed_or_is_a_link_is_refused(
    session: Session, mask: Path, kept: Path, tmp_path: Path
) -> None:
    made = session.run(with_mask(mask))
    made.save()
    (file,) = kept.glob("*/*")
    whole = Path(shutil.move(mask, tmp_path / "elsewhere.png"))
    file.write_bytes(b"something else")
    with pytest.raises(BadRequest, match="has other content"):
        session.run(made.request, fresh=True)
    file.unlink()
    file.symlink_to(whole)
    with pytest.raises(BadRequest, match="is not here|is missing"):
        session.run(made.request, fresh=True)
    file.unlink()
    shutil.copy(whole, file)
    assert session.run(made.request, fresh=True).image.tobytes() == made.image.tobytes()


def test_the_command_takes_an_input_from_elsewhere(
    session: Session, mask: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = session.run(with_mask(mask)).save(tmp_path / "made.png")
    shutil.rmtree(tmp_path / "home" / "outputs")
    moved, other = shutil.move(mask, tmp_path / "moved.png"), painted(tmp_path / "other.png", 9)
    rerun = ["recipe", "rerun", str(path), "--inline", "--device", "cpu", "--verify"]
    assert cli.call(rerun) == 2 and "--input FILE" in capsys.readouterr().err
    assert cli.call([*rerun, "--input", str(other)]) == 2
    assert "none of the recipe's inputs" in capsys.readouterr().err
    assert cli.call([*rerun, "--input", str(moved)]) == 0
    assert "identical" in capsys.readouterr().out
    assert cli.call(rerun) == 0, "it is kept now"


def test_a_comparison_says_which_input_differs_or_is_missing(session: Session, mask: Path) -> None:
    one = session.run(with_mask(mask))
    elsewhere = painted(mask.parent / "copy.png")
    assert not one.diff(session.run(with_mask(elsewhere))).fields, "only where it was is another"
    painted(elsewhere, 128)
    told = str(one.diff(session.run(with_mask(elsewhere))))
    assert "stage 1 inpaint: the input mask differs: boat.png (" in told
    mask.unlink()
    assert "the input boat.png" in str(one.diff(one)) and "is missing" in str(one.diff(one))


def test_an_old_recipe_with_a_path_still_runs(session: Session, mask: Path, artifact: Artifact) -> None:
    old = Artifact(artifact.image, with_mask(mask), artifact.trace)
    assert "~/masks/boat.png" in old.png_bytes().decode("latin-1")
    assert session.run(zk.open(old.save()).request).image.size == (64, 64)


def test_other_stages_name_their_pictures_so_too(mask: Path) -> None:
    request = check(SMALL.then(zk.stages.control(picture=mask, type="gray"))).request
    assert str(request.stages[0].fields()["picture"]).startswith(f"asset:{asset.sha256(mask)}/")


def test_bytes_are_kept_once(kept: Path) -> None:
    first, second = asset.store(b"mask", "a.png"), asset.store(b"mask", "../../b.png")
    assert (first.name, second.name, first.sha256) == ("a.png", "b.png", second.sha256)
    assert len(list(kept.rglob("*.png"))) == 1
    with pytest.raises(BadRequest, match="other content"):
        asset.put(kept, asset.Asset("0" * 64), b"mask")
