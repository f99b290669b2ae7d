"""Make the pictures of the README again; nano draws them, and Chromium takes the studio's.

python scripts/readme_pictures.py [first] [stages] [grid] [studio]
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from extension_pictures import row
from PIL import Image

import zimage_kit as zk

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images"
WANTED = (
    ("a red hot-air balloon over the sea", 7),
    ("a yellow boat under a starry sky", 42),
    ("竹子，水墨画", 3),
    ("a red lantern, neon lights, in the city", 5),
    ("雪山下的蓝色房子", 42),
    ("two mushrooms at sunset", 4),
)
STRIP = {
    "en": (WANTED[0], WANTED[3], ("a yellow boat at sunset", 9), WANTED[5]),
    "zh": (("海上的红色热气球", 7), ("城市里的红灯笼，霓虹", 5), ("夕阳下的黄色小船", 9), ("夕阳下的两个蘑菇", 4)),
}
WIDTH, HEIGHT = 1060, 900


def save(picture: Image.Image, name: str, quality: int = 82) -> None:
    """As a small WebP."""
    path = FOLDER / f"{name}.webp"
    picture.convert("RGB").save(path, quality=quality, method=6)
    print(f"{path.name}: {picture.width}x{picture.height}, {path.stat().st_size / 1e3:.0f} kB")


def request(prompt: str, seed: int) -> zk.Request:
    """With nano, 256x256."""
    return zk.Request(prompt=prompt, model="nano", seed=seed)


def first(session: zk.Session) -> None:
    """Six pictures side by side."""
    save(row([session.run(request(*each)).image for each in WANTED], 256, 0), "first")


def stages(session: zk.Session) -> None:
    """A girl; a skeleton; the girl in that pose; as a paper-cut; with a title."""
    plain = request("a girl in a red dress on the grass", 5)
    pose = zk.stages.pose(preset="dancing", body="small")
    posed = plain.then(pose)
    cut = posed.but(loras=[{"path": "papercut"}])
    made = [session.run(each).image for each in (plain, posed, cut, cut.then(zk.stages.text_overlay(text="春节快乐")))]
    save(row([made[0], pose.skeleton(256, 256), *made[1:]], 256), "stages")


def grid(session: zk.Session) -> None:
    """Three prompts, each after 1, 2, 4 and 8 steps."""
    base = zk.Request(model="nano", seed=42)
    prompts = ["a white cat on the grass", "雪山下的蓝色房子", "a yellow boat under a starry sky"]
    made = session.grid(
        base, prompt=prompts, steps=[1, 2, 4, 8], title="How many steps does it take? · 要几步？", yes=True
    )
    save(made.wait().sheet(), "grid", 50)


def studio(session: zk.Session) -> None:
    """The panel as a web page, in English and in Chinese, with four pictures in its strip."""
    del session  # the page starts one of its own
    for language, name in (("en", "studio"), ("zh", "studio-zh")):
        with tempfile.TemporaryDirectory() as folder:
            save(_panel(Path(folder), language), name, 62)


def _panel(folder: Path, language: str) -> Image.Image:
    """A screenshot of the panel, once it has drawn."""
    from playwright.sync_api import expect, sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("The studio's pictures need Chromium: apt install chromium")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    settings = {
        "ZIMAGE_OUTPUTS": str(folder / "outputs"),
        "ZIMAGE_STATE": str(folder / "state"),
        "ZIMAGE_LANG": language,
    }
    line = [sys.executable, "-m", "zimage_kit", "app", "--no-browser", "--port", str(port)]
    app = subprocess.Popen(line, env=os.environ | settings, stdout=subprocess.PIPE, text=True)
    try:
        assert app.stdout is not None
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, locale=language)
            page.goto(app.stdout.readline().strip())
            panel = page.locator(".zk-studio")
            draw = panel.get_by_role("button", name={"en": "Generate", "zh": "生成"}[language], exact=True)
            expect(draw).to_be_enabled(timeout=60_000)
            for number, (prompt, seed) in enumerate(STRIP[language], 1):
                panel.locator(".zk-prompt textarea").fill(prompt)
                panel.get_by_label({"en": "Seed", "zh": "种子"}[language], exact=True).fill(str(seed))
                page.keyboard.press("Tab")
                draw.click()
                expect(panel.locator(".zk-thumb img")).to_have_count(number, timeout=120_000)
                expect(draw).to_be_enabled(timeout=60_000)
            shot = folder / "shot.png"
            panel.screenshot(path=shot)
            browser.close()
            with Image.open(shot) as opened:
                return opened.convert("RGB")
    finally:
        app.terminate()
        app.wait(30)
        stop = [sys.executable, "-m", "zimage_kit", "session", "stop"]
        subprocess.run(stop, env=os.environ | settings, check=False, stdout=subprocess.DEVNULL)


PARTS = {"first": first, "stages": stages, "grid": grid, "studio": studio}


def main(wanted: list[str]) -> None:
    """Make these, or all."""
    session = zk.connect()
    for name in wanted or PARTS:
        PARTS[name](session)


if __name__ == "__main__":
    main(sys.argv[1:])
