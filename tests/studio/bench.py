"""What the panel and a grid cost in a real browser: until they are there, a key, a preview, a picture.

    python -m tests.studio.bench --output measured.json            about five minutes
    python -m tests.studio.bench --output measured.json --quick    the same way with few rounds, to try the script

Starts JupyterLab, its kernels and a session in a folder of its own and ends them. Prints a Markdown table of medians
and writes every number to the JSON file. What the page shows is timed by the page's own clock, up to the end of the
frame in which it is painted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported
sys.path.insert(0, str(Path(__file__).parent))  # as pytest does, for lab.py and opened.py

import torch
from lab import Lab
from opened import ADD_CELL, OpenNotebook
from playwright.sync_api import Browser, Locator, sync_playwright
from test_library_pane import fill

import zimage_kit as zk
from conftest import FLAGS, NAMES
from zimage_kit.engine.preview import LARGEST_BYTES, Preview, as_jpeg
from zimage_kit.models.spec import SPECS

CONNECT = "import zimage_kit as zk; session = zk.connect()"
TEXT = "a red hot-air balloon over the sea, a girl in a yellow dress on the grass under a starry sky; "
KEY_SECONDS = 0.08
"""From key to key: 150 words a minute."""

PAINTED = """() => new Promise(done => requestAnimationFrame(() => {
    const channel = new MessageChannel();  // heard after the frame that is being prepared here
    channel.port1.onmessage = () => done(performance.now());
    channel.port2.postMessage(0);
}))"""
SHOWN = f"""async (index) => {{
    const painted = {PAINTED};
    const notebook = jupyterapp.shell.currentWidget.content;
    notebook.activeCellIndex = index;
    notebook.deselectAll();
    const buttons = () => [...document.querySelectorAll(".zk-studio .zk-bar .zk-primary")];
    const before = buttons().length;
    const begin = performance.now();
    const ran = jupyterapp.commands.execute("notebook:run-cell");
    let end;
    do end = await painted();
    while (!(buttons().length > before && buttons().at(-1).checkVisibility() && buttons().at(-1).textContent));
    await ran;
    return end - begin;
}}"""
CELLS_SHOWN = f"""async ([index, count]) => {{
    const painted = {PAINTED};
    const notebook = jupyterapp.shell.currentWidget.content;
    notebook.activeCellIndex = index;
    notebook.deselectAll();
    const boards = () => [...document.querySelectorAll(".zk-board")];
    const before = boards().length;
    const there = () => {{
        const board = boards().at(-1);
        const cells = [...board.querySelectorAll(".zk-cell")];
        const seen = (cell) => cell.dataset.state === "done" && cell.querySelector("img").complete
            && cell.querySelector("img").naturalWidth > 0;
        return [boards().length > before && cells.length > 0 && cells.every(seen), board.dataset.pictures === count];
    }};
    const begin = performance.now();
    const ran = jupyterapp.commands.execute("notebook:run-cell");
    let seen = 0;
    while (true) {{
        const now = await painted();
        if (boards().length === before) continue;
        const [cells, all] = there();
        if (cells && !seen) seen = now - begin;
        if (cells && all) {{
            await ran;
            return [seen, now - begin];
        }}
    }}
}}"""
LISTEN = f"""(input) => {{
    const painted = {PAINTED};
    window.zkKeys = [];
    const listen = async (event) => window.zkKeys.push(await painted() - event.timeStamp);
    input.addEventListener("keydown", listen, {{capture: true}});
    window.zkStop = () => input.removeEventListener("keydown", listen, {{capture: true}});
}}"""
HEARD = "() => { window.zkStop(); return window.zkKeys; }"
BARE = """() => {
    const bare = document.createElement("textarea");
    bare.className = "bare";
    bare.dataset.lmSuppressShortcuts = "true";
    bare.style.cssText = "position: fixed; right: 1em; bottom: 1em; width: 30em; height: 6em; z-index: 9";
    document.body.append(bare);
}"""
ONE_RUN = """async (code) => {
    const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    const begin = performance.now();
    const reply = await kernel.requestExecute({code, silent: true}).done;
    if (reply.content.status !== "ok") throw new Error(reply.content.evalue);
    return performance.now() - begin;
}"""
EMPTIED = """() => !document.querySelectorAll(".zk-studio")[document.querySelectorAll(".zk-studio").length - 1]
    .querySelector(".zk-thumb")"""
ONE_CLICK = f"""async () => {{
    const painted = {PAINTED};
    const panel = [...document.querySelectorAll(".zk-studio")].at(-1);
    const thumbs = () => panel.querySelectorAll(".zk-thumb").length;
    const image = panel.querySelector(".zk-picture");
    const before = thumbs();
    const begin = performance.now();
    panel.querySelector(".zk-bar .zk-primary").click();
    const making = () => image.classList.contains("zk-making");
    while (thumbs() === before || !image.complete || image.naturalWidth !== 1024 || making()) {{
        if (await painted() - begin > 30_000) throw new Error(`no picture: ${{panel.innerText}}`);
    }}
    return await painted() - begin;
}}"""
LIBRARY_SHOWN = f"""async (count) => {{
    const painted = {PAINTED};
    const panel = document.querySelector(".zk-studio");
    const begin = performance.now();
    [...panel.querySelectorAll(".zk-panes button")].find(button => button.textContent === "Library").click();
    while (true) {{
        const now = await painted();
        const frame = panel.querySelector(".zk-library-frame");
        const box = frame.getBoundingClientRect();
        const inside = tile => tile.getBoundingClientRect().top < box.bottom;
        const seen = [...frame.querySelectorAll(".zk-tile")].filter(inside);
        const told = panel.querySelector(".zk-library-told").textContent.startsWith(`${{count}} `);
        const there = seen.length > 4 && seen.every(tile => tile.querySelector("img").naturalWidth > 0);
        if (told && there) return now - begin;
        if (now - begin > 60_000) throw new Error(panel.innerText);
    }}
}}"""
FOUR_HUNDRED = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parents[1] / "grid")!r})
from PIL import Image
from grids import finished

noise = Image.effect_noise((256, 256), 60).convert("RGB")  # compresses as badly as a picture does
ground = lambda index: Image.new("RGB", (256, 256), (index % 255, 90, 160))
grid = finished("a {{thing}}", thing=[str(number) for number in range(20)], seed=range(20), picture=(256, 256),
                paint=lambda request, index: Image.blend(noise, ground(index), 0.5))
"""
IN_KERNEL = """
import os, statistics, time
from zimage_kit.studio.panel.results import Result
os.environ["ZIMAGE_PROGRESS"] = "0"
request = zk.Request(prompt="a red balloon over the sea", model={model!r}, width=512, height=512, steps=2, seed=7).then(
    zk.stages.upscale(factor=2))
made = session.run(request)
assert made.image.size == (1024, 1024)

def by_cell():
    begin = time.perf_counter()
    session.run(request)
    return time.perf_counter() - begin

def by_panel(studio):
    for result in list(studio.results):
        studio.forget(result)  # a picture that is there is not added again
    begin = time.perf_counter()
    studio.generate()
    while not studio.artifacts and studio.problem.error is None:
        time.sleep(0.0002)
    made = time.perf_counter() - begin
    while studio.bar.busy or not studio.viewer.progress.get("said"):
        time.sleep(0.0002)
    assert studio.problem.error is None, studio.problem.error
    done = time.perf_counter() - begin
    studio._saver.submit(lambda: None).result()
    return made, done

def encode():
    begin = time.perf_counter()
    Result(1, made)
    return time.perf_counter() - begin

measured = {{"cell": [], "made": [], "done": [], "encode": []}}
studio = session.studio()
studio.request = request
for number in range(-2, {rounds}):
    pair = [lambda: [("cell", by_cell())], lambda: list(zip(("made", "done"), by_panel(studio)))]
    for work in pair[:: 1 if number % 2 else -1]:
        for name, seconds in work():
            if number >= 0:
                measured[name].append(seconds * 1e3)
    if number >= 0:
        measured["encode"].append(encode() * 1e3)
studio.close()
"""


@dataclass(frozen=True)
class Row:
    """One line of the table: `of` the samples (their median), and of the same `beside` something plainer."""

    what: str
    unit: str
    samples: list[float]
    promised: float | None = None
    beside: list[float] | None = None
    of: Callable[[Sequence[float]], float] = statistics.median

    @property
    def measured(self) -> float:
        return self.of(self.samples)

    @property
    def kept(self) -> bool | None:
        return None if self.promised is None else self.measured <= self.promised

    def data(self) -> dict[str, Any]:
        """As JSON values."""
        names = ("what", "unit", "samples", "beside", "promised", "measured", "kept")
        return {name: getattr(self, name) for name in names} | {"count": len(self.samples)}

    def line(self) -> str:
        """As a line of Markdown."""
        values = (self.measured, self.of(self.beside) if self.beside else None, self.promised)
        said = ("" if value is None else f"{value:.{2 if abs(value) < 10 else 0}f} {self.unit}" for value in values)
        kept = {None: "", True: "yes", False: "**no**"}[self.kept]
        return f"| {' | '.join((self.what, *said, kept, str(len(self.samples))))} |"


HEAD = "| what | measured | beside | promised | kept | count |\n|---|---|---|---|---|---|"


def percentile_95(values: Sequence[float]) -> float:
    return sorted(values)[max(0, round(0.95 * len(values)) - 1)]


class Pages:
    """Notebooks in this browser, each with a kernel of its own that has run `CONNECT`."""

    def __init__(self, browser: Browser, lab: Lab) -> None:
        self._browser, self._lab = browser, lab

    def open(self, **env: str) -> OpenNotebook:
        notebook = OpenNotebook(self._browser, self._lab, self._lab.write([CONNECT], env), "light", 1280, 1000)
        if not notebook.run_all():
            raise SystemExit(notebook.text())
        return notebook


def show(notebook: OpenNotebook, name: str = "studio") -> float:
    """Seconds from running the cell until the page shows Generate."""
    index = notebook.page.evaluate(ADD_CELL, f"{name} = session.studio(); {name}")
    return float(notebook.page.evaluate(SHOWN, index)) / 1e3


def shown(pages: Pages, rounds: int) -> Iterator[Row]:
    """The panel in fresh kernels on a session that is there, and once more in each of them."""
    first, second = [], []
    for _ in range(rounds):
        notebook = pages.open()
        first.append(show(notebook))
        second.append(show(notebook, "other"))
        notebook.close()
    yield Row("the panel, from running its cell until it is shown; first of its kernel and page", "s", first, 1.5)
    yield Row("the same, second of its kernel", "s", second)


def grids(pages: Pages, rounds: int) -> Iterator[Row]:
    """400 cells whose pictures are on the disk, in fresh kernels: those that are seen, and until the page has all."""
    first, all_there = [], []
    for _ in range(rounds):
        notebook = pages.open()
        notebook.run_cell(FOUR_HUNDRED, wait=True)
        if not notebook.python("'grid' in globals()"):
            raise SystemExit(notebook.text())
        index = notebook.page.evaluate(ADD_CELL, "grid")
        seen, whole = notebook.page.evaluate(CELLS_SHOWN, [index, "400"])
        first.append(seen / 1e3)
        all_there.append(whole / 1e3)
        notebook.close()
    yield Row("a grid of 400 cells that are there, from running its cell until those in sight are painted", "s", first)
    yield Row("the same, until the page has all 400 pictures", "s", all_there, 2.0)


def typed(notebook: OpenNotebook, where: Locator, keys: int) -> list[float]:
    """Milliseconds from each key until the end of the next frame that is painted."""
    where.fill("")
    where.focus()
    where.evaluate(LISTEN)
    page, text = notebook.page, (TEXT * (keys // len(TEXT) + 1))[:keys]
    begin = time.perf_counter()
    for number, letter in enumerate(text):
        page.keyboard.type(letter)
        left = begin + (number + 1) * KEY_SECONDS - time.perf_counter()
        page.wait_for_timeout(max(0.0, left * 1e3))
    page.wait_for_function("count => window.zkKeys.length >= count", arg=keys)
    heard = list(page.evaluate(HEARD))
    if where.input_value() != text:
        raise SystemExit(f"typed {text!r}, but there stands {where.input_value()!r}")
    return heard


def keystrokes(pages: Pages, model: str, keys: int) -> Iterator[Row]:
    """A person writes a prompt while the kernel and the session do this and that."""
    notebook = pages.open()
    page, done = notebook.page, notebook.path.with_suffix(".done")
    show(notebook)
    fields = {"prompt": TEXT, "model": model, "seed": 7, "steps": 2, "width": 64, "height": 64}
    notebook.python(f"(setattr(studio, 'request', zk.Request(**{fields!r})), studio.generate())[1]")
    notebook.wait("studio.artifacts", 120)
    page.evaluate(BARE)
    prompt, bare = page.locator(".zk-studio .zk-prompt textarea"), page.locator("textarea.bare")

    def begin_pictures() -> None:
        many = {"steps": 200, "width": 256, "height": 256}
        notebook.python(f"setattr(studio, 'request', zk.Request(**{ {**fields, **many}!r}))")
        notebook.python("(setattr(studio.form.count, 'value', 8), studio.generate())[1]")
        notebook.wait("studio.viewer.progress.get('max') == 200", 60)

    def end_pictures() -> None:
        if not notebook.python("studio.bar.busy"):
            raise SystemExit("the pictures were done before the last key")
        notebook.python("studio.cancel()")
        notebook.wait("not studio.bar.busy", 60)

    def begin_cell() -> None:
        notebook.run_cell(f"import os, time\nprint('busy')\nwhile not os.path.exists({str(done)!r}): time.sleep(0.05)")
        page.get_by_text("busy", exact=True).wait_for()

    def end_cell() -> None:
        done.touch()
        notebook.python("1", 60)

    ways: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
        "with the kernel idle": (lambda: None, lambda: None),
        "while pictures are made and seen": (begin_pictures, end_pictures),
        "while a cell runs": (begin_cell, end_cell),
    }
    for what, (begin, end) in ways.items():
        begin()
        plain = typed(notebook, bare, keys)
        panel = typed(notebook, prompt, keys)
        end()
        label = f"a key in the prompt until it is painted, {what} (beside: a bare text field)"
        yield Row(label, "ms", panel, None, plain)
        yield Row("the same, 95th percentile", "ms", panel, None, plain, percentile_95)
        yield Row("the same, at most", "ms", panel, None, plain, max)
    notebook.close()


def previews(model: str, steps: int) -> Iterator[Row]:
    """Bytes of what goes through the network at each step."""
    side, sizes = SPECS["nano"].largest_side, list[float]()
    with zk.connect("inline", device="cpu") as session:
        request = zk.Request(prompt=TEXT, model=model, width=side, height=side, steps=steps, seed=7)
        for event in session.submit(request).events():
            if event.preview:
                sizes.append(len(event.preview) / 1e3)
    most = LARGEST_BYTES / 1e3
    yield Row(f"a preview of nano at {side}x{side}, the largest of a picture's", "kB", sizes, most, None, max)
    colours = Preview.of(SPECS["turbo"].latent_to_rgb(Path("none")), "cpu")
    if colours is None:
        raise SystemExit("turbo has no map from latents to colours")
    for side in (1024, 1536):
        noise = torch.randn(1, 16, side // 8, side // 8, generator=torch.Generator().manual_seed(7))
        pixels = colours.pixels(noise)
        begin = time.perf_counter()
        encoded = as_jpeg(pixels)
        took = (time.perf_counter() - begin) * 1e3
        yield Row(f"a preview of pure noise, turbo at {side}x{side}", "kB", [len(encoded) / 1e3], most)
        yield Row("encoding it, at the qualities that it takes", "ms", [took])


def pictures(pages: Pages, model: str, rounds: int) -> Iterator[Row]:
    """What a picture of 1024x1024 costs more in the panel than in a cell; it comes out of the session's cache."""
    notebook = pages.open()
    notebook.run_cell(IN_KERNEL.format(model=model, rounds=rounds), wait=True)
    if not notebook.python("'measured' in globals()"):
        raise SystemExit(notebook.text())
    taken = notebook.python("measured")
    cell = statistics.median(taken["cell"])
    yield Row("`session.run` of 1024x1024, out of the cache", "ms", taken["cell"])
    yield Row("`studio.generate()` until it is in `studio.artifacts`, no page (beside: `session.run`)", "ms",
              taken["made"], None, taken["cell"])  # fmt: skip
    yield Row("what the panel adds (difference of medians)", "ms", [statistics.median(taken["made"]) - cell], 30)
    yield Row("of that, encoding the picture and its thumb as JPEG", "ms", taken["encode"])
    yield Row("what it adds until everything of it is done but saving", "ms", [statistics.median(taken["done"]) - cell])

    show(notebook)
    notebook.python("setattr(studio, 'request', request)")
    notebook.page.locator(".zk-studio .zk-stage").wait_for()
    notebook.page.evaluate(ONE_RUN, "1")  # the page has heard all that the kernel said before
    by_cell, by_panel = [], []
    for number in range(-2, rounds):
        for name in ("cell", "panel") if number % 2 else ("panel", "cell"):
            if name == "cell":
                took, taken_by = notebook.page.evaluate(ONE_RUN, "session.run(request)"), by_cell
            else:
                notebook.python("[studio.forget(result) for result in list(studio.results)]")
                notebook.page.wait_for_function(EMPTIED)
                took, taken_by = notebook.page.evaluate(ONE_CLICK), by_panel
                notebook.python("studio._saver.submit(lambda: None).result()")
            if number >= 0:
                taken_by.append(float(took))
    yield Row("a click on Generate until the page has painted the picture (beside: `session.run`, as the page waits)",
              "ms", by_panel, None, by_cell)  # fmt: skip
    yield Row("what the panel and the page add (difference of medians)", "ms",
              [statistics.median(by_panel) - statistics.median(by_cell)])  # fmt: skip
    notebook.close()


def libraries(pages: Pages, folder: Path, count: int, rounds: int) -> Iterator[Row]:
    """The library's pane over a folder of pictures: its first page, with an index and small pictures or without."""
    fill(folder, count)
    cold, warm = [], []
    for _ in range(rounds):
        for taken in (cold, warm):
            if taken is cold:
                shutil.rmtree(folder / ".zimage", ignore_errors=True)
            notebook = pages.open(ZIMAGE_OUTPUTS=str(folder))
            show(notebook)
            taken.append(float(notebook.page.evaluate(LIBRARY_SHOWN, count)) / 1e3)
            notebook.close()
    what = f"the library of {count:,} pictures, from the click until its first page is painted"
    yield Row(what, "s", warm, 1.0)
    yield Row("the same for the first time, which reads them all", "s", cold)


def measure(model: str, quick: bool) -> Iterator[Row]:
    """Every row."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise SystemExit(f"no browser on this machine: none of {', '.join(NAMES)} is in PATH")
    with tempfile.TemporaryDirectory(prefix="zimage-bench-") as place, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        lab = Lab(Path(place))
        try:
            pages = Pages(browser, lab)
            pages.open().close()  # the session is started, and the browser has JupyterLab's own scripts
            yield from shown(pages, 1 if quick else 5)
            yield from grids(pages, 1 if quick else 5)
            yield from pictures(pages, model, 2 if quick else 15)
            yield from libraries(pages, Path(place) / "pictures", 60 if quick else 2000, 1 if quick else 3)
            yield from keystrokes(pages, model, 12 if quick else 200)
        finally:
            browser.close()
            lab.end()
    yield from previews(model, 2 if quick else 8)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; 0 when every promise is kept."""
    about = (__doc__ or "").partition("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m tests.studio.bench", description=about)
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--quick", action="store_true", help="few rounds, to try the script")
    parser.add_argument("--model", default="nano")
    options = parser.parse_args(arguments)
    rows = []
    load = [os.getloadavg()]
    for row in measure(options.model, options.quick):
        print(row.line(), file=sys.stderr, flush=True)
        rows.append(row)
    load.append(os.getloadavg())
    machine = {
        "cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "threads": os.environ["OMP_NUM_THREADS"],
        "load_average": [round(values[0], 2) for values in load],  # of the last minute, before and after
    }
    data = {"machine": machine, "quick": options.quick, "rows": [row.data() for row in rows]}
    options.output.write_text(json.dumps(data, indent=2) + "\n")
    print("\n".join([HEAD, *(row.line() for row in rows)]))
    return 0 if all(row.kept is not False for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
