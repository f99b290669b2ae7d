"""A stage's fields as form entries: each typed field becomes the control that suits its type.

Limits, choices and defaults are read off the field, so a stage declares them once. Values are JSON values.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import ipywidgets as w
from pydantic.fields import FieldInfo

from ...files import parsed_json
from ...stages.extensions import Extension, discover
from ...stages.stage import Stage, registry
from ..translations import FOLDER, Language, Texts

OPEN = "\0"
"""A menu's value for None: ipywidgets would show None itself as an empty line."""


@dataclass
class Entry:
    """One field: its control, and the conversions between the control's value and the JSON value."""

    name: str
    widget: Any
    read: Callable[[Any], Any]
    show: Callable[[Any], Any]
    optional: bool = False
    """Whether None is a value of its own."""

    @property
    def value(self) -> Any:
        """The field's JSON value as it stands in the control."""
        return self.read(self.widget.value)

    @value.setter
    def value(self, value: Any) -> None:
        self.widget.value = self.show(value)


@dataclass(frozen=True)
class StageLabels:
    """Labels of a stage and its fields, from its extension's catalogues, else derived from the names in the code."""

    kind: str
    texts: Texts

    @classmethod
    def of(cls, kind: str, language: Language) -> StageLabels:
        """The labels of a kind; an extension's catalogues are in the folder `texts` beside its code."""
        return cls._in(kind, language, discover())

    @classmethod
    def of_all(cls, language: Language) -> dict[str, StageLabels]:
        """The labels of every usable kind, sorted by kind; discovers extensions once."""
        found = discover()
        ready = {kind for extension in found if extension.state == "ready" for kind in extension.stages}
        return {kind: cls._in(kind, language, found) for kind in sorted(ready | set(registry.kinds()))}

    @classmethod
    def _in(cls, kind: str, language: Language, found: Sequence[Extension]) -> StageLabels:
        folder = next((each.folder / "texts" for each in found if kind in each.stages), FOLDER)
        return cls(kind, Texts(language, folder))

    @property
    def title(self) -> str:
        """What the stage is called."""
        return self.texts.get(f"stages.{self.kind}", _readable(self.kind))

    def label(self, field: str) -> str:
        """What one of its fields is called."""
        return self.texts.get(f"fields.{self.kind}.{field}", _readable(field))

    def help(self, field: str, info: FieldInfo) -> str:
        """What the field means, in a sentence."""
        return self.texts.get(f"help.{self.kind}.{field}", info.description or "")

    def choice(self, field: str, value: Any) -> str:
        """What one of a field's choices is called."""
        return self.texts.get(f"choices.{self.kind}.{field}.{value}", _readable(str(value)))


def _readable(name: str) -> str:
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]


def entry_for(cls: type[Stage], name: str, words: StageLabels, automatic: str) -> Entry:
    """The form entry of a stage's field; `automatic` is shown where a field may be left open."""
    info = cls.model_fields[name]
    kind, optional = _without_none(info.annotation)
    captions = {"description": words.label(name), "tooltip": words.help(name, info)}
    default = None if info.is_required() else info.get_default(call_default_factory=True)
    if kind is bool and not optional:
        return Entry(name, w.Checkbox(value=default, indent=False, **captions), bool, bool)
    if get_origin(kind) is Literal:
        choices = [(words.choice(name, value), value) for value in get_args(kind)]
        if not optional:
            return Entry(name, w.Dropdown(options=choices, value=default, **captions), _same, _same)
        menu = w.Dropdown(options=[(automatic, OPEN), *choices], value=OPEN if default is None else default, **captions)
        return Entry(
            name,
            menu,
            lambda value: None if value == OPEN else value,
            lambda value: OPEN if value is None else value,
            optional,
        )
    if kind in (int, float) and not optional:
        return Entry(name, _number(kind, info, default, captions), kind, kind)
    if kind is str and not optional and _extra(info).get("format") == "multiline":
        return Entry(name, w.Textarea(value=default, rows=2, **captions), _same, _same)
    placeholder = automatic if optional else ""
    line = w.Text(placeholder=placeholder, continuous_update=False, **captions)
    if kind in (str, Path):
        read, show = (lambda text: text or None) if optional else _same, _line
    elif kind in (int, float):
        read, show = _as_number, _line
    else:
        read, show = _as_json, _json_line
    line.value = show(_json_value(default))
    return Entry(name, line, read, show, optional)


def _same(value: Any) -> Any:
    return value


def _line(value: Any) -> str:
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    return "" if value is None else str(value)


def _as_number(text: str) -> Any:
    """A number, or the text as it is, which the stage's validation then reports."""
    text = text.strip()
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text


def _as_json(text: str) -> Any:
    text = text.strip()
    if not text:
        return None
    try:
        return parsed_json(text)
    except ValueError:
        return text


def _json_line(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _json_value(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, Path) else value


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """(the type without None, whether None is allowed)."""
    if get_origin(annotation) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        return (kinds[0] if len(kinds) == 1 else annotation), len(kinds) < len(get_args(annotation))
    return annotation, False


def _extra(info: FieldInfo) -> Mapping[str, Any]:
    return info.json_schema_extra if isinstance(info.json_schema_extra, Mapping) else {}


def _number(kind: type, info: FieldInfo, default: Any, captions: dict[str, Any]) -> Any:
    low = next((limit.ge for limit in info.metadata if hasattr(limit, "ge")), None)
    high = next((limit.le for limit in info.metadata if hasattr(limit, "le")), None)
    limits = {"min": low, "max": high} if low is not None and high is not None else {}
    if kind is int:
        bounded, free = w.BoundedIntText, w.IntText
        return bounded(value=default, **limits, **captions) if limits else free(value=default, **captions)
    if low is not None and high is not None:
        step = next((step for step in (0.01, 0.05, 0.1) if (high - low) / step <= 100), 1.0)
        return w.BoundedFloatText(value=default, step=step, **limits, **captions)
    return w.FloatText(value=default, step=0.1, **captions)
