"""The scripts without a browser: Node tests their logic (`tests/js`), and takes each of them as the page gets it."""

from __future__ import annotations

import pkgutil
import re
import shutil
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import anywidget
import pytest

from zimage_kit import studio
from zimage_kit.grid import web_page
from zimage_kit.stages import extensions
from zimage_kit.text.scripts import joined_script, joined_style

ROOT = Path(__file__).resolve().parents[2]
TESTS = sorted((ROOT / "tests" / "js").glob("*.test.mjs"))
OLDEST = 18
editor: Any = import_module(f"{extensions.load_module('pose').__name__}.editor")
painter: Any = import_module(f"{extensions.load_module('refine').__name__}.painter")
for found in pkgutil.walk_packages(studio.__path__, "zimage_kit.studio."):
    import_module(found.name)
OURS = ("zimage_kit", editor.__name__, painter.__name__)
WIDGETS: list[Any] = sorted(
    (each for each in anywidget.AnyWidget.__subclasses__() if each.__module__.startswith(OURS)),
    key=lambda each: each.__name__,
)
TYPESCRIPT = Path(__file__).parent / "node_modules" / "typescript" / "bin" / "tsc"
CHECKED = "// @ts-check\n"
UNCHECKED: set[str] = set()
"""Scripts without the mark, as paths in the repository: of those, TypeScript says only which names are unknown."""
UNKNOWN_NAMES = ("2304", "2305", "2552", "2724", "18004")
"""TypeScript's errors for a name that is not there, or that a module does not export."""
PAGE = web_page._FOLDER / "page.js"
WHOLE = """
const { default: found } = await import(process.argv[1]);
const widget = typeof found === "function" ? await found() : found;
if (typeof widget.render !== "function") throw new Error("it renders nothing");
"""


@pytest.fixture(scope="module")
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("no Node on this machine, so the scripts' logic is not tested (`npm` brings it)")
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.removeprefix("v").partition(".")[0]) < OLDEST:
        pytest.skip(f"Node {version.strip()} is too old to test the scripts' logic; it takes {OLDEST}")
    return found


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", TESTS, ids=lambda file: file.name.partition(".")[0])
def test_the_logic_of_the_scripts(node: str, file: Path) -> None:
    run(node, "--test", file)


@pytest.mark.parametrize("widget", WIDGETS, ids=lambda widget: widget.__name__)
def test_a_widgets_script_is_whole(node: str, widget: Any, tmp_path: Path) -> None:
    """As anywidget imports it: one module, whose names do not clash, with a widget for its default."""
    script = tmp_path / "widget.mjs"
    script.write_text(str(widget._esm), "utf-8")
    run(node, "--input-type=module", "--eval", WHOLE, script.as_uri())


def our_scripts() -> list[Path]:
    return [file for folder in ("zimage_kit", "extensions") for file in (ROOT / folder).rglob("*.js")]


def unchecked() -> set[str]:
    """Paths in the repository of scripts that do not start with the mark."""
    files = [file for file in our_scripts() if not file.read_text("utf-8").startswith(CHECKED)]
    return {file.relative_to(ROOT).as_posix() for file in files}


def test_every_script_is_marked_for_typescript() -> None:
    assert unchecked() == UNCHECKED


def test_no_script_has_what_typescript_calls_wrong(node: str) -> None:
    """A name that is neither declared nor imported fails only when its line runs, which a click may be needed for."""
    if not TYPESCRIPT.is_file():
        pytest.skip("TypeScript is not installed: npm install in tests/studio (make test does it)")
    options = "--noEmit --allowJs --checkJs --skipLibCheck --target es2022 --module esnext --moduleResolution bundler"
    command = [node, TYPESCRIPT, *options.split(), "--lib", "es2023,dom,dom.iterable", *our_scripts()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    found = [line for line in done.stdout.splitlines() if "error TS" in line]
    assert bool(found) == bool(done.returncode), done.stdout + done.stderr
    names = re.compile(rf"error TS({'|'.join(UNKNOWN_NAMES)}):")
    lenient = tuple(f"{path}(" for path in UNCHECKED)
    assert [line for line in found if names.search(line) or not line.startswith(lenient)] == []


def test_a_table_of_keys_has_no_more_than_its_own() -> None:
    """`{ Home: 0 }["toString"]` is a function: what a key is looked up in has no prototype."""
    table = re.compile(
        r"\{(?! *\s*__proto__: null)(?=[^{}]*\b(?:Arrow|Home|Enter|Delete))[^{}]*\}\)?\[(?:event\.)?key\b"
    )
    scripts = [*(ROOT / "zimage_kit").rglob("*.js"), *(ROOT / "extensions").rglob("*.js")]
    assert not [file.name for file in scripts if table.search(file.read_text("utf-8"))]


def test_the_web_pages_script_is_whole(node: str, tmp_path: Path) -> None:
    script = tmp_path / "page.mjs"
    script.write_text(joined_script(PAGE), "utf-8")
    run(node, "--check", script)


def test_every_script_is_joined_into_what_some_page_gets() -> None:
    served = "\n".join([*(str(widget._esm) for widget in WIDGETS), joined_script(PAGE)])
    folders = [ROOT / "zimage_kit", Path(editor.__file__).parent, Path(painter.__file__).parent]
    scripts = [file for folder in folders for file in folder.rglob("*.js")]
    assert len(scripts) > 15
    left_out = [file for file in scripts if f"=> {{ // {file.name}\n" not in served and not is_entry(file, served)]
    assert left_out == []


def is_entry(file: Path, served: str) -> bool:
    """Its last part stands there as it is, outside of any scope."""
    return file.read_text("utf-8").rpartition('";\n')[2] in served


def written(folder: Path, **modules: str) -> Path:
    """These modules, and the path of the one called entry."""
    for name, text in modules.items():
        (folder / f"{name}.js").write_text(text, "utf-8")
    return folder / "entry.js"


def test_modules_come_in_the_order_of_their_imports_each_in_a_scope_of_its_own(node: str, tmp_path: Path) -> None:
    entry = written(
        tmp_path,
        entry='import { b,\n  twice as double } from "./b.js";\nimport * as all from "./a.js";\nimport "./c.js";\n'
        "const made = double(b) + all.a + globalThis.c;\nexport { made };\n",
        b='import { a } from "./a.js";\nconst made = 2;\nexport const b = a + made;\n'
        "export function twice(x) { return made * x; }\n",
        a="const a = 1;\nclass B {}\nexport { B, a };\n",
        c="globalThis.c = 100;\n",
    )
    joined = tmp_path / "joined.mjs"
    joined.write_text(joined_script(entry), "utf-8")
    check = "const { made } = await import(process.argv[1]); if (made !== 107) throw new Error(made);"
    run(node, "--input-type=module", "--eval", check, joined.as_uri())
    run(node, "--input-type=module", "--eval", check, entry.rename(entry.with_suffix(".mjs")).as_uri())


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        (
            {"entry": 'import { a } from "./a.js";', "a": 'import { b } from "./entry.js";\nexport const a = b;'},
            "circle",
        ),
        ({"entry": 'import { a } from "./a.js";', "a": "export const b = 1;"}, "does not export it"),
        ({"entry": 'import { a } from "./gone.js";'}, "cannot be read"),
        ({"entry": 'import { a } from "react";'}, "expected ./, ../ or zimage_kit/"),
        ({"entry": 'import a from "./a.js";', "a": "export const a = 1;"}, "expected import"),
        ({"entry": 'import { a } from "./a.js";', "a": "const b = 1;\nexport { b as a };"}, "does not export it"),
        ({"entry": 'import "./a.js";', "a": "export default 1;"}, "expected export const"),
        ({"entry": 'import "./a.js";', "a": "export let a = 1;"}, "expected export const"),
    ],
)
def test_what_cannot_be_joined_is_refused(tmp_path: Path, modules: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        joined_script(written(tmp_path, **modules))


def test_an_extension_imports_what_the_studio_shares(node: str, tmp_path: Path) -> None:
    entry = written(
        tmp_path,
        entry='import { fill } from "zimage_kit/studio/js/words.js";\nexport const said = fill("{a}", { a: "$&" });\n',
    )
    joined = tmp_path / "joined.mjs"
    joined.write_text(joined_script(entry), "utf-8")
    check = "const { said } = await import(process.argv[1]); if (said !== '$&') throw new Error(said);"
    run(node, "--input-type=module", "--eval", check, joined.as_uri())


def test_style_sheets_are_joined_in_the_place_of_their_imports(tmp_path: Path) -> None:
    (tmp_path / "shared.css").write_text("b { color: red; }\n", "utf-8")
    (tmp_path / "own.css").write_text('/* own */\n@import "./shared.css";\ni { color: blue; }\n', "utf-8")
    assert joined_style(tmp_path / "own.css").replace("\n", "") == "/* own */b { color: red; }i { color: blue; }"


def test_no_text_is_filled_in_by_a_replacement_that_reads_dollar_signs() -> None:
    """`"{label}"` replaced by a prompt with `$&` would repeat itself: `fill` in words.js does not."""
    replaced = re.compile(r"""\.replace(?:All)?\((?:"[^"]*"|/(?:[^/\\]|\\.)+/\w*), (?!["(]|\w+ =>)""")
    scripts = [*(ROOT / "zimage_kit").rglob("*.js"), *(ROOT / "extensions").rglob("*.js")]
    assert not [file.name for file in scripts if replaced.search(file.read_text("utf-8"))]
