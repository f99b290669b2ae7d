"""Writes a new extension for `zimage extensions new NAME`: a complete folder with a passing test."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path

from ..errors import BadRequest, CannotWrite
from ..files import expanded
from . import extensions, scaffold_pane

MANIFEST = """\
name = "{name}"
version = "0.1"
summary = "a frame around the picture"
api = 1
requires = []  # pip requirements beyond zimage_kit's own; checked, never installed
stages = ["{name}"]
"""

CODE = '''\
"""{title}: a frame around the picture. A starting point for your own stage."""

from __future__ import annotations

from typing import Any, ClassVar

from PIL import Image, ImageDraw

from zimage_kit import Context, Field, Stage, stage


@stage
class {title}(Stage):
    """Draw a frame of `width` around the picture. Width 0 changes nothing."""

    kind = "{name}"
    identity: ClassVar[dict[str, Any]] = {{"width": 0.0}}
    finishing: ClassVar[bool] = True  # later stages would change the frame

    width: float = Field(0.03, ge=0.0, le=0.5, description="thickness / shorter side")
    colour: str = Field("white", description="a colour name, or #rrggbb")

    def after(self, image: Image.Image, ctx: Context) -> Image.Image:
        """Return a new picture of the same size and mode; `image` is left as it was."""
        out = image.copy()
        pixels = round(self.width * min(out.size))
        if pixels:
            ImageDraw.Draw(out).rectangle((0, 0, out.width - 1, out.height - 1), outline=self.colour, width=pixels)
        return out
'''

TEST = '''\
"""{title} draws its frame, and keeps the contract of every stage."""

from __future__ import annotations

from PIL import Image

import zimage_kit as zk
from zimage_kit import Context, Request, contract


def test_the_frame_has_its_width_and_colour() -> None:
    picture = Image.new("RGB", (100, 80), "navy")
    framed = zk.stages.{name}(width=0.1, colour="white").after(picture, Context(Request(prompt="x")))
    assert [framed.getpixel((x, 40)) for x in (0, 7, 8, 91, 92, 99)] == [
        *[(255, 255, 255)] * 2, *[(0, 0, 128)] * 2, *[(255, 255, 255)] * 2,
    ]  # fmt: skip


def test_it_keeps_the_contract() -> None:
    contract.check("{name}")
'''

PAGE = """\
# {name}

A frame around the finished picture.

```python
import zimage_kit as zk

session = zk.connect()
session.run(zk.Request(prompt="a red hot-air balloon over the sea").then(zk.stages.{name}(width=0.05)))
```

```
zimage run "a red hot-air balloon over the sea" --stage {name}:width=0.05
```

| field | default | meaning |
|---|---|---|
| `width` | 0.03 | thickness / shorter side, 0 to 0.5; 0 changes nothing |
| `colour` | white | a colour name, or #rrggbb |
"""


def write(name: str, root: Path | None = None, pane: bool = False) -> Path:
    """Write the folder of a new extension, with a stage or with a `pane` of the studio, into `root` and return it.

    Without a root: `extensions/` of the checkout, else the first folder of $ZIMAGE_EXTENSIONS, else ./extensions.
    Raises BadRequest for a name that is taken or not a lower-case identifier, CannotWrite if it cannot be written.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        wanted = re.sub(r"[^a-z0-9_]+", "_", name.lower()).strip("_0123456789")
        raise BadRequest(
            f"extension name {name!r}",
            expected="lower-case letters, digits and _, a letter first",
            mend=f"For example {wanted or 'my_stage'}.",
        )
    if name in extensions.kinds() or name in {extension.name for extension in extensions.discover()}:
        raise BadRequest(f"there is already an extension or stage {name!r}", mend="Choose another name.")
    given = extensions.roots_given()
    root = root or extensions.checkout() or (given[0] if given else Path("extensions"))
    folder = expanded(root).absolute() / name
    title = "".join(part.capitalize() for part in name.split("_"))
    kind = scaffold_pane if pane else sys.modules[__name__]
    texts = {
        extensions.MANIFEST: kind.MANIFEST, "__init__.py": kind.CODE, f"tests/test_{name}.py": kind.TEST,
        "README.md": kind.PAGE, **({"panes.py": scaffold_pane.PANES} if pane else {}),
    }  # fmt: skip
    try:
        (folder / "tests").mkdir(parents=True)
        for path, text in texts.items():
            (folder / path).write_text(text.format(name=name, title=title), "utf-8")
    except FileExistsError:
        raise BadRequest(f"{folder} exists already", mend="Choose another name or folder.") from None
    except OSError as error:
        raise CannotWrite(f"{folder} cannot be written ({error.strerror})", mend="Choose another folder.") from None
    return folder
