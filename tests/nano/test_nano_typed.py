"""Prompts as people type them: what they ask for is read, and a verdict is held against it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from zimage_kit.nano import typed
from zimage_kit.nano.judge import Verdict
from zimage_kit.nano.lexicon import KINDS
from zimage_kit.nano.typed import Wanted, right, wanted


def seen(count: dict[str, int], colours: dict[str, tuple[str, ...]] | None = None) -> Verdict:
    return Verdict(
        dict.fromkeys(KINDS, 0) | count, colours or {}, dict.fromkeys(KINDS, 0.5), dict.fromkeys(KINDS, 0.5),
        dict.fromkeys(KINDS, True), "beach", "flat", "waving", "day",
    )  # fmt: skip


def test_a_hundred_prompts_in_each_language_are_read_and_none_is_there_twice() -> None:
    for language in ("en", "zh"):
        told = typed.prompts(language)
        assert len({prompt for prompt, _ in told}) == len(told) == typed.COUNT
        assert all(asked.things for _, asked in told)


def test_an_expectation_is_read() -> None:
    assert wanted("cat orange; dog; snowfield by-night; ink") == Wanted(
        (("cat", "orange"), ("dog", "")), background="snowfield", hour="night", style="ink"
    )
    assert wanted("person red two waving; beach") == Wanted((("person", "red"),) * 2, "waving", background="beach")
    assert wanted("star; night").background == "night"
    with pytest.raises(ValueError, match="'zeppelin' in 'cat; zeppelin'"):
        wanted("cat; zeppelin")


def test_what_was_asked_for_and_nothing_else_is_right() -> None:
    asked, fine = wanted("cat red; beach"), seen({"cat": 1}, {"cat": ("red",)})
    assert right(asked, fine)
    for wrong in (
        seen({"cat": 2}, {"cat": ("red",)}),
        seen({"cat": 1}, {"cat": ("blue",)}),
        seen({"cat": 1, "dog": 1}, {"cat": ("red",)}),
        replace(fine, background="sea"),
        replace(fine, style="ink"),
    ):
        assert not right(asked, wrong)


def test_what_is_not_asked_for_is_free() -> None:
    assert right(wanted("cat"), replace(seen({"cat": 1}, {"cat": ("blue",)}), background="room", hour="night"))
    assert not right(wanted("cat; beach by-day"), replace(seen({"cat": 1}), hour="night"))
    assert not right(wanted("dog left"), seen({"dog": 1}))
    assert right(wanted("person two waving"), seen({"person": 2}))
