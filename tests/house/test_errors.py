"""Errors say what was seen, what was expected and what to do, in one line, and lose nothing on their way."""

from __future__ import annotations

import inspect
import pickle

from zimage_kit import errors
from zimage_kit.errors import BadRequest, ModelMissing, ZImageError, closest


def test_an_error_is_one_line_with_the_mend_at_the_end() -> None:
    error = BadRequest("width=1000", expected="a multiple of 16", mend="Use 992 or 1008.", field="width")
    assert str(error) == "width=1000; expected a multiple of 16. Use 992 or 1008."
    assert (error.mend, error.facts) == ("Use 992 or 1008.", {"field": "width"})
    assert "\n" not in str(BadRequest("several\nlines", mend="and\nmore"))


def test_an_error_survives_pickling_with_its_facts() -> None:
    error = ModelMissing("turbo is not here", mend="Fetch it.", bytes=33, command="zimage models download turbo")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is ModelMissing
    assert (str(again), again.mend, again.facts) == (str(error), error.mend, error.facts)


def test_the_tree_in_the_docstring_is_the_tree_of_the_module() -> None:
    classes = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, ZImageError)]
    lines = (errors.__doc__ or "").splitlines()
    for cls in classes:
        line = next((line for line in lines if line.replace("│", " ").strip(" ├└─").startswith(cls.__name__)), None)
        assert line is not None, f"{cls.__name__} is not in the tree"
        depth = (len(line) - len(line.lstrip(" │├└─")) - 4) // 4
        assert depth == len(cls.__mro__) - 4, f"{cls.__name__} stands at the wrong depth"


def test_a_near_miss_is_named() -> None:
    assert closest("turboo", ["nano", "turbo"]) == "Did you mean turbo?"
    assert closest("xyz", ["nano", "turbo"]) == "Known: nano, turbo."
    assert closest("xyz", []) == "None are known."
