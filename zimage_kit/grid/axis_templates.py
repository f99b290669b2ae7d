"""Templates in a grid: one prompt axis with a value for each of their combinations, called by what was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import BadRequest
from ..recipe.request import Request
from ..recipe.templates import count, escape, every, is_template
from .axis_names import TEXT_FIELDS
from .axis_values import values_of

MOST = 200
"""Combinations of one template. Beyond it, a grid over seeds, each with the choice of its seed, is what one wants."""


def with_combinations(
    request: Request, given: Mapping[str, Any], layout: Mapping[str, str | Sequence[str] | None]
) -> tuple[dict[str, Any], dict[str, dict[str, str]], dict[str, str], tuple[str, ...]]:
    """The axes `given` with templates taken apart; labels of the values that came of it; their templates; notes.

    The base's prompt, if it is a template and no axis, becomes the first axis. An axis that varies in step with others
    keeps its templates: each cell chooses by its seed. Raises BadRequest for more than `MOST` combinations.
    """
    found, labels, notes = dict(given), dict[str, dict[str, str]](), list[str]()
    templates: dict[str, str] = {}
    if "prompt" not in found and not request.template and is_template(request.prompt):
        found = {"prompt": [request.prompt], **found}
    groups = [names for names in layout.values() if names is not None and not isinstance(names, str)]
    in_step = {name for names in groups if len(names) > 1 for name in names}
    for name in TEXT_FIELDS:
        if name not in found or name in in_step:
            continue
        values = values_of(name, found[name])
        texts = [value for value in values if isinstance(value, str) and is_template(value)]
        if not texts:
            continue
        every_value: list[Any] = []
        for value in values:
            if not isinstance(value, str) or value not in texts:
                every_value.append(value)
                continue
            combinations = _combinations(value)
            every_value += combinations
            if name == "prompt":
                templates |= dict.fromkeys(combinations, value)
            if len(values) == 1:
                labels[name] = {each: label for each, label in combinations.items() if label}
        found[name] = list(dict.fromkeys(every_value))
        notes += [f"{name}: each of the {len(_combinations(text))} combinations of {text}" for text in texts]
    return found, labels, templates, tuple(notes)


def _combinations(text: str) -> dict[str, str]:
    """Prompts with labels: the choices from left to right, without those that became nothing."""
    if (size := count(text)) > MOST:
        raise BadRequest(
            f"{text[:60]!r} has {size} combinations, too many for an axis",
            expected=f"at most {MOST}",
            mend='Let cells choose by their seeds: columns=("prompt", "seed"), one prompt and several seeds.',
            axis="prompt",
        )
    return {escape(each.prompt): " · ".join(choice for choice in each.choices if choice) for each in every(text)}
