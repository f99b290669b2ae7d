"""Styles that ship: the same in both languages, in nano's words for nano, and gone again without a trace."""

from __future__ import annotations

from pathlib import Path

import pytest

import zimage_kit as zk
from zimage_kit.nano.lexicon import STYLES, unknown_words
from zimage_kit.recipe.styles import SHIPPED, styles, with_piece, without_piece
from zimage_kit.text.catalogues import catalogue

LANGUAGES = ("en", "zh")
ALL = [
    (language, model, name) for language in LANGUAGES for model in ("turbo", "nano") for name in styles(language, model)
]


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZIMAGE_PRESETS", str(tmp_path / "own"))


def test_both_languages_have_the_same_styles() -> None:
    en, zh = (catalogue(SHIPPED, language) for language in LANGUAGES)
    assert set(en) == set(zh) and 20 <= len(styles("en")) == len(styles("zh"))
    for language in LANGUAGES:
        names = [text for key, text in catalogue(SHIPPED, language).items() if key.endswith(".name")]
        assert len(set(names)) == len(names)


def test_nano_is_offered_what_it_knows_in_its_own_words() -> None:
    for at, language in enumerate(LANGUAGES):
        offered = styles(language, "nano")
        assert set(offered) < set(styles(language, "turbo"))
        for name, piece in offered.items():
            assert unknown_words(piece) == [], name
        known = [pieces[at] for pieces in STYLES.values()]
        assert sorted(next(i for i, k in enumerate(known) if piece in k) for piece in offered.values()) == [0, 1, 2]


@pytest.mark.parametrize(("language", "model", "name"), ALL)
def test_a_style_ends_a_prompt_once_and_goes_again(language: str, model: str, name: str) -> None:
    piece = styles(language, model)[name]
    for prompt in ("", "a red boat", "海上的红船", "a red boat, at dusk"):
        once = with_piece(prompt, piece)
        assert once.endswith(piece) and once.count(piece) == 1
        assert with_piece(once, piece) == once
        assert without_piece(once, piece) == prompt
        assert zk.coach(once, model) == (), "it is what the coach asks for"
    assert without_piece("a boat", piece) == "a boat"
    assert without_piece(f"{piece}, a boat", piece) == "a boat"


def test_the_users_own_styles_go_to_every_model_and_before_those_that_ship() -> None:
    zk.save_style("Mine", "by candlelight")
    zk.save_style("Photo", "on film", replace=True)
    for model in ("nano", "turbo", None):
        assert styles("en", model)["Mine"] == "by candlelight" and styles("en", model)["Photo"] == "on film"
    assert styles("fr", "turbo").keys() == styles("en", "turbo").keys()
