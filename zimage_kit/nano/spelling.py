"""How people write what the lexicon lists: traditional characters, and typos of one letter."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # reading a prompt loads nothing
    import numpy as np

# The lexicon's simplified characters that have a traditional form, each followed by it.
_PAIRS = (
    "猫貓鸟鳥鱼魚锦錦鲤鯉宝寶鹤鶴顶頂鹭鷺龙龍树樹丛叢鲜鮮儿兒腊臘樱櫻苹蘋块塊栋棟间間庙廟宫宮桥橋轮輪条條只隻车車轿轎辆輛"
    "脚腳单單飞飛机機枚枚器器个個热熱气氣笼籠纸紙红紅灯燈盏盞伞傘阳陽书書张張风風筝箏鸢鳶云雲颗顆朵朵绿綠蓝藍黄黃银銀紫紫"
    "粉粉纯純罗羅兰蘭晴晴田田青青园園丘丘满滿边邊滩灘滨濱面面浪浪冬冬白白里裡房房厅廳卧臥地地画畫图圖简簡写寫赛賽发發笔筆铅鉛"
    "绘繪蜡蠟艺藝术術复復矢矢量量国國左左侧側右右中中间間央央站站挥揮招招举舉双雙欢歡奔奔跳跳跃躍蹦蹦坐坐叉叉指指远遠方方"
    "请請丽麗爱愛质質杰傑简簡单單与與旁旁着著开開长長对對过過驶駛悬懸挂掛挨挨群群俩倆这這们們样樣两兩并並靠靠场場帮幫给給来來"
    "还還后後夜夜时時马馬晒曬余餘辉輝间間湛湛湖湖铁鐵颜顔"
)
_TRADITIONAL = {a: b for a, b in zip(_PAIRS[::2], _PAIRS[1::2], strict=True) if a != b}
_TABLE = str.maketrans(_TRADITIONAL)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def traditional(text: str) -> str:
    """Return Chinese text with the lexicon's simplified characters in their traditional form."""
    return text.translate(_TABLE)


def mistyped(text: str, rng: np.random.Generator) -> str:
    """Return English text with one letter of one longer word left out, doubled, changed or swapped with the next."""
    words = text.split(" ")
    long = [i for i, word in enumerate(words) if word.isalpha() and word.isascii() and len(word) > 3]
    if not long:
        return text
    which = long[int(rng.integers(len(long)))]
    word, at, how = words[which], int(rng.integers(1, len(words[which]) - 1)), int(rng.integers(4))
    changed = (
        word[:at] + word[at + 1 :],
        word[:at] + word[at] + word[at:],
        word[:at] + _LETTERS[int(rng.integers(26))] + word[at + 1 :],
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
    )
    words[which] = changed[how]
    return " ".join(words)
