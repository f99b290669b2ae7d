"""What every stage promises, as a check for an extension's own tests: `contract.check("my_stage")`.

The stages that come with zimage_kit pass the same check.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..recipe.request import Request
from . import extensions
from .stage import Call, Context, Stage

if TYPE_CHECKING:
    from PIL import Image

NEUTRAL = Request(prompt="a red balloon", model="nano", width=80, height=64, steps=2, guidance=0.0, seed=1)


def check(kind: str, fields: Mapping[str, Any] | None = None) -> None:
    """Check one kind of stage against the contract. `fields`: values for its required fields.

    Raises AssertionError that lists every broken promise, one line each.
    """
    cls = extensions.stage_class(kind)
    assert cls is not None, f"no extension provides a stage {kind!r}"
    broken = [line for promise in PROMISES for line in promise(cls, dict(fields or {}))]
    assert not broken, f"stage {kind} breaks the contract:\n" + "\n".join(f"- {line}" for line in broken)


def _says_what_it_is(cls: type[Stage], fields: dict[str, Any]) -> list[str]:
    lines = [] if (cls.__doc__ or "").strip() else ["the class has no docstring"]
    return lines + [
        f"field {name} has no description" for name, field in cls.model_fields.items() if not field.description
    ]


def _goes_through_json(cls: type[Stage], fields: dict[str, Any]) -> list[str]:
    stage = cls(**fields)
    text = Request(prompt="x").then(stage).to_json()
    (data,) = Request.from_json(text).stages
    read = cls(**data.fields())
    return [] if read == stage and read.data() == stage.data() else ["it comes back from JSON as another stage"]


def _identity_changes_nothing(cls: type[Stage], fields: dict[str, Any]) -> list[str]:
    if cls.identity is None:
        return ["identity = {…} is missing: the fields with which it changes nothing"]
    stage, lines = cls(**{**fields, **cls.identity}), []
    request = NEUTRAL.then(stage)
    call = _call()
    if stage.before(call, Context(request)) != call:
        lines.append(f"before() changes the call with {dict(cls.identity)}")
    for picture in _pictures():
        after = stage.after(picture.copy(), Context(request))
        if (after.mode, after.size, after.tobytes()) != (picture.mode, picture.size, picture.tobytes()):
            lines.append(f"after() changes a picture of mode {picture.mode} with {dict(cls.identity)}")
    return lines


def _leaves_the_input_alone(cls: type[Stage], fields: dict[str, Any]) -> list[str]:
    """With the identity's fields only, since others may need a model: the extension's own tests cover those."""
    stage, lines = cls(**{**fields, **(cls.identity or {})}), []
    for picture in _pictures():
        before = picture.tobytes()
        after = stage.after(picture, Context(NEUTRAL.then(stage)))
        if picture.tobytes() != before:
            lines.append("after() changes the picture that it was given")
        if cls.transforms() and after is picture:
            lines.append("after() returns the picture that it was given instead of a new one")
    return lines


def _is_frozen(cls: type[Stage], fields: dict[str, Any]) -> list[str]:
    return [] if cls.model_config.get("frozen") and cls.model_config.get("extra") == "forbid" else ["it is not frozen"]


def _has_a_test_and_a_page(cls: type[Stage], fields: dict[str, Any]) -> list[str]:
    extension = next((extension for extension in extensions.discover() if cls.kind in extension.stages), None)
    if extension is None:
        return [f"no {extensions.MANIFEST} names it"]
    if extension.installed:
        return []  # wheels contain no tests
    folder = extension.folder
    lines = [] if (folder / "README.md").is_file() else [f"there is no README.md in {folder}"]
    tests = [path.read_text("utf-8") for path in folder.glob("tests/test_*.py")]
    return lines + ([] if any(cls.kind in text for text in tests) else [f"no test in {folder}/tests names it"])


def _imports_no_torch(cls: type[Stage], fields: dict[str, Any]) -> list[str]:
    code = (
        "import json, sys; from zimage_kit import Request; from zimage_kit.stages import extensions;"
        "fields, roots = json.loads(sys.argv[1]);"
        "from pathlib import Path; extensions.looking_in(tuple(Path(root) for root in roots)).__enter__();"
        f"cls = extensions.stage_class({cls.kind!r}); stage = cls(**fields);"
        f"stage.resolved(Request(**json.loads(sys.argv[2])));"
        "print([name for name in ('torch', 'diffusers') if name in sys.modules])"
    )
    roots = [str(extension.folder) for extension in extensions.discover() if cls.kind in extension.stages]
    given = json.dumps([Request(prompt="x").then(cls(**fields)).stages[0].fields(), roots])
    command = [sys.executable, "-c", code, given, NEUTRAL.then(cls(**fields)).to_json()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return [f"it does not load in a process of its own: {done.stderr.strip().splitlines()[-1]}"]
    return [] if done.stdout.strip() == "[]" else [f"importing it imports {done.stdout.strip()}"]


Promise = Callable[[type[Stage], dict[str, Any]], list[str]]
PROMISES: tuple[Promise, ...] = (
    _says_what_it_is,
    _goes_through_json,
    _is_frozen,
    _identity_changes_nothing,
    _leaves_the_input_alone,
    _has_a_test_and_a_page,
    _imports_no_torch,
)
"""In the order in which broken ones are listed."""


def _call() -> Call:
    return Call("a red balloon", "", 80, 64, 2, 0.0, 1)


def _pictures() -> list[Image.Image]:
    from PIL import Image

    shade = Image.linear_gradient("L").resize((80, 64))
    rgb = Image.merge("RGB", (shade, shade.rotate(180), shade.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    alpha = rgb.copy()
    alpha.putalpha(shade)
    return [rgb, alpha]
