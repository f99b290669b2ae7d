"""Captions: what a person might type for a scene, in English or Chinese, from a grammar with synonyms.

Clauses come in any order, attributes are dropped, and stray words are mixed in, so that a user's own words work.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zimage_kit.nano.lexicon import (
    BACKGROUNDS,
    COLOURS,
    FIGURES,
    FILLER_EN,
    FILLER_ZH,
    KINDS,
    PLACES,
    POSES,
    SIZES,
    STYLES,
    Kind,
)
from zimage_kit.nano.scenes import NATURAL, Scene, Thing

Random = np.random.Generator

# Backgrounds as bare tags, beside the phrases of the lexicon.
TAGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "day": (("clear day", "blue sky", "sunny day", "beach"), ("晴天", "蓝天", "沙滩")),
    "grassland": (("grassland", "green meadow", "grass", "field"), ("草原", "草地", "绿色的草地")),
    "sea": (("sea", "ocean", "lake", "sea background"), ("大海", "海边", "海", "湖")),
    "snow": (("snow mountains", "snowy mountains", "snow", "winter"), ("雪山", "雪地", "雪")),
    "sunset": (("sunset", "dusk", "evening", "sunset background"), ("夕阳", "日落", "黄昏", "晚霞", "落日")),
    "night": (("starry night", "night", "starry sky", "night sky"), ("星空", "夜空", "夜晚", "星夜")),
    "desert": (("desert", "sand dunes", "desert background"), ("沙漠", "大漠")),
    "city": (("city", "city street", "city skyline"), ("城市", "街道", "高楼")),
}
VERBS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "bird": (("flying",), ("飞着的", "飞翔的")),
    "butterfly": (("flying",), ("飞着的",)),
    "balloon": (("floating", "flying"), ("飘着的", "飞着的")),
    "lantern": (("floating", "glowing"), ("挂着的", "飘着的")),
    "kite": (("flying",), ("飞着的", "飘着的")),
    "fish": (("swimming",), ("游着的",)),
    "boat": (("sailing", "floating"), ("漂着的",)),
    "car": (("parked",), ("停着的", "开着的")),
    "tree": (("growing",), ("长着的",)),
    "flower": (("blooming",), ("盛开的",)),
}


class _Teller:
    """Tells one scene once: holds the random choices that a caption shares (which attributes are dropped)."""

    def __init__(self, scene: Scene, rng: Random, complete: bool) -> None:
        self.scene, self.rng, self.complete = scene, rng, complete
        self.background = complete or not scene.things or rng.random() > 0.16
        self.style = scene.style != "flat" or rng.random() < 0.12
        if scene.style != "flat" and not complete and rng.random() < 0.02:
            self.style = False

    def pick(self, options: Sequence[str]) -> str:
        """Choose one: the first name half of the time, since it is the commonest."""
        return options[0] if self.rng.random() < 0.4 else options[int(self.rng.integers(len(options)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def kind(self, thing: Thing) -> Kind:
        if thing.kind == "person" and (self.complete or self.chance(0.75)):
            return FIGURES[thing.figure]
        return KINDS[thing.kind]

    def with_colour(self, thing: Thing) -> bool:
        return self.complete or not self.chance(0.5 if thing.colour in NATURAL[thing.kind] else 0.06)

    def with_size(self, thing: Thing) -> bool:
        return thing.size != "medium" and self.chance(0.7)

    def with_pose(self, thing: Thing) -> bool:
        if thing.kind != "person" or not thing.pose:  # a pose without a name is not told
            return False
        return self.complete or self.chance(0.35 if thing.pose == "standing" else 0.94)

    def with_place(self) -> bool:
        return len(self.scene.things) == 1 and self.chance(0.30)

    def twins(self) -> bool:
        if len(self.scene.things) != 2:
            return False
        a, b = self.scene.things
        return (a.kind, a.colour, a.figure, a.pose) == (b.kind, b.colour, b.figure, b.pose)

    def pair(self) -> Kind | None:
        """What two people may be called together, if this caption calls them so; their colours are then not told."""
        things = self.scene.things
        if self.complete or len(things) != 2 or {thing.kind for thing in things} != {"person"} or self.chance(0.75):
            return None
        alike = things[0].figure == things[1].figure
        return FIGURES[things[0].figure] if alike and self.chance(0.6) else KINDS["person"]


def english(scene: Scene, rng: Random, complete: bool = False, stray: bool = True) -> str:
    """Return an English caption. `complete` drops no attribute; `stray` may add filler and unknown words."""
    t = _Teller(scene, rng, complete)
    parts: list[str] = []
    if t.twins() and t.chance(0.7):
        parts.append("two " + _noun_en(t, scene.things[0], plural=True))
    elif pair := t.pair():
        parts.append("two " + pair.en[int(rng.integers(len(pair.en)))][1])
    elif len(scene.things) == 2:
        a, b = (_thing_en(t, thing) for thing in scene.things)
        forms = (
            f"{a} and {b}", f"{b} and {a}", f"{a} beside {b}", f"{b} next to {a}",
            f"{a} on the left and {b} on the right", f"{b} on the right and {a} on the left",
            f"on the left {a}, on the right {b}", f"{a} to the left of {b}", f"{b} to the right of {a}",
            f"{a}, {b}", f"{b}, {a}", f"{a} with {b}", f"{a} near {b}",
        )  # fmt: skip
        parts.append(forms[int(rng.integers(len(forms)))])
    elif scene.things:
        told = _thing_en(t, scene.things[0])
        if t.with_place():
            place = t.pick(PLACES[scene.things[0].place][0])
            told = f"{told} {place}" if t.chance(0.7) else f"{place} {told}"
        parts.append(told)
    style_as_frame = ""
    if t.style:
        name = t.pick(STYLES[scene.style][0])
        if t.chance(0.25) and not name.startswith("in "):
            style_as_frame = name.removeprefix("an ") + (" of " if t.chance(0.7) else ": ")
        else:
            parts.append(name)
    if t.background:
        phrase = t.pick(TAGS[scene.background][0]) if t.chance(0.25) else t.pick(BACKGROUNDS[scene.background][0])
        how = rng.random()
        if how < 0.55 and parts and scene.things:
            parts[0] = f"{parts[0]} {phrase}"
        elif how < 0.75:
            parts.insert(0, phrase)
        else:
            parts.append(phrase)
    if len(parts) > 1 and t.chance(0.15):
        parts = [parts[i] for i in rng.permutation(len(parts))]
    told = style_as_frame + ", ".join(parts)
    if stray:
        if t.chance(0.12):
            word = t.pick(FILLER_EN)
            told = f"{word} {told}" if t.chance(0.6) else f"{told}, {word}"
        told = _stray(t, told, "en")
    return told + ("." if t.chance(0.15) else "")


def _noun_en(t: _Teller, thing: Thing, plural: bool = False) -> str:
    pair = t.kind(thing).en
    noun = pair[0 if t.chance(0.55) else int(t.rng.integers(len(pair)))][1 if plural else 0]
    words = [noun]
    after = ""
    if t.with_colour(thing):
        colour = t.pick(COLOURS[thing.colour][0])
        if thing.kind == "person":
            forms = (
                f" in {colour}",
                f" in {colour} clothes",
                f" wearing {colour}",
                f" dressed in {colour}",
                f" in a {colour} shirt",
            )
            dress = (f" in a {colour} dress", f" wearing a {colour} dress")
            options = (*forms, *dress) if thing.figure == "girl" else forms
            after = options[int(t.rng.integers(len(options)))]
            if t.chance(0.12):
                after, words = "", [colour, noun]
        elif t.chance(0.06):
            after = f" in {colour}"
        else:
            words.insert(0, colour)
    if t.with_size(thing):
        words.insert(0, t.pick(SIZES[thing.size][0]))
    if not t.complete and t.chance(0.04):
        words.insert(0, t.pick(("beautiful", "lovely", "cute", "pretty", "nice")))
    told = " ".join(words) + after
    if t.with_pose(thing):
        pose = t.pick(POSES[thing.pose][0])
        told = f"{pose} {told}" if t.chance(0.06) and not pose.startswith(("with", "hands")) else f"{told} {pose}"
    elif thing.kind in VERBS and t.chance(0.10):
        told += " " + t.pick(VERBS[thing.kind][0])
    return told


def _thing_en(t: _Teller, thing: Thing) -> str:
    noun = _noun_en(t, thing)
    if t.chance(0.18):
        return noun
    if t.chance(0.08):
        return "the " + noun
    if t.chance(0.05):
        return "one " + noun
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def chinese(scene: Scene, rng: Random, complete: bool = False, stray: bool = True) -> str:
    """Return a Chinese caption. `complete` drops no attribute; `stray` may add filler and unknown words."""
    t = _Teller(scene, rng, complete)
    phrase = ""
    if t.background:
        phrase = t.pick(TAGS[scene.background][1]) if t.chance(0.22) else t.pick(BACKGROUNDS[scene.background][1])
    parts: list[str] = []
    if t.twins() and t.chance(0.7):
        parts.append("两" + t.pick(t.kind(scene.things[0]).measure) + _noun_zh(t, scene.things[0]))
    elif pair := t.pair():
        parts.append("两" + t.pick(pair.measure) + t.pick(pair.zh))
    elif len(scene.things) == 2:
        a, b = (_thing_zh(t, thing) for thing in scene.things)
        forms = (
            f"{a}和{b}", f"{b}和{a}", f"{a}与{b}", f"{a}旁边有{b}", f"{b}旁边是{a}",
            f"左边是{a}，右边是{b}", f"右边是{b}，左边是{a}", f"{a}在左边，{b}在右边",
            f"左边{a}，右边{b}", f"{a}，{b}", f"{b}，{a}", f"{a}，还有{b}",
        )  # fmt: skip
        parts.append(forms[int(rng.integers(len(forms)))])
    elif scene.things:
        told = _thing_zh(t, scene.things[0])
        if t.with_place():
            place = t.pick(PLACES[scene.things[0].place][1])
            options = (f"{told}在{place}", f"{place}有{told}", f"{place}是{told}", f"{place}{told}")
            told = options[int(rng.integers(4))]
        parts.append(told)
    used = False
    if phrase and parts and t.chance(0.62):
        used = True
        joined = [
            f"{phrase}{parts[0]}",
            f"{phrase}的{parts[0]}",
            f"{phrase}有{parts[0]}",
            f"在{phrase}，{parts[0]}",
            f"{phrase}，{parts[0]}",
        ]
        if len(scene.things) == 1:
            joined += [f"{parts[0]}在{phrase}", f"在{phrase}的{parts[0]}"]
        parts[0] = joined[int(rng.integers(len(joined)))]
    if phrase and not used:
        parts.insert(0 if t.chance(0.5) else len(parts), phrase)
    frame = ""
    if t.style:
        name = t.pick(STYLES[scene.style][1])
        if t.chance(0.28):
            frame = name + ("，" if t.chance(0.5) else "：" if t.chance(0.6) else "的")
        else:
            parts.append(name)
    if len(parts) > 1 and t.chance(0.12):
        parts = [parts[i] for i in rng.permutation(len(parts))]
    told = frame + ("，" if t.chance(0.85) else " ").join(parts)
    if stray:
        if t.chance(0.12):
            word = t.pick(FILLER_ZH)
            told = f"{word}{told}" if t.chance(0.6) else f"{told}，{word}"
        told = _stray(t, told, "zh")
    return told + ("。" if t.chance(0.2) else "")


def _noun_zh(t: _Teller, thing: Thing) -> str:
    names = t.kind(thing).zh
    noun = names[0] if t.chance(0.5) else names[int(t.rng.integers(len(names)))]
    told = noun
    if t.with_colour(thing):
        names = COLOURS[thing.colour][1]
        colour = names[int(t.rng.integers(len(names)))] if t.chance(0.6) else names[0]
        plain = colour.removesuffix("色")
        if thing.kind == "person":
            forms = (
                f"穿{colour}衣服的",
                f"穿着{colour}衣服的",
                f"穿{plain}衣服的",
                f"穿着{colour}的衣服的",
                f"一身{colour}的",
            )
            dress = (f"穿{plain}裙子的", f"穿着{colour}裙子的")
            options = (*forms, *dress) if thing.figure == "girl" else forms
            told = options[int(t.rng.integers(len(options)))] + noun
        elif t.chance(0.2):
            told = plain + noun
        else:
            told = f"{colour}的{noun}" if t.chance(0.8) else f"{colour}{noun}"
    if t.with_size(thing):
        size = t.pick(SIZES[thing.size][1])
        bound = size.endswith("的") or t.chance(0.5) or len(size) == 1
        told = size + told if bound else f"{size}的{told}"
    if not t.complete and t.chance(0.04):
        told = t.pick(("美丽的", "可爱的", "漂亮的")) + told
    if t.with_pose(thing):
        pose = t.pick(POSES[thing.pose][1])
        if t.chance(0.3):
            told = f"{pose}的{told}"
        else:
            told += ("正在" if t.chance(0.15) else "在" if t.chance(0.2) else "") + pose
    elif thing.kind in VERBS and t.chance(0.10):
        told = t.pick(VERBS[thing.kind][1]) + told
    return told


def _thing_zh(t: _Teller, thing: Thing) -> str:
    noun = _noun_zh(t, thing)
    return noun if t.chance(0.25) else "一" + t.pick(t.kind(thing).measure) + noun


def stuffed(told: str, rng: Random) -> str:
    """Return a caption as people stuff them: up to 25 quality words and words that nano has never met around it."""
    words: list[str] = []
    for _ in range(int(rng.integers(5, 26))):
        how = rng.random()
        if how < 0.6:
            words.append(str(rng.choice(FILLER_EN if told.isascii() else FILLER_ZH)))
        elif told.isascii():
            words.append("".join("abcdefghijklmnopqrstuvwxyz"[i] for i in rng.integers(0, 26, int(rng.integers(3, 9)))))
        else:
            words.append("".join(chr(i) for i in rng.integers(0x4E00, 0x9FA5, int(rng.integers(1, 4)))))
    cut = int(rng.integers(0, len(words) + 1)) if rng.random() < 0.4 else 0
    joint = ", " if told.isascii() else "，"
    return joint.join([*words[:cut], told, *words[cut:]])


def _stray(t: _Teller, told: str, language: str) -> str:
    """Mix in an unknown word now and then: it must do no harm."""
    if not t.chance(0.05):
        return told
    if language == "zh":
        word = "".join(chr(int(t.rng.integers(0x4E00, 0x9FA5))) for _ in range(int(t.rng.integers(1, 4))))
        return f"{word}{told}" if t.chance(0.5) else f"{told}，{word}"
    word = "".join("abcdefghijklmnopqrstuvwxyz"[int(t.rng.integers(26))] for _ in range(int(t.rng.integers(3, 9))))
    return f"{word} {told}" if t.chance(0.5) else f"{told}, {word}"
