"""Values of axes, and what they are called.

Values come as Python values or as text ("1-9(+2)", one value a line) and leave as JSON values, in one normal form each,
so that a grid can be written down and read again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, time
from decimal import Decimal
from numbers import Number
from pathlib import Path, PurePath
from typing import Any

from pydantic import BaseModel, JsonValue, TypeAdapter

from ..errors import BadRequest
from ..files import check_allowed, expanded, parsed_json, portable
from ..recipe.request import Lora, Request, parse_size
from ..text.line_breaks import shortened
from .axis_names import TEXT_FIELDS, field_type, number_type, stage_field

LARGEST_AXIS = 10_000
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"
_RANGE = re.compile(rf"({_NUMBER})\s*-\s*({_NUMBER})\s*(?:\(\s*([+-]\s*(?:\d+\.?\d*|\.\d+))\s*\)|\[\s*(\d+)\s*\])?")


def values_of(name: str, given: Any, slot: bool = False) -> list[JsonValue]:
    """The values of an axis (by its canonical name) in their normal form, those of a slot as text.

    Text is read as `parse_values` says. Raises BadRequest when there are none, too many, or one that cannot be read.
    """
    if isinstance(given, str):
        found: list[Any] = parse_values(name, given, slot)
    elif hasattr(given, "tolist"):  # an array, a column of a table; or a number of numpy's
        listed = given.tolist()
        found = listed if isinstance(listed, list) else [listed]
    elif not slot and _is_one(name, given):
        found = [given]
    elif isinstance(given, Iterable) and not isinstance(given, Mapping | bytes | BaseModel):
        found = list(given)
    else:
        found = [given]
    if not found:
        raise BadRequest(f"axis {name} has no values", mend="Give it at least one.", axis=name)
    if len(found) > LARGEST_AXIS:
        raise BadRequest(f"axis {name} has {len(found)} values", expected=f"at most {LARGEST_AXIS}", axis=name)
    return [_slot_text(name, value) if slot else _normal(name, value) for value in found]


def is_one_value(name: str, given: Any, values: Sequence[JsonValue]) -> bool:
    """Whether a single value was given, not a list of one."""
    several = isinstance(given, Iterable) and not isinstance(given, str | bytes | Mapping | BaseModel)
    return len(values) == 1 and (not several or _is_one(name, given) or getattr(given, "ndim", 1) == 0)


def _is_one(name: str, value: Any) -> bool:
    """Whether a tuple is one value: a size, or a LoRA with its weight."""
    pair = isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], int | float)
    return pair and (name == "lora" or (name == "size" and isinstance(value[0], int)))


def _slot_text(name: str, value: Any) -> str:
    """A slot's value; None (an empty cell of a table) is nothing at all, as there is none in the base."""
    if hasattr(value, "item") and not isinstance(value, str):  # numpy's own
        value = value.item()
    if not isinstance(value, str | Number | PurePath | date | time | None):
        raise BadRequest(f"axis {name}: {short(value)}", expected="a text or a number", axis=name)
    return value if isinstance(value, str) else "" if value is None else _plain(value)


def parse_values(name: str, text: str, slot: bool = False) -> list[str]:
    """One value a line; in one line `a; b`, and where a value has no commas of its own (not prompts) `a, b` as well.

    A value in double quotes may contain what separates values: `"a, b", "c"`. Ranges: `1-9` (for axes of numbers),
    `1-9(+2)`, `0.2-1(+0.2)`, `9-1(-4)`, and `0-1[5]`, five from 0 to 1. `@FILE`: the lines of a file.
    """
    if text.startswith("@"):
        check_allowed(Path(text[1:]))
        path = expanded(Path(text[1:]))
        try:
            text = path.read_text("utf-8-sig") + "\n"
        except UnicodeDecodeError:
            raise not_utf8(f"axis {name}: {path}") from None
        except (OSError, ValueError) as error:
            raise BadRequest(f"axis {name}: {path} cannot be read ({error})", axis=name) from None
    sentences = not slot and (name in TEXT_FIELDS or field_type(name) is str)
    json_ = name.startswith("stages.") and text.lstrip()[:1] in ("[", "{")
    if not json_ and (quoted := _quoted(text, every=sentences)):
        return quoted
    sentences |= json_
    if not slot and number_type(name) is not None:  # separators that no number contains
        text = re.sub("[,，；\n]", ";", text)
    separator = "\n" if "\n" in text else ";" if ";" in text or "；" in text else None if sentences else ","
    text = text.replace("；", ";") if separator == ";" else text.replace("，", ",") if separator == "," else text
    parts = [part.strip() for part in (text.split(separator) if separator else [text])]
    if slot and separator == ";":  # "; ink; oil" begins with an empty value
        parts = parts[:-1] if len(parts) > 1 and not parts[-1] else parts
    elif separator in ("\n", ";"):
        parts = [part for part in parts if part] or parts[:1]
    found: list[str] = []
    for part in parts:
        found += _range(name, part, None if slot else number_type(name)) or [part]
    return found


_QUOTED = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",;，；]*))\s*(?:([,;，；])|$)')


def _quoted(text: str, every: bool) -> list[str]:
    """Values in one line of which some are in double quotes, a quote within doubled as in CSV; empty for other lines.

    `every`: all of at least two must be quoted.
    """
    if '"' not in text or "\n" in text:
        return []
    found, at, quotes = list[str](), 0, 0
    while match := _QUOTED.match(text, at):
        quotes += match[1] is not None
        found.append(match[2].strip() if match[1] is None else match[1].replace('""', '"'))
        at = match.end()
        if not match[3]:
            break
    whole = at == len(text) and (len(found) == quotes > 1 if every else quotes > 0)
    return found if whole else []


def not_utf8(seen: str) -> BadRequest:
    """The error for a file in another encoding, such as GBK."""
    return BadRequest(f"{seen} is not UTF-8", expected="text in UTF-8", mend="Save it again as UTF-8.")


def _range(name: str, text: str, number: type | None) -> list[str]:
    """The values of a range; empty if the text is no range. Decimal, so that steps of 0.1 stay exact."""
    match = _RANGE.fullmatch(text)
    if match is None or not (number or match[3] or match[4]):
        return []
    first, last = Decimal(match[1]), Decimal(match[2])
    if match[4]:
        count = int(match[4])
        if not 2 <= count <= LARGEST_AXIS:
            raise BadRequest(f"axis {name}: {text}", expected=f"2 to {LARGEST_AXIS} values in brackets", axis=name)
        found = [first + (last - first) * index / (count - 1) for index in range(count)]
        if number is int:
            found = [Decimal(round(value)) for value in found]
        return [f"{value:.10g}" if value != int(value) else str(int(value)) for value in found]
    step = Decimal(match[3].replace(" ", "")) if match[3] else Decimal(1 if last >= first else -1)
    if not step or (last - first) * step < 0:
        raise BadRequest(
            f"axis {name}: {text}",
            expected=f"a step that leads from {first} to {last}",
            mend="Such as 1-9(+2), 9-1(-2).",
        )
    if (last - first) / step > LARGEST_AXIS:
        raise BadRequest(f"axis {name}: {text}", expected=f"at most {LARGEST_AXIS} values", axis=name)
    return [str(first + index * step) for index in range(int((last - first) // step) + 1)]


def _normal(name: str, value: Any) -> JsonValue:
    """One value in its normal form; None leaves the base as it is. Raises BadRequest."""
    if hasattr(value, "item") and not isinstance(value, str):  # numpy's own numbers
        value = value.item()
    switched = name == "lora" or (name.startswith("stages.") and not stage_field(name))
    if value is None and not switched:
        return None
    number = number_type(name)
    if number is not None:
        return _as_number(name, value, number)
    if name == "size":
        value = value.replace("，", ",") if isinstance(value, str) else value
        if isinstance(value, int) or (isinstance(value, str) and value.strip().isdigit()):
            value = f"{value}x{value}"
        text = "x".join(str(side) for side in value) if isinstance(value, tuple | list) else str(value)
        try:
            return "x".join(str(side) for side in parse_size(text))
        except BadRequest as error:
            raise BadRequest(
                f"axis size: {short(value)}", expected=error.expected, mend=error.mend, axis=name
            ) from None
    if name == "lora":
        return _loras(value)
    if name.startswith("stages."):
        return _stage_value(name, value)
    if not isinstance(value, str) and not (name == "model" and isinstance(value, Path)):
        raise BadRequest(f"axis {name}: {short(value)}", expected="a text", axis=name)
    return str(value)


def _as_number(name: str, value: Any, number: type) -> int | float:
    try:
        if number is int and isinstance(value, str) and value.strip().lstrip("+-").isdigit():
            return int(value)  # exact beyond what a float holds
        found = None if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        found = None
    if found is None or (number is int and not found.is_integer()):
        hint = ' Ranges are written "1-9" or "1-9(+2)".' if isinstance(value, str) else ""
        expected = "a whole number" if number is int else "a number"
        raise BadRequest(f"axis {name}: {value!r}", expected=expected, mend=hint.strip(), axis=name)
    return int(found) if number is int and not isinstance(value, int) else value if number is int else found


def _loras(value: Any) -> JsonValue:
    """Of an axis `lora`: a list of [name, weight], empty for none."""
    if value in (None, "", "none", "None", False) or value == [] or value == ():
        return []
    if isinstance(value, str) and value.startswith("[["):  # several in one cell of a table
        with suppress(ValueError):
            value = parsed_json(value)
    if isinstance(value, str):
        name, colon, weight = value.rpartition(":")
        if colon and re.fullmatch(_NUMBER, weight.strip()):
            return [[name.strip(), float(weight)]]
        return [[value.strip(), 1.0]]
    if isinstance(value, list):
        return [pair for one in value for pair in _loras(tuple(one) if isinstance(one, list) else one)]  # type: ignore[union-attr]
    lora = value if isinstance(value, Lora) else Request(loras=(value,)).loras[0]
    return [[str(lora.path), lora.weight]]


def _stage_value(name: str, value: Any) -> JsonValue:
    """A stage's field as JSON; of `stages.KIND` alone True (as it is), False (without it) or the fields to change."""
    try:
        value = _JSON.dump_python(value, mode="json")
        if isinstance(value, str) and value.lstrip()[:1] in ("[", "{") and field_type(name) is not str:
            value = parsed_json(value)
    except ValueError as error:
        raise BadRequest(f"axis {name}: {short(value)}", expected=f"JSON ({error})", axis=name) from None
    switched = not stage_field(name)
    if isinstance(value, str) and (switched or field_type(name) is bool):
        value = _WORDS.get(value.strip().lower(), value)
    if not switched:
        return value  # type: ignore[no-any-return]
    if value is None:
        value = False
    if not isinstance(value, bool | dict) or (isinstance(value, dict) and "kind" in value):
        raise BadRequest(f"axis {name}: {short(value)}", expected="on, off, or fields of the stage", axis=name)
    return value


_JSON: TypeAdapter[Any] = TypeAdapter(Any)
_WORDS = {"on": True, "yes": True, "true": True, "off": False, "no": False, "none": False, "false": False}


def label_of(name: str, value: JsonValue) -> str:
    """A value's label on a sheet: texts as they are, other values with the axis name."""
    short = name.removesuffix(".weight").split(".")[-1].replace("_", " ") if name != "lora.weight" else "LoRA"
    if name == "size":
        return str(value).replace("x", " × ")
    if name == "lora":
        pairs: Any = value
        names = [f"{Path(path).stem} {weight:g}" for path, weight in pairs]
        return " + ".join(names) or "no LoRA"
    if (name.startswith("stages.") and not stage_field(name)) or isinstance(value, Mapping):
        if isinstance(value, Mapping):
            return short + " " + ", ".join(f"{key} {_plain(each)}" for key, each in value.items())
        return short if value else f"no {short}"
    if name == "model" and isinstance(value, str):
        return Path(value).name if os.sep in value else value
    if isinstance(value, str):
        return portable(value) or f"no {short}"
    return f"{short} {_plain(value)}"


def short(value: Any) -> str:
    """A value for an error message, cut at 60 characters."""
    text = repr(value)
    return shortened(text, 58)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else portable(str(value))
