"""Stages: declared once, validated in one line, and a registry that nothing half-done gets into."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import pytest
from PIL import Image

from zimage_kit import Call, Context, Field, Request, Stage
from zimage_kit.errors import BadRequest, ExtensionProblem
from zimage_kit.recipe.identity import stage_identity
from zimage_kit.stages.stage import Registry, build, registry, stage


def after(self: Stage, image: Image.Image, ctx: Context) -> Image.Image:
    return image


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    before = set(registry.kinds())
    yield
    for kind in set(registry.kinds()) - before:
        registry.remove(kind)


class Frame(Stage):
    """A frame of `width` pixels."""

    kind = "frame"

    width: int = Field(4, ge=1, le=64, description="pixels")
    source: Path | None = None

    after = after


def test_a_stage_serialises_as_its_kind_and_fields_and_comes_back() -> None:
    request = Request(prompt="x").then(Frame(width=9))
    assert request.model_dump(mode="json")["stages"] == [{"kind": "frame", "width": 9, "source": None}]
    again = Request.from_json(request.to_json())
    assert build(again.stages[0], Frame, ()) == Frame(width=9)


def test_text_is_read_where_a_field_is_one_of_several_numbers() -> None:
    class Larger(Frame):
        kind = "larger"

        factor: Literal[1, 2, 4] = 2
        share: Literal[0.5, "none"] | None = None
        name: Literal["1", "2"] = "1"

    made = Larger.model_validate(
        {"factor": "4", "share": "0.5", "name": "2"}
    )  # as `--stage larger:factor=4` gives them
    assert (made.factor, made.share, made.name) == (4, 0.5, "2")
    with pytest.raises(BadRequest, match=r"larger.factor='3'; expected 1, 2 or 4"):
        Larger(factor="3")  # type: ignore[arg-type]


def test_stages_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Frame().width = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"width": 99}, "frame.width=99; expected 1 to 64"),
        ({"widht": 1}, "unknown field frame.widht. Did you mean width?"),
    ],
)
def test_wrong_fields_are_told_in_one_line(fields: dict[str, object], line: str) -> None:
    with pytest.raises(BadRequest) as caught:
        Frame(**fields)
    assert str(caught.value) == line


def test_an_unknown_kind_names_the_closest() -> None:
    data = Request(prompt="x", stages=[{"kind": "farme"}]).stages[0]
    with pytest.raises(BadRequest, match="unknown stage 'farme'. Did you mean frame?"):
        build(data, None, ("frame", "caption"))


def test_a_clash_of_kinds_names_both_and_leaves_the_registry_as_it_was() -> None:
    stage(Frame)
    other = type("Other", (Stage,), {"kind": "frame", "after": after, "__module__": "elsewhere"})
    with pytest.raises(ExtensionProblem) as caught:
        stage(other)
    assert f"{__name__}.Frame" in str(caught.value)
    assert "elsewhere.Other" in str(caught.value)
    assert registry.get("frame") is Frame


@pytest.mark.parametrize("kind", ["", "Frame", "two words", "ünder", 3])
def test_a_kind_that_is_no_identifier_is_refused_and_not_registered(kind: object) -> None:
    before = registry.kinds()
    cls = type("Odd", (Stage,), {"kind": kind, "after": after})
    with pytest.raises(ExtensionProblem, match="kind"):
        stage(cls)
    assert registry.kinds() == before


def test_a_stage_that_does_nothing_is_refused() -> None:
    with pytest.raises(ExtensionProblem, match="neither before nor after"):
        Registry().add(type("Idle", (Stage,), {"kind": "idle"}))
    with pytest.raises(ExtensionProblem, match="subclass"):
        Registry().add(SimpleNamespace)  # type: ignore[type-var]


def test_running_a_notebook_cell_twice_replaces_the_stage() -> None:
    stage(Frame)
    again = type("Frame", (Stage,), {"kind": "frame", "after": after, "__module__": __name__})
    stage(again)
    assert registry.get("frame") is again


def test_what_a_stage_overrides_says_what_it_does() -> None:
    class Both(Stage):
        kind = "both"

        def before(self, call: Call, ctx: Context) -> Call:
            return call.but(steps=1)

    assert (Both.conditions(), Both.transforms()) == (True, False)
    assert (Frame.conditions(), Frame.transforms()) == (False, True)


def test_the_identity_follows_the_version_and_the_files_that_fields_name(tmp_path: Path) -> None:
    file = tmp_path / "pose.json"
    file.write_text("{}")
    first = Frame(source=file).depends(Request())
    file.write_text('{"changed": true}')
    assert Frame(source=file).depends(Request()) != first
    newer = type("Newer", (Frame,), {"version": 2})
    assert stage_identity(1, newer(), Request()) != stage_identity(1, Frame(), Request())
    moved = tmp_path / "elsewhere.json"
    moved.write_bytes(file.read_bytes())
    assert stage_identity(1, Frame(source=moved), Request()) == stage_identity(1, Frame(source=file), Request())


def test_a_stage_with_the_former_cache_key_is_refused_and_told_what_to_write() -> None:
    with pytest.raises(ExtensionProblem, match=r"defines cache_key; expected depends\(request\)"):

        @stage
        class Old(Frame):
            """As extensions were written before."""

            kind = "test_old"

            def cache_key(self) -> str:
                return "old"


def test_a_context_can_be_made_for_a_test_with_a_request_alone() -> None:
    context = Context(Request(prompt="x"))
    context.note("a")
    context.progress("b")
    context.check()
    assert (context.device, context.dtype) == ("cpu", "float32")
    with pytest.raises(BadRequest, match="resident pipeline"):
        context.pipeline()
