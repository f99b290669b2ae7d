"""Captions: what a person might type for a scene, in English or Chinese, from a grammar with synonyms.

Clauses come in any order, attributes are dropped, and stray words and typos are mixed in, so that a user's own words
work. What is left out is nearly always the usual: in the middle, of medium size, facing right, flat, by day. So a
caption leaves little to chance, and what is named without "left" and "right" stands in the order of the words.
"""

from __future__ import annotations

from zimage_kit.nano.lexicon import (
    BACKGROUNDS,
    COLOURS,
    FACINGS,
    FIGURES,
    FILLER_EN,
    FILLER_ZH,
    HOURS,
    KINDS,
    PLACES,
    POSES,
    SIZES,
    STYLES,
    TAGS,
    VERBS,
)
from zimage_kit.nano.scenes import Scene, Thing
from zimage_kit.nano.spelling import mistyped, traditional
from zimage_kit.nano.telling import Random, Teller

# How several people, and two of a kind, may be told together.
TWO_EN, TWO_ZH = ("two", "two", "two", "a pair of", "a couple of", "2"), ("两", "两", "两", "一对", "2")
OVER = {
    "sea": ("over", "drifting over", "above"),
    "snow": ("over", "drifting over", "above"),
    "city": ("over", "above"),
}
ABOVE = {"sea": "the sea", "snow": "snowy mountains", "city": "the city"}


def english(scene: Scene, rng: Random, complete: bool = False, stray: bool = True) -> str:
    """Return an English caption. `complete` drops no attribute; `stray` may add filler, unknown words and typos."""
    t = Teller(scene, rng, complete)
    parts: list[str] = []
    if (twins := t.twins() and t.chance(0.7)) or (pair := t.pair()):
        number = t.any(*TWO_EN)
        if twins:
            noun = _noun_en(t, scene.things[0], plural=True)
        else:
            noun = _posed_en(t, scene.things[0], pair.en[int(rng.integers(len(pair.en)))][1])  # type: ignore[union-attr]
        parts.append(f"{number} {noun}")
    elif len(scene.things) == 2:
        a, b = (_thing_en(t, thing) for thing in scene.things)
        parts.append(t.any(
            f"{a} and {b}", f"{a} and {b}", f"{a} and {b}", f"{a} & {b}", f"{a} beside {b}", f"{a} next to {b}",
            f"{a} on the left and {b} on the right", f"{b} on the right and {a} on the left",
            f"on the left {a}, on the right {b}", f"{a} to the left of {b}", f"{b} to the right of {a}",
            f"{a} left of {b}", f"{b} right of {a}", f"left: {a}, right: {b}", f"{a} with {b}", f"{a} near {b}",
            f"{a}, {b}", f"{a} together with {b}", f"both {a} and {b}", f"{a} as well as {b}",
        ))  # fmt: skip
    elif scene.things:
        told = _thing_en(t, scene.things[0])
        if t.with_place():
            place = t.pick(PLACES[scene.things[0].place][0])
            told = t.any(f"{told} {place}", f"{told} {place}", f"{told}, {place}", f"{place} {told}")
        if t.chance(0.05):
            told = t.any(f"there is {told}", f"this is {told}", f"i see {told}", f"{told} is there")
        parts.append(told)
    frame = ""
    if t.style:
        name = t.pick(STYLES[scene.style][0])
        if t.chance(0.25) and not name.startswith("in "):
            frame = name.removeprefix("an ") + t.any(" of ", " of ", ": ", ", ")
        elif parts and t.chance(0.3):
            lead = "" if name.startswith("in ") else t.any("as ", "in the style of ", "in ", "drawn as ")
            parts[0] = f"{parts[0]} {lead}{name.removeprefix('an ')}"
        else:
            parts.append(name)
    for phrase in _where_en(t):
        how = rng.random()
        if how < 0.55 and parts and scene.things:
            parts[0] = f"{parts[0]} {phrase}"
        elif how < 0.75:
            parts.insert(0, phrase)
        else:
            parts.append(phrase)
    if len(parts) > 1 and t.chance(0.15):
        parts = [parts[i] for i in rng.permutation(len(parts))]
    told = frame + t.any(", ", ", ", ", ", ", ", " ").join(parts)
    if stray:
        if t.chance(0.12):
            word = t.pick(FILLER_EN)
            told = f"{word} {told}" if t.chance(0.6) else f"{told}, {word}"
        if t.chance(0.06):
            told = mistyped(told, rng)
        told = _stray(t, _careless(t, told), "en")
    return told + ("." if t.chance(0.15) else "")


def _where_en(t: Teller) -> list[str]:
    """Background and hour as one phrase or two, none if they are not told."""
    place, hour = t.place_of(), t.pick(HOURS[t.hour][0]) if t.hour else ""
    if not place:
        return [hour] if hour else []
    if (
        place in OVER
        and t.scene.things
        and t.scene.things[0].kind in ("balloon", "kite", "bird", "cloud", "dragon")
        and t.chance(0.3)
    ):
        phrase = f"{t.any(*OVER[place])} {ABOVE[place]}"
    else:
        phrase = t.pick(TAGS[place][0]) if t.chance(0.25) else t.pick(BACKGROUNDS[place][0])
    if not hour:
        return [phrase]
    if t.chance(0.7):
        return [t.any(f"{phrase} {hour}", f"{phrase} {hour}", f"{hour} {phrase}", f"{phrase}, {hour}")]
    return [phrase, hour]


def _careless(t: Teller, told: str) -> str:
    """Drop articles or commas, or write in capitals, as people do."""
    if t.chance(0.06):
        told = " ".join(word for word in told.split(" ") if word not in ("a", "an", "the"))
    if t.chance(0.05):
        told = told.replace(",", "")
    if t.chance(0.05):
        told = told.replace("-", " ")
    return told


def _colour_en(t: Teller, thing: Thing) -> tuple[str, str]:
    """The colour as words before and after a noun."""
    colour = t.pick(COLOURS[thing.colour][0])
    if thing.kind == "person":
        worn = (
            ["shirt", "coat", "clothes", "t-shirt"]
            if thing.figure != "girl"
            else ["dress", "skirt", "shirt", "coat", "clothes"]
        )
        piece = worn[int(t.rng.integers(len(worn)))]
        a = "" if piece == "clothes" else "a "
        if t.chance(0.10):
            return colour + " ", ""
        return "", t.any(
            f" in {colour}", f" in {a}{colour} {piece}", f" in {a}{colour} {piece}", f" wearing {colour}",
            f" wearing {a}{colour} {piece}", f" dressed in {colour}", f" with {a}{colour} {piece}",
            f" who wears {colour}", f" in {colour} clothes",
        )  # fmt: skip
    if t.chance(0.72):
        return colour + " ", ""
    return "", t.any(
        f" in {colour}", f" that is {colour}", f" which is {colour}", f", {colour},", f", {colour}", f" ({colour})",
        f" of {colour} colour", f" {colour} in color", f" coloured {colour}", f", {colour} in colour", f" {colour}",
    )  # fmt: skip


def _noun_en(t: Teller, thing: Thing, plural: bool = False) -> str:
    pair = t.kind(thing).en
    noun = pair[0 if t.chance(0.45) else int(t.rng.integers(len(pair)))][1 if plural else 0]
    if not plural and not t.complete and t.chance(0.03):
        noun = KINDS[thing.kind].zh[0] if thing.kind != "person" else FIGURES[thing.figure].zh[0]
    before = after = ""
    if t.with_colour(thing):
        before, after = _colour_en(t, thing)
    if t.with_size(thing):
        size = t.pick(SIZES[thing.size][0])
        before = f"{size} {before}" if t.chance(0.9) else f"{before}{size} "
    if not t.complete and t.chance(0.04):
        before = t.any("beautiful ", "lovely ", "cute ", "pretty ", "nice ") + before
    return _posed_en(t, thing, before + noun + after)


def _posed_en(t: Teller, thing: Thing, told: str) -> str:
    """Add pose, verb and facing to a noun."""
    if t.with_pose(thing):
        pose = t.pick(POSES[thing.pose][0])
        if t.chance(0.06) and not pose.startswith(("with", "hands", "arms", "in ", "on ")):
            told = f"{pose} {told}"
        else:
            told += t.any(" ", " ", " ", " who is ", ", ") + pose
    elif thing.kind in VERBS and t.chance(0.14):
        told += t.any(" ", " ", " is ", " that is ") + t.pick(VERBS[thing.kind][0])
    if t.with_facing(thing):
        way = "left" if thing.flip else "right"
        if thing.kind == "person" and t.chance(0.5):
            told += f" to the {way}"
        else:
            told += t.any(" ", " ", ", ") + t.pick(FACINGS[way][0])
    return told


def _thing_en(t: Teller, thing: Thing) -> str:
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
    t = Teller(scene, rng, complete)
    parts: list[str] = []
    if (twins := t.twins() and t.chance(0.7)) or (pair := t.pair()):
        number = t.any(*TWO_ZH)
        kind = t.kind(scene.things[0]) if twins else pair
        count = number if number == "一对" else number + t.pick(kind.measure)  # type: ignore[union-attr]
        told = _noun_zh(t, scene.things[0]) if twins else _posed_zh(t, scene.things[0], t.pick(pair.zh))  # type: ignore[union-attr]
        parts.append(count + told)
    elif len(scene.things) == 2:
        a, b = (_thing_zh(t, thing) for thing in scene.things)
        parts.append(t.any(
            f"{a}和{b}", f"{a}和{b}", f"{a}和{b}", f"{a}与{b}", f"{a}跟{b}", f"{a}旁边有{b}", f"{a}旁边是{b}",
            f"左边是{a}，右边是{b}", f"右边是{b}，左边是{a}", f"{a}在左边，{b}在右边", f"左边{a}，右边{b}",
            f"左边{a}右边{b}", f"{a}，{b}", f"{a}，还有{b}", f"{a}和{b}在一起", f"{a}以及{b}",
        ))  # fmt: skip
    elif scene.things:
        told = _thing_zh(t, scene.things[0])
        if t.with_place():
            place = t.pick(PLACES[scene.things[0].place][1])
            told = t.any(
                f"{told}在{place}", f"{place}有{told}", f"{place}是{told}", f"{place}{told}", f"{told}，{place}"
            )
        parts.append(told)
    for phrase in _where_zh(t):
        if parts and t.chance(0.62):
            told = parts[0]
            joined = [
                f"{phrase}{told}",
                f"{phrase}的{told}",
                f"{phrase}有{told}",
                f"在{phrase}，{told}",
                f"{phrase}，{told}",
            ]
            if len(scene.things) == 1:
                joined += [f"{parts[0]}在{phrase}", f"在{phrase}的{parts[0]}"]
            parts[0] = t.any(*joined)
        else:
            parts.insert(0 if t.chance(0.5) else len(parts), phrase)
    frame = ""
    if t.style:
        name = t.pick(STYLES[scene.style][1])
        if not complete and t.chance(0.03):
            name = STYLES[scene.style][0][0]
        if t.chance(0.28):
            frame = name + t.any("，", "，", "：", "的", " ")
        else:
            parts.append(name)
    if len(parts) > 1 and t.chance(0.12):
        parts = [parts[i] for i in rng.permutation(len(parts))]
    told = frame + t.any("，", "，", "，", "，", " ", "").join(parts)
    if stray:
        if t.chance(0.12):
            word = t.pick(FILLER_ZH)
            told = f"{word}{told}" if t.chance(0.6) else f"{told}，{word}"
        if t.chance(0.06):
            told = told.replace("，", t.any(" ", "", ","))
        if t.chance(0.08):
            told = traditional(told)
        told = _stray(t, told, "zh")
    return told + ("。" if t.chance(0.2) else "")


def _where_zh(t: Teller) -> list[str]:
    """Background and hour as one phrase or two, none if they are not told."""
    place, hour = t.place_of(), t.pick(HOURS[t.hour][1]) if t.hour else ""
    if not place:
        return [hour] if hour else []
    phrase = t.pick(TAGS[place][1]) if t.chance(0.22) else t.pick(BACKGROUNDS[place][1])
    if not hour:
        return [phrase]
    if t.chance(0.7):
        return [t.any(f"{hour}的{phrase}", f"{hour}{phrase}", f"{hour}的{phrase}", f"{phrase}，{hour}")]
    return [phrase, hour]


def _noun_zh(t: Teller, thing: Thing) -> str:
    names = t.kind(thing).zh
    told = names[0] if t.chance(0.45) else names[int(t.rng.integers(len(names)))]
    if not t.complete and t.chance(0.03):
        told = t.kind(thing).en[0][0]
    after = ""
    if t.with_colour(thing):
        names = COLOURS[thing.colour][1]
        colour = names[0] if t.chance(0.3) else names[int(t.rng.integers(len(names)))]
        plain = colour.removesuffix("色") if colour.removesuffix("色") in names else colour
        if thing.kind == "person":
            forms = [f"穿{colour}衣服的", f"穿着{colour}衣服的", f"穿{plain}衣服的", f"穿着{colour}的衣服的",
                f"一身{colour}的", f"身穿{colour}上衣的", f"{plain}衣服的", f"穿{colour}外套的"]  # fmt: skip
            if thing.figure == "girl":
                forms += [f"穿{plain}裙子的", f"穿着{colour}裙子的", f"穿{colour}裙子的"]
            told = t.any(*forms) + told
        elif t.chance(0.18):
            told = plain + told
        elif t.chance(0.14):
            after = t.any(f"，{colour}的", f"，{colour}", f"是{colour}的")
        else:
            told = f"{colour}的{told}" if t.chance(0.75) else f"{colour}{told}"
    if t.with_size(thing):
        size = t.pick(SIZES[thing.size][1])
        bound = size.endswith("的") or t.chance(0.5) or len(size) == 1
        told = size + told if bound else f"{size}的{told}"
    if not t.complete and t.chance(0.04):
        told = t.any("美丽的", "可爱的", "漂亮的") + told
    return _posed_zh(t, thing, told) + after


def _posed_zh(t: Teller, thing: Thing, told: str) -> str:
    """Add pose, verb and facing to a noun."""
    if t.with_facing(thing):
        way = t.pick(FACINGS["left" if thing.flip else "right"][1])
        told = f"{way}的{told}" if t.chance(0.5) else f"{told}{way}"
    if t.with_pose(thing):
        pose = t.pick(POSES[thing.pose][1])
        told = f"{pose}的{told}" if t.chance(0.3) else told + t.any("", "", "", "正在", "在", "，") + pose
    elif thing.kind in VERBS and t.chance(0.12):
        told = t.pick(VERBS[thing.kind][1]) + told
    return told


def _thing_zh(t: Teller, thing: Thing) -> str:
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


def _stray(t: Teller, told: str, language: str) -> str:
    """Mix in an unknown word now and then: it must do no harm."""
    if not t.chance(0.05):
        return told
    if language == "zh":
        word = "".join(chr(int(t.rng.integers(0x4E00, 0x9FA5))) for _ in range(int(t.rng.integers(1, 4))))
        return f"{word}{told}" if t.chance(0.5) else f"{told}，{word}"
    word = "".join("abcdefghijklmnopqrstuvwxyz"[int(t.rng.integers(26))] for _ in range(int(t.rng.integers(3, 9))))
    return f"{word} {told}" if t.chance(0.5) else f"{told}, {word}"
