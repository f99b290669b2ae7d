"""Words that nano has never met are reported, in order; what it knows and what carries no word is not."""

from __future__ import annotations

import pytest

from zimage_kit.nano import lexicon
from zimage_kit.nano.lexicon import unknown_words


@pytest.mark.parametrize(
    ("prompt", "unknown"),
    [
        ("", []),
        ("a red balloon over the sea at sunset", []),
        ("a zeppelin and a qwrtzx", ["zeppelin", "qwrtzx"]),
        ("a qwrtzx, a zeppelin, a qwrtzx", ["qwrtzx", "zeppelin"]),  # in order, each once
        ("A RED Zeppelin", ["zeppelin"]),  # case does not matter
        ("Hot-Air Balloon, ink-wash style", []),
        ("a snow-white cat, sumi-e", []),
        ("the cat's house, the unicorn’s", ["unicorn"]),
        ("une forêt enchantée", ["une", "forêt", "enchantée"]),  # accents do not cut a word
        ("кот", ["кот"]),
        ("星空下的红色灯笼", []),
        ("红色的恐龙", ["恐龙"]),  # neighbours are one word
        ("恐龙和红色的独角兽", ["恐龙", "独角兽"]),
        ("一条龙和恐龍", ["恐龍"]),  # a dinosaur is no dragon, in neither script
        ("雪地裡的紅燈籠", []),
        ("一只red的猫 with a 恐龙 beside a zeppelin", ["恐龙", "zeppelin"]),
        ("a cat，一只狗。", []),
        ("!?…，。、：；“”()（）-—·", []),
        ("a cat 🐱🎈", []),
        ("two cats, 4k", []),
        ("8k 1girl 2026", ["8k", "1girl", "2026"]),
        ("a\tcat\n\non the   grass", []),
    ],
)
def test_unknown_words_are_told_in_order(prompt: str, unknown: list[str]) -> None:
    assert unknown_words(prompt) == unknown


def test_nano_knows_every_word_of_its_own_lists() -> None:
    phrases = [*lexicon.english_phrases(), *lexicon.chinese_words()]
    assert [phrase for phrase in phrases if unknown_words(phrase)] == []


def test_chinese_is_cut_so_that_least_is_left_over() -> None:
    # 小猫咪 could begin with 小猫, which would strand 咪
    assert unknown_words("小猫咪") == []
    assert unknown_words("一只小小的橘猫") == []


def test_every_attribute_has_names_in_both_languages() -> None:
    for table in (table for table in lexicon.TABLES if table is not lexicon.SIZES):
        for name, (english, chinese) in table.items():
            assert english, name
            assert chinese, name
            assert all(phrase.isascii() and phrase == phrase.lower() for phrase in english)
            assert not any(phrase.isascii() for phrase in chinese)
    for name, kind in (*lexicon.KINDS.items(), *lexicon.FIGURES.items()):
        assert kind.en, name
        assert kind.zh, name
        assert kind.measure, name


def test_no_name_belongs_to_two_kinds() -> None:
    for names in (
        [form for kind in lexicon.KINDS.values() for form in {form for pair in kind.en for form in pair}],
        [name for kind in lexicon.KINDS.values() for name in kind.zh],
        [name for english, _ in lexicon.COLOURS.values() for name in english],
        [name for _, chinese in lexicon.COLOURS.values() for name in chinese],
    ):
        assert len(names) == len(set(names))


def test_words_that_only_the_report_knows_stay_out_of_the_tokenizer() -> None:
    assert not set(lexicon.PIECED_ZH) & set(lexicon.chinese_words())
