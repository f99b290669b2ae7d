"""The words that nano knows, in English and in Chinese: data for the captions, the tokenizer and the honest report.

Every attribute that a scene can have (kind, colour, background, hour, style, size, place, facing, pose) lists its names
in both languages, Chinese in simplified characters; `spelling.traditional` makes the others. `unknown_words` reads a prompt with this list and returns what nano has never met.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from zimage_kit.nano.spelling import traditional


@dataclass(frozen=True)
class Kind:
    """A thing that can be drawn: English names as (singular, plural), Chinese names, Chinese measure words."""

    en: tuple[tuple[str, str], ...]
    zh: tuple[str, ...]
    measure: tuple[str, ...]


def _kind(english: str, chinese: str, measure: str) -> Kind:
    """Return a kind from words in rows: "cat/cats kitten/kittens" (a blank in a name is a dot)."""
    pairs = (pair.replace(".", " ").split("/") for pair in english.split())
    return Kind(tuple((pair[0], pair[-1]) for pair in pairs), tuple(chinese.split()), tuple(measure.split()))


# fmt: off
KINDS: dict[str, Kind] = {
    "cat": _kind("cat/cats kitten/kittens kitty/kitties tabby/tabbies tomcat/tomcats pussycat/pussycats house.cat/house.cats",
        "猫 小猫 猫咪 猫儿 喵喵", "只"),
    "dog": _kind("dog/dogs puppy/puppies doggy/doggies pup/pups hound/hounds pooch/pooches", "狗 小狗 狗狗 犬 狗儿", "只 条"),
    "rabbit": _kind("rabbit/rabbits bunny/bunnies hare/hares bunny.rabbit/bunny.rabbits", "兔子 小兔子 兔 小兔", "只"),
    "bird": _kind("bird/birds songbird/songbirds birdie/birdies sparrow/sparrows robin/robins", "鸟 小鸟 鸟儿 麻雀", "只"),
    "fish": _kind("fish/fish goldfish/goldfish carp/carp fish/fishes koi/koi", "鱼 小鱼 鱼儿 金鱼 锦鲤", "条"),
    "butterfly": _kind("butterfly/butterflies moth/moths", "蝴蝶 彩蝶", "只"),
    "panda": _kind("panda/pandas panda.bear/panda.bears giant.panda/giant.pandas", "熊猫 大熊猫 熊猫宝宝", "只"),
    "crane": _kind("crane/cranes heron/herons stork/storks egret/egrets", "鹤 仙鹤 丹顶鹤 白鹭", "只"),
    "dragon": _kind("dragon/dragons wyvern/wyverns", "龙 神龙 飞龙 巨龙", "条"),
    "tree": _kind("tree/trees oak/oaks oak.tree/oak.trees maple/maples leafy.tree/leafy.trees", "树 大树 树木", "棵"),
    "bamboo": _kind("bamboo/bamboos bamboo.stalks bamboo.grove/bamboo.groves bamboo.plant/bamboo.plants", "竹子 竹 翠竹 竹林", "丛 棵"),
    "flower": _kind("flower/flowers bloom/blooms daisy/daisies wildflower/wildflowers", "花 花朵 鲜花 花儿 小花", "朵"),
    "plum": _kind("plum.blossom/plum.blossoms blossom/blossoms blossom.branch/blossom.branches cherry.blossom/cherry.blossoms "
        "plum.branch/plum.branches", "梅花 樱花 梅枝 腊梅", "枝 朵"),
    "mushroom": _kind("mushroom/mushrooms toadstool/toadstools fungus/fungi", "蘑菇 小蘑菇 菌菇", "个 朵"),
    "apple": _kind("apple/apples", "苹果", "个"),
    "cake": _kind("cake/cakes birthday.cake/birthday.cakes cupcake/cupcakes gateau/gateaux", "蛋糕 生日蛋糕", "个 块"),
    "house": _kind("house/houses cottage/cottages cabin/cabins home/homes hut/huts bungalow/bungalows", "房子 小屋 屋子 房屋 小房子", "座 栋 间"),
    "pagoda": _kind("pagoda/pagodas tower/towers pagoda.tower/pagoda.towers", "宝塔 塔 古塔 高塔", "座"),
    "temple": _kind("temple/temples shrine/shrines palace/palaces pavilion/pavilions", "寺庙 庙 古寺 宫殿 亭子", "座"),
    "bridge": _kind("bridge/bridges footbridge/footbridges stone.bridge/stone.bridges arch.bridge/arch.bridges", "桥 小桥 拱桥 石桥", "座"),
    "boat": _kind("boat/boats sailboat/sailboats ship/ships sailing.boat/sailing.boats yacht/yachts dinghy/dinghies sailing.ship/sailing.ships",
        "船 帆船 小船 轮船", "艘 条 只"),
    "car": _kind("car/cars automobile/automobiles sedan/sedans auto/autos taxi/taxis motorcar/motorcars", "汽车 车 小汽车 轿车 小车", "辆"),
    "train": _kind("train/trains locomotive/locomotives steam.train/steam.trains railway.train/railway.trains steam.engine/steam.engines",
        "火车 列车 小火车", "列 辆"),
    "bicycle": _kind("bicycle/bicycles bike/bikes cycle/cycles pushbike/pushbikes", "自行车 单车 脚踏车", "辆"),
    "rocket": _kind("rocket/rockets spaceship/spaceships space.rocket/space.rockets spacecraft/spacecraft rocket.ship/rocket.ships",
        "火箭 飞船 宇宙飞船", "枚 艘"),
    "robot": _kind("robot/robots android/androids droid/droids automaton/automatons bot/bots", "机器人 小机器人", "个 台"),
    "snowman": _kind("snowman/snowmen", "雪人 小雪人", "个"),
    "balloon": _kind("hot-air.balloon/hot-air.balloons balloon/balloons hot.air.balloon/hot.air.balloons air.balloon/air.balloons "
        "airballoon/airballoons", "热气球 气球", "个 只"),
    "teacup": _kind("teacup/teacups cup/cups cup.of.tea/cups.of.tea mug/mugs tea.cup/tea.cups coffee.cup/coffee.cups", "茶杯 杯子 茶 水杯 咖啡杯", "个 杯"),
    "lantern": _kind("lantern/lanterns paper.lantern/paper.lanterns chinese.lantern/chinese.lanterns", "灯笼 纸灯笼", "个 盏"),
    "umbrella": _kind("umbrella/umbrellas parasol/parasols brolly/brollies sunshade/sunshades", "伞 雨伞 油纸伞 阳伞", "把"),
    "fan": _kind("fan/fans folding.fan/folding.fans hand.fan/hand.fans paper.fan/paper.fans", "扇子 折扇 纸扇", "把"),
    "book": _kind("book/books open.book/open.books novel/novels textbook/textbooks", "书 书本 书籍", "本"),
    "chair": _kind("chair/chairs stool/stools seat/seats armchair/armchairs wooden.chair/wooden.chairs", "椅子 木椅 凳子", "把 张"),
    "kite": _kind("kite/kites paper.kite/paper.kites", "风筝 纸鸢", "只 个"),
    "mountain": _kind("mountain/mountains hill/hills peak/peaks mount/mounts summit/summits", "山 高山 大山 山峰", "座"),
    "moon": _kind("moon/moons crescent.moon/crescent.moons crescent/crescents new.moon/new.moons", "月亮 明月 弯月 月牙", "轮 个"),
    "sun": _kind("sun/suns sunshine", "太阳 烈日", "轮 个"),
    "star": _kind("star/stars five-pointed.star/five-pointed.stars", "星星 五角星 星", "颗"),
    "cloud": _kind("cloud/clouds fluffy.cloud/fluffy.clouds", "云 云朵 云彩 祥云", "朵 片"),
    "person": _kind("person/people child/children kid/kids human/humans figure/figures", "人 孩子 小孩 小朋友", "个"),
}

# A person drawn as a girl or a boy; the plain names of `person` may become either.
FIGURES: dict[str, Kind] = {
    "girl": _kind("girl/girls woman/women lady/ladies little.girl/little.girls young.woman/young.women lass/lasses schoolgirl/schoolgirls",
        "女孩 姑娘 女人 女子 女生 小女孩 少女", "个 位"),
    "boy": _kind("boy/boys man/men guy/guys little.boy/little.boys young.man/young.men lad/lads gentleman/gentlemen",
        "男孩 男人 男子 男生 少年 小男孩 小伙子", "个 位"),
}

Names = tuple[tuple[str, ...], tuple[str, ...]]


def _names(english: str, chinese: str) -> Names:
    """Return names in both languages from lists with commas (English) and blanks (Chinese)."""
    return tuple(name.strip() for name in english.split(",") if name.strip()), tuple(chinese.split())


COLOURS: dict[str, Names] = {
    "red": _names("red, crimson, scarlet, ruby, bright red, dark red", "红色 红 鲜红 朱红 大红 深红"),
    "orange": _names("orange, tangerine, ginger", "橙色 橙 橘色 橘黄色 橘"),
    "yellow": _names("yellow, golden, gold, lemon, bright yellow", "黄色 黄 金色 金黄 淡黄"),
    "green": _names("green, emerald, dark green, light green, lime", "绿色 绿 碧绿 翠绿 草绿 青绿"),
    "cyan": _names("turquoise, cyan, teal, aqua, blue-green", "青色 青 蓝绿色 湖蓝 松石绿"),
    "blue": _names("blue, azure, navy, sky blue, dark blue, cobalt", "蓝色 蓝 天蓝 深蓝 湛蓝"),
    "purple": _names("purple, violet, lilac, lavender", "紫色 紫 淡紫 紫罗兰色"),
    "pink": _names("pink, rose, rosy, hot pink", "粉色 粉 粉红 粉红色 桃红"),
    "brown": _names("brown, chestnut, chocolate, tan", "棕色 棕 褐色 咖啡色 棕褐色"),
    "grey": _names("grey, gray, silver, ash grey", "灰色 灰 银色 银灰 浅灰"),
    "white": _names("white, snow-white, snowy white, ivory", "白色 白 雪白 洁白 纯白"),
    "black": _names("black, jet-black, pitch black, ebony", "黑色 黑 漆黑 乌黑 纯黑"),
}

# English: phrases that follow the thing. Chinese: a place word to follow 在 or to stand alone.
BACKGROUNDS: dict[str, Names] = {
    "day": _names("on a clear day, under a blue sky, on a sunny day, in the sunshine, under a clear sky, in the blue sky, "
        "against a blue sky, beneath a cloudless sky, in sunlight", "晴天 蓝天下 晴空下 阳光下 晴朗的天空下 蓝天里 晴空里"),
    "grassland": _names("on a grassland, in a green meadow, on the grass, in a field, on the lawn, among green hills, in the grass, "
        "in the park, in a garden, on a meadow, in a grassy field", "草原上 草地上 绿色的草地上 田野里 青山绿水间 草坪上 公园里 花园里"),
    "sea": _names("over the sea, on the sea, by the sea, at sea, in the ocean, on the water, over the ocean, on the lake, above the sea, "
        "above the ocean, in the sea, on the waves, underwater", "海上 大海上 海面上 大海里 水面上 海里 湖上 水上 水中 海浪上 湖面上"),
    "snow": _names("in front of snow mountains, in the snowy mountains, before snowy peaks, below snow-capped mountains, over snowy mountains, "
        "in the mountains, among snowy mountains, at the foot of snowy mountains, in the alps", "雪山前 雪山下 雪山脚下 雪山里 雪山之间 雪峰下 高山雪峰前"),
    "sunset": _names("at sunset, at dusk, in the evening glow, in front of the setting sun, against the sunset, in the evening, at twilight, "
        "during sunset, at sundown", "夕阳下 日落时 黄昏时 晚霞中 落日前 傍晚 夕阳里 落日余晖中"),
    "night": _names("under a starry sky, in a starry night, under the stars, in the night sky, beneath the stars, in the starry sky, "
        "against a starry sky, in space, on a starry night", "星空下 夜空下 星夜 满天星星下 夜空中 星空中 繁星下 太空里"),
    "desert": _names("in the desert, on the dunes, among sand dunes, in a desert, on a sand dune, in the sahara", "沙漠里 沙漠中 沙丘上 大漠中 沙漠上"),
    "city": _names("in the city, in front of a city skyline, on a city street, in town, downtown, among skyscrapers, in the street, "
        "over the city, in a big city", "城市里 城市中 街道上 高楼前 街上 城市的街道上 马路上 大城市里"),
    "beach": _names("at the beach, on the beach, on the sand, on a sandy beach, at the seaside, on the shore, by the shore, on a tropical beach",
        "沙滩上 海滩上 海边 海滨 海边的沙滩上 沙滩边"),
    "snowfield": _names("in the snow, on the snow, in a snowy field, on a snow field, in winter, on snowy ground, in deep snow, in a winter landscape",
        "雪地里 雪地上 雪中 冬天的雪地里 雪原上 冬天里 白雪里"),
    "forest": _names("in the forest, in a forest, in the woods, among the trees, in a pine forest, deep in the woods, in the jungle, in the wood",
        "森林里 树林里 林中 森林中 树林中 丛林里 松林里"),
    "room": _names("in a room, in the room, indoors, inside, at home, in the living room, in a bedroom, inside a house, on the floor, in the kitchen",
        "房间里 室内 屋里 家里 客厅里 卧室里 屋子里 地板上"),
}
HOURLY = ("grassland", "sea", "snow", "desert", "city", "beach", "snowfield", "forest", "room")
"""Backgrounds that are drawn by day and by night; the others have an hour of their own."""
HOURS: dict[str, Names] = {
    "day": _names("by day, in the daytime, in daylight, during the day", "白天 白昼"),
    "night": _names("at night, by night, in the dark, at midnight, during the night, late at night", "夜晚 夜里 夜色中 晚上 深夜 夜间"),
}

STYLES: dict[str, Names] = {
    "flat": _names("flat illustration, flat style, an illustration, vector art, simple flat drawing, flat design", "扁平插画 扁平风格 插画 矢量插画 简洁插画"),
    "ink": _names("ink wash painting, ink-wash style, chinese ink painting, ink painting, sumi-e, in ink, ink wash, chinese painting",
        "水墨画 水墨风格 国画 水墨 中国水墨画 写意水墨 水墨风"),
    "neon": _names("neon style, neon lights, in neon, glowing neon, cyberpunk neon, neon art, neon sign, cyberpunk", "霓虹风格 霓虹灯 霓虹 赛博朋克 霓虹灯风格 发光霓虹"),
    "pencil": _names("pencil drawing, pencil sketch, colored pencil, coloured pencil drawing, in pencil, hand-drawn sketch, crayon drawing, sketch",
        "铅笔画 彩铅 彩铅画 铅笔素描 素描 手绘 蜡笔画"),
    "pixel": _names("pixel art, pixel style, 8-bit, 8-bit style, in pixels, retro pixel art, 16-bit pixel art, pixelated",
        "像素风 像素画 像素风格 像素艺术 像素 复古像素"),
}

SIZES: dict[str, Names] = {
    "small": _names("small, tiny, little, miniature", "小 小小的 很小的"),
    "medium": ((), ()),
    "large": _names("big, large, huge, giant, enormous", "大 巨大的 很大的 大大的"),
}

PLACES: dict[str, Names] = {
    "left": _names("on the left, at the left, on the left side, left", "左边 左侧 画面左边"),
    "middle": _names("in the middle, in the centre, in the center, centered", "中间 中央 画面中间 正中"),
    "right": _names("on the right, at the right, on the right side, right", "右边 右侧 画面右边"),
}
# Which way a thing faces that can face either. English: phrases that follow it. Chinese: phrases that stand before 的.
FACINGS: dict[str, Names] = {
    "left": _names("facing left, looking left, turned to the left, heading left, pointing left", "朝左 面朝左边 向左 朝左边 面向左侧"),
    "right": _names("facing right, looking right, turned to the right, heading right, pointing right", "朝右 面朝右边 向右 朝右边 面向右侧"),
}
FACING = ("dog", "bird", "fish", "crane", "dragon", "boat", "car", "train", "bicycle")
FACING_POSES = ("running", "walking", "pointing")

POSES: dict[str, Names] = {
    "standing": _names("standing, standing still, standing upright", "站着 站立 站立着"),
    "waving": _names("waving, waving a hand, waving hello, waving goodbye, waving one hand", "挥手 招手 挥着手"),
    "arms_up": _names("with arms up, cheering, raising both arms, with both arms raised, with hands up, arms in the air", "举起双手 欢呼 高举双臂 举着双手"),
    "running": _names("running, sprinting, jogging, racing, on the run", "奔跑 跑步 跑着 飞奔"),
    "walking": _names("walking, strolling, taking a walk, hiking, going for a walk", "走路 散步 行走 走着"),
    "sitting": _names("sitting, sitting down, seated, sitting on a bench", "坐着 坐下 坐在凳子上"),
    "jumping": _names("jumping, leaping, jumping up, in mid-jump, jumping for joy", "跳跃 跳起来 跳着 蹦跳"),
    "dancing": _names("dancing, dancing happily, doing a dance", "跳舞 舞蹈 跳着舞 起舞"),
    "hands_on_hips": _names("with hands on hips, hands on hips, with arms akimbo", "叉腰 双手叉腰 叉着腰"),
    "pointing": _names("pointing, pointing ahead, pointing a finger, pointing to the side", "指着前方 指向远方 用手指着"),
}
# fmt: on

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
    "left", "right", "side", "is", "are", "there", "which", "pair", "couple", "facing", "both", "flies", "drifting", "resting", "playing", "lying", "t-shirt", "coat", "skirt", "while", "who", "its", "scene", "together", "above", "over", "under", "front",
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
    "穿", "右", "左", "旁", "身穿", "上衣", "外套", "一对", "另一", "躺着", "玩耍", "飘过", "飞过", "有", "正在", "正", "一个人", "远处",
)  # fmt: skip
PUNCTUATION = [
    ",", ".", "，", "。", "、", "：", ":", "；", ";", "!", "！", "?", "？", "-",
    "(", ")", "（", "）", '"', "'", "“", "”",
]  # fmt: skip
# Words that people use and that fall into several tokens: only `unknown_words` reads these two lists.
PIECED_EN = (
    "well", "see", "wears", "passing", "fluttering", "leaning", "taking", "2",
    "was", "be", "being", "some", "his", "her", "their", "they", "he", "she", "i", "want", "me", "my", "you",
    "can", "please", "make", "show", "looks", "looking", "sits", "stands", "runs", "walks", "waves", "jumps",
    "dances", "points", "floats", "sails", "swims", "drives", "rests", "lies", "soaring", "gliding", "driving",
    "hanging", "burning", "shining", "drawn", "painted", "done", "made", "as", "or", "also", "against", "into",
    "through", "across", "among", "during", "below", "beneath", "along", "around", "set", "setting", "seen",
    "landscape", "time", "moment", "clothing", "jacket", "sweater", "outfit", "suit", "top", "robe", "colors",
    "colours", "tone", "shade", "painting", "picture", "each", "other", "another", "second", "first", "single",
    "lone", "plain", "them", "have", "having", "just", "very", "so", "out", "up", "down", "off", "all", "sand",
    "woods", "home", "floor", "indoors", "ground", "seaside", "shore", "water", "trees", "skyscrapers", "park",
    "garden", "jungle", "bedroom", "kitchen", "space", "midnight", "nighttime", "daytime",
)  # fmt: skip
PIECED_ZH = (
    "雪峰", "峰", "沙丘", "松林", "咖啡", "起飞", "客厅", "海面", "湖面", "卧室", "飞舞", "公园", "花园", "雪原", "满天", "2",
    "大漠", "橘", "金", "那", "这", "它", "他", "她", "们", "朝", "向", "面朝", "裙", "衣", "毛衣", "颜色", "颜色是", "是的", "模样",
    "在一起", "一群", "俩", "双", "另", "并排", "紧挨着", "对着", "靠着", "趴着", "停在", "驶过", "飞翔", "盛开", "发光", "照耀", "悬挂着", "玩",
    "正在玩", "沙滩", "海滩", "森林", "树林", "房间", "室内", "雪地", "雪", "冬天", "湖", "街道", "街", "高楼", "晚霞", "日落", "星", "月",
    "阳光", "太阳", "场景", "背景是", "风", "图", "图片", "照片", "一张", "一幅", "我", "想要", "要", "请", "帮我", "给我", "来", "看", "很",
    "真", "又", "也", "都", "同", "跟", "以及", "加", "幅", "张", "块", "台", "枝", "片", "枚", "列", "间", "位", "艘", "盏", "轮",
    "栋", "之间", "底下", "上面", "下面", "里面", "前面", "后面",
)  # fmt: skip


def english_phrases() -> list[str]:
    """Every English phrase of the lists above, lower case."""
    out: list[str] = []
    for kind in (*KINDS.values(), *FIGURES.values()):
        out += [form for pair in kind.en for form in pair]
    for table in TABLES:
        for english, _ in table.values():
            out += english
    return out + list(FILLER_EN) + list(FUNCTION_EN)


def chinese_words() -> list[str]:
    """Every Chinese word of the lists above, in simplified characters, each once, longest first."""
    out: set[str] = set()
    for kind in (*KINDS.values(), *FIGURES.values()):
        out.update(kind.zh)
        out.update(kind.measure)
    for table in TABLES:
        for _, chinese in table.values():
            out.update(chinese)
    out.update(FILLER_ZH)
    out.update(FUNCTION_ZH)
    return sorted(out, key=lambda word: (-len(word), word))


TABLES = (COLOURS, BACKGROUNDS, HOURS, STYLES, SIZES, PLACES, FACINGS, POSES)


def english_words() -> list[str]:
    """Every single English word of the phrases, hyphens split off, in alphabetical order."""
    return sorted({word for phrase in english_phrases() for word in re.findall(r"[a-z0-9]+", phrase)})


_english = frozenset((*english_words(), *PIECED_EN, "t", "shirt"))
_simplified = (*chinese_words(), *PIECED_ZH)
_chinese = tuple(dict.fromkeys((*_simplified, *map(traditional, _simplified))))
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
