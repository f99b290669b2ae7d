"""The words that nano knows, in English and in Chinese: data for the captions, the tokenizer and the honest report.

Every attribute that a scene can have (kind, colour, background, style, size, place, pose) lists its names in both
languages. `unknown_words` reads a prompt with this list and returns what nano has never met.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A thing that can be drawn: English names as (singular, plural), Chinese names, Chinese measure words."""

    en: tuple[tuple[str, str], ...]
    zh: tuple[str, ...]
    measure: tuple[str, ...]


KINDS: dict[str, Kind] = {
    "cat": Kind((("cat", "cats"), ("kitten", "kittens"), ("kitty", "kitties")), ("猫", "小猫", "猫咪"), ("只",)),
    "dog": Kind((("dog", "dogs"), ("puppy", "puppies")), ("狗", "小狗", "狗狗"), ("只", "条")),
    "rabbit": Kind((("rabbit", "rabbits"), ("bunny", "bunnies")), ("兔子", "小兔子", "兔"), ("只",)),
    "bird": Kind((("bird", "birds"), ("songbird", "songbirds")), ("鸟", "小鸟", "鸟儿"), ("只",)),
    "fish": Kind((("fish", "fish"), ("goldfish", "goldfish")), ("鱼", "小鱼", "鱼儿"), ("条",)),
    "butterfly": Kind((("butterfly", "butterflies"),), ("蝴蝶",), ("只",)),
    "tree": Kind((("tree", "trees"),), ("树", "大树", "树木"), ("棵",)),
    "bamboo": Kind((("bamboo", "bamboos"),), ("竹子", "竹", "翠竹"), ("丛", "棵")),
    "flower": Kind((("flower", "flowers"), ("blossom", "blossoms")), ("花", "花朵", "鲜花"), ("朵",)),
    "mushroom": Kind((("mushroom", "mushrooms"), ("toadstool", "toadstools")), ("蘑菇",), ("个", "朵")),
    "apple": Kind((("apple", "apples"),), ("苹果",), ("个",)),
    "house": Kind(
        (("house", "houses"), ("cottage", "cottages"), ("cabin", "cabins")), ("房子", "小屋", "屋子"), ("座", "栋")
    ),
    "pagoda": Kind((("pagoda", "pagodas"), ("tower", "towers")), ("宝塔", "塔", "古塔"), ("座",)),
    "bridge": Kind((("bridge", "bridges"),), ("桥", "小桥", "拱桥"), ("座",)),
    "boat": Kind(
        (("boat", "boats"), ("sailboat", "sailboats"), ("ship", "ships")), ("船", "帆船", "小船"), ("艘", "条", "只")
    ),
    "car": Kind((("car", "cars"), ("automobile", "automobiles")), ("汽车", "车", "小汽车", "轿车"), ("辆",)),
    "balloon": Kind(
        (("hot-air balloon", "hot-air balloons"), ("balloon", "balloons"), ("hot air balloon", "hot air balloons")),
        ("热气球", "气球"),
        ("个", "只"),
    ),
    "teacup": Kind(
        (("teacup", "teacups"), ("cup", "cups"), ("cup of tea", "cups of tea")), ("茶杯", "杯子", "茶"), ("个", "杯")
    ),
    "lantern": Kind((("lantern", "lanterns"), ("paper lantern", "paper lanterns")), ("灯笼",), ("个", "盏")),
    "umbrella": Kind((("umbrella", "umbrellas"), ("parasol", "parasols")), ("伞", "雨伞", "油纸伞"), ("把",)),
    "kite": Kind((("kite", "kites"),), ("风筝",), ("只", "个")),
    "mountain": Kind((("mountain", "mountains"), ("hill", "hills")), ("山", "高山", "大山"), ("座",)),
    "moon": Kind((("moon", "moons"), ("crescent moon", "crescent moons")), ("月亮", "明月", "弯月"), ("轮", "个")),
    "person": Kind((("person", "people"), ("child", "children"), ("kid", "kids")), ("人", "孩子", "小孩"), ("个",)),
}

# A person drawn as a girl or a boy; the plain names of `person` may become either.
FIGURES: dict[str, Kind] = {
    "girl": Kind(
        (("girl", "girls"), ("woman", "women"), ("lady", "ladies")),
        ("女孩", "姑娘", "女人", "女子", "女生"),
        ("个", "位"),
    ),
    "boy": Kind((("boy", "boys"), ("man", "men")), ("男孩", "男人", "男子", "男生", "少年"), ("个", "位")),
}

COLOURS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "red": (("red", "crimson", "scarlet"), ("红色", "红", "鲜红", "朱红")),
    "orange": (("orange",), ("橙色", "橙", "橘色", "橘黄色")),
    "yellow": (("yellow", "golden", "gold"), ("黄色", "黄", "金色", "金黄")),
    "green": (("green", "emerald"), ("绿色", "绿", "碧绿", "翠绿")),
    "blue": (("blue", "azure", "navy"), ("蓝色", "蓝", "天蓝", "深蓝")),
    "purple": (("purple", "violet"), ("紫色", "紫")),
    "pink": (("pink", "rose"), ("粉色", "粉", "粉红", "粉红色")),
    "white": (("white", "snow-white"), ("白色", "白", "雪白", "洁白")),
    "black": (("black", "jet-black"), ("黑色", "黑", "漆黑", "乌黑")),
}

# English: phrases that follow the thing. Chinese: (a place word to follow 在, a free phrase that can stand alone).
BACKGROUNDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "day": (
        (
            "on a clear day",
            "under a blue sky",
            "on a sunny day",
            "in the sunshine",
            "under a clear sky",
            "at the beach",
            "on the sand",
        ),
        ("晴天", "蓝天下", "晴空下", "阳光下", "沙滩上", "晴朗的天空下", "白天"),
    ),
    "grassland": (
        (
            "on a grassland",
            "in a green meadow",
            "on the grass",
            "in a field",
            "on the lawn",
            "among green hills",
            "in the grass",
            "in the park",
        ),
        ("草原上", "草地上", "绿色的草地上", "田野里", "青山绿水间", "草坪上", "公园里"),
    ),
    "sea": (
        (
            "over the sea",
            "on the sea",
            "by the sea",
            "at sea",
            "in the ocean",
            "on the water",
            "over the ocean",
            "on the lake",
            "above the sea",
        ),
        ("海上", "大海上", "海面上", "海边", "大海里", "水面上", "海里", "湖上", "水上", "水中"),
    ),
    "snow": (
        (
            "in front of snow mountains",
            "in the snowy mountains",
            "before snowy peaks",
            "in the snow",
            "below snow-capped mountains",
            "in winter",
        ),
        ("雪山前", "雪山下", "雪山脚下", "雪地里", "雪地上", "雪中", "冬天的雪山前"),
    ),
    "sunset": (
        (
            "at sunset",
            "at dusk",
            "in the evening glow",
            "in front of the setting sun",
            "against the sunset",
            "in the evening",
        ),
        ("夕阳下", "日落时", "黄昏时", "晚霞中", "落日前", "傍晚", "夕阳里"),
    ),
    "night": (
        (
            "under a starry sky",
            "in a starry night",
            "at night",
            "under the stars",
            "in the night sky",
            "beneath the stars",
        ),
        ("星空下", "夜空下", "夜晚", "夜里", "星夜", "满天星星下", "夜空中", "夜色中"),
    ),
    "desert": (
        ("in the desert", "on the dunes", "among sand dunes", "in a desert"),
        ("沙漠里", "沙漠中", "沙丘上", "大漠中"),
    ),
    "city": (
        ("in the city", "in front of a city skyline", "on a city street", "in town", "downtown"),
        ("城市里", "城市中", "街道上", "高楼前", "街上", "城市的街道上"),
    ),
}

STYLES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "flat": (
        ("flat illustration", "flat style", "an illustration", "vector art", "simple flat drawing"),
        ("扁平插画", "扁平风格", "插画", "矢量插画", "简洁插画"),
    ),
    "ink": (
        ("ink wash painting", "ink-wash style", "chinese ink painting", "ink painting", "sumi-e", "in ink"),
        ("水墨画", "水墨风格", "国画", "水墨", "中国水墨画", "写意水墨"),
    ),
    "neon": (
        ("neon style", "neon lights", "in neon", "glowing neon", "cyberpunk neon", "neon art"),
        ("霓虹风格", "霓虹灯", "霓虹", "赛博朋克", "霓虹灯风格", "发光霓虹"),
    ),
}

SIZES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "small": (("small", "tiny", "little"), ("小", "小小的", "很小的")),
    "medium": ((), ()),
    "large": (("big", "large", "huge", "giant"), ("大", "巨大的", "很大的", "大大的")),
}

PLACES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "left": (("on the left", "at the left", "on the left side", "to the left"), ("左边", "左侧", "画面左边")),
    "middle": (("in the middle", "in the centre", "in the center", "centered"), ("中间", "中央", "画面中间", "正中")),
    "right": (("on the right", "at the right", "on the right side", "to the right"), ("右边", "右侧", "画面右边")),
}

POSES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "standing": (("standing", "standing still"), ("站着", "站立")),
    "waving": (("waving", "waving a hand", "waving hello"), ("挥手", "招手")),
    "arms_up": (("with arms up", "cheering", "raising both arms"), ("举起双手", "欢呼", "高举双臂")),
    "running": (("running", "sprinting"), ("奔跑", "跑步", "跑着")),
    "walking": (("walking", "strolling"), ("走路", "散步", "行走")),
    "sitting": (("sitting", "sitting down", "seated"), ("坐着", "坐下")),
    "jumping": (("jumping", "leaping"), ("跳跃", "跳起来", "跳着")),
    "dancing": (("dancing",), ("跳舞", "舞蹈")),
    "hands_on_hips": (("with hands on hips", "hands on hips"), ("叉腰", "双手叉腰")),
    "pointing": (("pointing", "pointing ahead"), ("指着前方", "指向远方")),
}

# Words that carry no picture but that people write; the captions mix them in, so that they do no harm.
FILLER_EN = (
    "a picture of", "a painting of", "an image of", "a drawing of", "there is", "a photo of", "please draw", "draw",
    "beautiful", "lovely", "cute", "pretty", "high quality", "masterpiece", "detailed", "4k", "best quality", "simple",
    "nice",
)  # fmt: skip
FILLER_ZH = (
    "一幅画", "一张图", "画一幅", "有", "请画", "画", "美丽的", "可爱的", "漂亮的", "高清", "精致", "杰作", "唯美",
    "简单的", "高质量",
)  # fmt: skip
FUNCTION_EN = (
    "a", "an", "the", "and", "with", "in", "on", "of", "at", "to", "by", "one", "two", "beside", "next", "near", "from",
    "wearing", "dressed", "clothes", "shirt", "dress", "coloured", "colored", "color", "colour", "style", "background",
    "left", "right", "side", "is", "are", "while", "who", "its", "scene", "together", "above", "over", "under", "front",
    "behind", "flying", "floating", "sailing", "swimming", "parked", "sky", "snowy", "starry", "night", "sunny", "day",
    "sunset", "evening", "ocean", "sea", "lake", "grass", "meadow", "field", "desert", "city", "street", "winter",
    "beach", "standing", "growing", "blooming", "blue", "green", "mountains", "stars", "sun", "for", "it", "this",
    "that", "has",
)  # fmt: skip
FUNCTION_ZH = (
    "一", "两", "的", "和", "与", "在", "旁边", "穿着", "衣服", "裙子", "着", "里", "上", "下", "中", "边", "前",
    "风格", "背景", "是", "画面", "左边是", "右边是", "一起", "还有", "飞", "漂", "停着", "开着", "长着", "飞着",
    "漂着", "天空", "大海", "草地", "草原", "雪山", "星空", "夜空", "夕阳", "沙漠", "城市", "蓝天", "海", "水", "色",
    "飘着", "挂着", "放着", "游着", "落日", "黄昏", "海边", "以", "为", "了", "座", "个", "只", "天", "夜", "晚", "身",
    "穿", "右", "左", "旁", "有", "正在", "正", "一个人", "远处",
)  # fmt: skip
PUNCTUATION = [
    ",", ".", "，", "。", "、", "：", ":", "；", ";", "!", "！", "?", "？", "-",
    "(", ")", "（", "）", '"', "'", "“", "”",
]  # fmt: skip
# Words that the captions use and that fall into several tokens. Only `unknown_words` reads this list: the tokenizer
# that the weights were trained with is made from the lists above.
PIECED_ZH = ("大漠", "盛开", "飞翔", "橘", "雪地", "雪", "晚霞", "沙滩", "湖", "金", "街道", "高楼", "日落")


def english_phrases() -> list[str]:
    """Every English phrase of the lists above, lower case."""
    out: list[str] = []
    for kind in (*KINDS.values(), *FIGURES.values()):
        out += [form for pair in kind.en for form in pair]
    for table in (COLOURS, BACKGROUNDS, STYLES, SIZES, PLACES, POSES):
        for english, _ in table.values():
            out += english
    return out + list(FILLER_EN) + list(FUNCTION_EN)


def chinese_words() -> list[str]:
    """Every Chinese word of the lists above, each once, longest first."""
    out: set[str] = set()
    for kind in (*KINDS.values(), *FIGURES.values()):
        out.update(kind.zh)
        out.update(kind.measure)
    for table in (COLOURS, BACKGROUNDS, STYLES, SIZES, PLACES, POSES):
        for _, chinese in table.values():
            out.update(chinese)
    out.update(FILLER_ZH)
    out.update(FUNCTION_ZH)
    return sorted(out, key=lambda word: (-len(word), word))


def english_words() -> list[str]:
    """Every single English word of the phrases, hyphens split off, in alphabetical order."""
    return sorted({word for phrase in english_phrases() for word in re.findall(r"[a-z0-9]+", phrase)})


_english = frozenset(english_words())
_chinese = (*chinese_words(), *PIECED_ZH)
_run = re.compile(r"[\u3400-\u9fff]+|[^\W_\u3400-\u9fff]+(?:['’][a-z]+)?")
_possessive = re.compile("['’]s$")


def unknown_words(prompt: str) -> list[str]:
    """Return the words of `prompt` that nano has never met, in order of appearance, each once.

    English is read word by word, without regard to case or a possessive 's. Chinese is cut so that as few characters as
    possible are left over; neighbouring left-over characters are reported as one word. Punctuation and white space are
    never reported.
    """
    found: list[str] = []
    for run in _run.findall(prompt.lower()):
        if "\u3400" <= run[0] <= "\u9fff":
            found += _left_over(run)
        elif (word := _possessive.sub("", run)) not in _english:
            found.append(word)
    return list(dict.fromkeys(found))


def _left_over(run: str) -> list[str]:
    """Cover a run of Chinese characters with known words (dynamic programming); return what stays uncovered."""
    missing: list[tuple[int, int]] = [(0, 0)]  # per prefix: (characters uncovered, where the last piece began)
    for end in range(1, len(run) + 1):
        best = (missing[end - 1][0] + 1, -1)
        for word in _chinese:
            if run.endswith(word, 0, end) and missing[end - len(word)][0] < best[0]:
                best = (missing[end - len(word)][0], end - len(word))
        missing.append(best)
    pieces: list[tuple[int, int]] = []
    end = len(run)
    while end:
        start = missing[end][1]
        if start >= 0:
            end = start
            continue
        if pieces and pieces[-1][0] == end:
            pieces[-1] = (end - 1, pieces[-1][1])
        else:
            pieces.append((end - 1, end))
        end -= 1
    return [run[start:stop] for start, stop in reversed(pieces)]
