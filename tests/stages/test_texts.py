"""The panel shows the extensions that come along in each of its languages: stages, fields, their choices and help."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

import pytest

from zimage_kit.stages import extensions
from zimage_kit.stages.stage import Stage
from zimage_kit.studio.translations import catalogue, languages

OURS = [extension for extension in extensions.discover() if extension.folder.parent == extensions.checkout()]
KINDS = [(extension, kind) for extension in OURS for kind in extension.stages]


def choices(annotation: Any) -> Iterator[Any]:
    """What a field may be, where that is a list."""
    if get_origin(annotation) is Literal:
        yield from get_args(annotation)
    else:
        for part in get_args(annotation):
            yield from choices(part)


def stage_of(kind: str) -> type[Stage]:
    cls = extensions.stage_class(kind)
    assert cls is not None
    return cls


@pytest.mark.parametrize("language", languages())
@pytest.mark.parametrize(("extension", "kind"), KINDS, ids=[kind for _, kind in KINDS])
def test_a_stage_its_fields_and_their_choices_have_names(
    extension: extensions.Extension, kind: str, language: Any
) -> None:
    fields = stage_of(kind).model_fields
    wanted = {f"stages.{kind}", *(f"fields.{kind}.{name}" for name in fields)}
    for name, field in fields.items():
        wanted |= {f"choices.{kind}.{name}.{choice}" for choice in choices(field.annotation)}
    texts = catalogue(extension.folder / "texts", language)
    named = {key for key in texts if key.split(".")[0] in ("fields", "choices") and key.split(".")[1] == kind}
    assert named | {f"stages.{kind}"} & texts.keys() == wanted
    assert [key for key in wanted if not texts[key].strip()] == []


@pytest.mark.parametrize(("extension", "kind"), KINDS, ids=[kind for _, kind in KINDS])
def test_every_field_is_explained_in_chinese_too(extension: extensions.Extension, kind: str) -> None:
    texts = catalogue(extension.folder / "texts", "zh")
    explained = {key.removeprefix(f"help.{kind}.") for key in texts if key.startswith(f"help.{kind}.")}
    assert explained == set(stage_of(kind).model_fields)
    plain = [key for key in explained if texts[f"help.{kind}.{key}"].isascii()]
    assert plain == [], "not Chinese"
