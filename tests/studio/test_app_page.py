"""The studio as a web page, served by a real `zimage app`: it comes up, stays on this machine and lets in its user."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from opened import AXE, SEEN_BY_AXE, SHOTS
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from zimage_kit.session.shared import launch
from zimage_kit.session.shared.shared_engine import SharedEngine
from zimage_kit.session.status import Status

OTHER = "http://elsewhere.example"
RECORD = "import sys, pathlib; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
IMPATIENT = (
    "import sys; from zimage_kit import cli; from zimage_kit.studio.web_app.app import PageKernels;"
    "PageKernels.cull_idle_timeout, PageKernels.cull_interval = 6, 1;"
    "sys.exit(cli.call(sys.argv[1:]))"
)
VIOLATION = """async () => {
    const heard = new Promise(told => document.addEventListener("securitypolicyviolation", told, {once: true}));
    fetch("https://cdn.example/font.css").catch(() => {});
    const event = await heard;
    return [event.effectiveDirective, event.blockedURI];
}"""


HASTY = (
    "import sys; from zimage_kit import cli; from zimage_kit.studio.web_app import attempts;"
    "attempts.WITHIN_SECONDS = 4; sys.exit(cli.call(sys.argv[1:]))"
)
SEND = """async ([kernel, code]) => {
    const base = document.body.dataset.baseUrl.replace("voila/", "");
    const socket = new WebSocket(`${location.origin.replace("http", "ws")}${base}api/kernels/${kernel}/channels`);
    const kinds = new Set();
    socket.onmessage = ({data}) => { if (typeof data === "string") kinds.add(JSON.parse(data).header.msg_type); };
    await new Promise((opened, failed) => { socket.onopen = opened; socket.onerror = failed; });
    const send = (channel, msg_type, content) => socket.send(JSON.stringify({
        channel, content, parent_header: {}, metadata: {}, buffers: [],
        header: {msg_type, msg_id: crypto.randomUUID(), session: "s", username: "", version: "5.3", date: ""},
    }));
    for (const channel of ["shell", "control"])
        send(channel, "execute_request", {code, silent: false, store_history: false, user_expressions: {},
            allow_stdin: false, stop_on_error: false});
    for (const kind of ["complete_request", "inspect_request"]) send("shell", kind, {code, cursor_pos: 3});
    send("shell", "comm_info_request", {});
    send("shell", "kernel_info_request", {});
    while (!kinds.has("kernel_info_reply")) await new Promise(later => setTimeout(later, 20));
    await new Promise(later => setTimeout(later, 500));
    socket.close();
    return [...kinds].filter(kind => kind.endsWith("_reply")).sort();
}"""


class App:
    """A running `zimage app`, as its user started it."""

    def __init__(self, place: Path, state: Path, *arguments: str, code: str = "", **settings: str) -> None:
        self.state = state
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ZIMAGE_", "JUPYTER"))}
        environment = {
            **inherited,
            "HOME": str(place),
            "IPYTHONDIR": str(place / "ipython"),
            "ZIMAGE_LANG": "en",
            "ZIMAGE_OUTPUTS": str(place / "outputs"),
            "ZIMAGE_STATE": str(self.state),
            **settings,
        }
        start = ["-c", code] if code else ["-m", "zimage_kit"]
        line = [sys.executable, *start, "app", "--port", str(free_port()), "--next-port", *arguments]
        self.process = subprocess.Popen(
            line, env=environment, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError(f"zimage app did not start: {self.end()}")
        self.base, self.token = self.url.split("?")[0], self.url.partition("token=")[2]
        self.host = urlsplit(self.url).netloc

    def kernels(self) -> set[int]:
        """Its kernels' processes."""
        return {each.pid for each in psutil.Process(self.process.pid).children(recursive=True) if is_kernel(each)}

    def status(self) -> Status:
        """Of the session behind it."""
        engine = SharedEngine.at(self.state / launch.FILE)
        try:
            return engine.status()
        finally:
            engine.close()

    def ask(self, path: str, method: str = "GET", **headers: str) -> HTTPResponse:
        """What a program gets that sends these headers; nothing is followed."""
        connection = HTTPConnection(self.host, timeout=30)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): text for name, text in headers.items()})
            answer = connection.getresponse()
            answer.read()
            return answer
        finally:
            connection.close()

    def end(self, number: signal.Signals = signal.SIGINT) -> str:
        """As Ctrl-C does; what it said on stderr."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.communicate(timeout=30)[1]


def is_kernel(process: psutil.Process) -> bool:
    try:
        return "ipykernel_launcher" in process.cmdline()
    except psutil.Error:
        return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def eventually(true: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def place(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the user whose page it is."""
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def app(place: Path, running: Path) -> Iterator[App]:
    app = App(place, running, "--no-browser", "--theme", "dark")
    yield app
    app.end()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Callable[[], Page]]:
    """Opens a tab of a browser that has not been here before."""
    contexts = []

    def tab() -> Page:
        contexts.append(browser.new_context(viewport={"width": 1280, "height": 700}))
        return contexts[-1].new_page()

    yield tab
    for context in contexts:
        context.close()


def studio(page: Page) -> None:
    """Wait until the panel can be used."""
    expect(page.get_by_role("button", name="Generate")).to_be_enabled(timeout=60_000)


def test_the_page_comes_up_and_asks_no_other_machine(app: App, tab: Callable[[], Page]) -> None:
    page, asked = tab(), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.goto(app.url)
    studio(page)
    assert page.title() == "zimage studio"
    assert page.url == app.base, "the token is out of the address bar"
    local = (app.base, app.base.replace("http:", "ws:"), "data:", "blob:")
    assert [url for url in asked if not url.startswith(local)] == []
    assert any(url.startswith("ws:") for url in asked), "what was asked has been seen"
    assert page.evaluate(VIOLATION) == ["connect-src", "https://cdn.example/font.css"]
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 17, 17)", "--theme dark"
    assert page.get_by_text("zk.connect()").count() == 0, "no code"
    box = page.locator(".zk-studio").bounding_box()
    assert box is not None
    assert box["width"] > 1240, "no margins"


def test_everything_on_the_page_can_be_reached_in_a_low_window(app: App, tab: Callable[[], Page]) -> None:
    page = tab()
    page.set_viewport_size({"width": 900, "height": 300})
    page.goto(app.url)
    studio(page)
    status = page.locator(".zk-status")
    status.scroll_into_view_if_needed()
    expect(status).to_be_in_viewport()


def test_who_has_no_token_sees_a_door_and_a_kernel_is_not_started(app: App, tab: Callable[[], Page]) -> None:
    before = app.kernels()
    for path in ("/", "/?token=wrong"):
        answer = app.ask(path)
        assert (answer.status, answer.headers["Location"].split("?")[0]) == (302, "/login")
    assert app.ask("/api/kernels/00000000-0000-0000-0000-000000000000").status == 403
    page = tab()
    page.goto(app.base)
    expect(page).to_have_title("zimage studio")
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("alert")).to_contain_text("not the token")
    assert app.kernels() <= before
    page.get_by_label("Token").fill(app.token)
    page.get_by_role("button", name="Open").click()
    studio(page)
    page.goto(app.base)
    studio(page)


def test_a_request_for_another_host_is_refused(app: App) -> None:
    for path in ("/", "/login", f"/?token={app.token}"):
        assert app.ask(path, Host="elsewhere.example").status == 403
        assert app.ask(path, Host=f"elsewhere.example:{urlsplit(app.url).port}").status == 403
    assert app.ask("/login").status == 200


def test_another_sites_page_can_neither_listen_nor_close(app: App, tab: Callable[[], Page]) -> None:
    page = tab()
    page.goto(app.url)
    studio(page)
    kernel = json.loads(page.locator("#jupyter-config-data").inner_text())["kernelId"]
    cookies = "; ".join(f"{each['name']}={each['value']}" for each in page.context.cookies())
    upgrade = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec_WebSocket_Version": "13"}
    upgrade["Sec_WebSocket_Key"] = "AAAAAAAAAAAAAAAAAAAAAA=="
    channels, closing = f"/api/kernels/{kernel}/channels", f"/voila/api/shutdown/{kernel}"
    before = app.kernels()
    for headers in ({"Origin": OTHER}, {}):
        assert app.ask(closing, "POST", Cookie=cookies, **headers).status == 403
    assert app.ask(closing, "POST", Origin=app.base.rstrip("/")).status == 403, "no cookie"
    assert app.ask(channels, Cookie=cookies, Origin=OTHER, **upgrade).status == 403
    assert app.ask(channels, Origin=app.base.rstrip("/"), **upgrade).status == 403, "no cookie"
    assert app.kernels() == before
    assert app.ask(closing, "POST", Cookie=cookies, Origin=app.base.rstrip("/")).status == 204, "the page itself may"
    eventually(lambda: len(app.kernels()) == len(before) - 1, "its kernel has ended")


def test_a_page_runs_no_code_of_its_own(app: App, tab: Callable[[], Page], tmp_path: Path) -> None:
    page = tab()
    page.goto(app.url)
    studio(page)
    kernel = json.loads(page.locator("#jupyter-config-data").inner_text())["kernelId"]
    mark = tmp_path / "ran"
    replies = page.evaluate(SEND, [kernel, f"open({str(mark)!r}, 'w').close()"])
    assert replies == ["comm_info_reply", "kernel_info_reply"]
    assert not mark.exists()


def test_a_page_names_files_in_the_folders_it_was_given(
    place: Path, running: Path, tab: Callable[[], Page], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (64, 64), "red").save(tmp_path / "secret.png")
    app = App(place, running, "--no-browser", "--files", str(tmp_path / "photos"))
    try:
        page = tab()
        page.goto(app.url)
        studio(page)
        page.get_by_role("combobox", name="Add a stage").select_option(label="Control picture")
        named = page.locator(".zk-stage").get_by_label("Picture", exact=True)
        named.fill(str(tmp_path / "secret.png"))
        named.press("Tab")
        page.get_by_role("button", name="Generate").click()
        expect(page.get_by_role("alert").first).to_contain_text("is in none of the folders that may be named here")
    finally:
        said = app.end()
    assert f"The page may name files in {tmp_path / 'photos'}, {place / 'outputs'}." in said


def test_nothing_else_of_jupyter_is_there(app: App, tab: Callable[[], Page]) -> None:
    page = tab()
    page.goto(app.url)
    studio(page)
    cookie = {"Cookie": "; ".join(f"{each['name']}={each['value']}" for each in page.context.cookies())}
    before = app.kernels()
    paths = ["api/contents", "api/contents/", "api/kernels", "api/kernelspecs", "api/sessions", "api/terminals",
             "api/config/notebook", "terminals/websocket/1", "files/", "tree", "lab", "metrics", "voila/tree",
             "voila/api/contents/", "voila/render/studio.ipynb", "voila/files/", "voila/files/studio.ipynb",
             "voila/files/app.py", "voila/files/page/login.html", "studio.ipynb", "anything"]  # fmt: skip
    for path in paths:
        for method in ("GET", "POST", "PUT", "DELETE"):
            assert app.ask(f"/{path}", method, **cookie).status in (403, 404, 405), f"{method} /{path}"
    for path in ("logout-everyone", "login?new_password=mine"):
        assert app.ask(f"/{path}", "POST", **cookie).status in (403, 404)
    assert app.kernels() == before, "none was started for them"


def test_every_answer_says_what_the_page_may_load(app: App) -> None:
    for path in ("/", "/login", f"/?token={app.token}", "/api/kernels/x"):
        policy = app.ask(path).headers["Content-Security-Policy"]
        rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";") if rule.strip()}
        for name in ("base-uri", "form-action", "frame-ancestors"):
            assert rules[name] == ["'self'"], f"{name} of {path}"
        assert rules["object-src"] == ["'none'"] and rules["connect-src"] == ["'self'", "data:", "blob:"]


def test_who_guesses_is_not_listened_to_for_a_while(place: Path, running: Path) -> None:
    app = App(place, running, "--no-browser", code=HASTY)
    try:
        let_in = app.ask(f"/login?token={app.token}")
        assert let_in.status == 302
        cookie = let_in.headers["Set-Cookie"].partition(";")[0]
        for number in range(5):
            assert app.ask(f"/?token=guess-{number}").status == 302
        for path in ("/?token=guess-5", f"/login?token={app.token}"):
            answer = app.ask(path)
            assert answer.status == 429 and re.fullmatch(r"Too many wrong tokens. Try again in [1-4] s.", answer.reason)
        assert app.ask("/login", Authorization="token guess-6").status == 429
        assert app.ask("/login", Cookie=cookie).status == 302, "who is in stays in"
        assert app.ask("/login").status == 200, "and the door is there"
        eventually(lambda: app.ask(f"/login?token={app.token}").status == 302, "the token is good again")
        assert "Traceback" not in app.end()
    finally:
        app.end()


def test_the_page_speaks_its_users_language_and_of_no_cells(
    place: Path, running: Path, tab: Callable[[], Page]
) -> None:
    app = App(place, running, "--no-browser", "--lang", "zh")
    try:
        page = tab()
        page.goto(app.base)
        expect(page.locator("html")).to_have_attribute("lang", "zh")
        page.goto(app.url)
        assert page.evaluate("document.documentElement.lang") == "zh" and page.title() == "zimage studio"
        expect(page.locator(".zk-studio")).to_have_attribute("lang", "zh-CN", timeout=60_000)
        expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
        page.locator(".zk-language").last.select_option("en")
        expect(page.locator("html")).to_have_attribute("lang", "en")
        page.get_by_role("button", name="Library", exact=True).click()
        expect(page.get_by_role("heading", name="Library", exact=True)).to_be_visible()
        assert "running cell" not in page.content() and "Run this cell" not in page.inner_text("body")
    finally:
        app.end()


def test_two_tabs_have_two_kernels_and_one_session(app: App, tab: Callable[[], Page]) -> None:
    before = app.kernels()
    first, second = tab(), tab()
    for number, page in enumerate((first, second), 1):
        page.goto(app.url)
        studio(page)
        assert len(app.kernels() - before) == number
    for page in (first, second):
        page.get_by_role("textbox", name="Prompt", exact=True).fill("a red balloon")
        page.get_by_role("button", name="Generate").click()
        expect(page.locator(".zk-thumb").first).to_be_visible(timeout=120_000)
    assert app.status().model_loads == 1
    expect(first.get_by_role("button", name="Generate")).to_be_in_viewport()  # a new picture does not move the page
    picture = first.locator(".zk-picture")
    assert picture.evaluate("async (image) => { await image.decode(); return image.naturalWidth; }") == 256
    if AXE.is_file():
        first.add_script_tag(content=AXE.read_text("utf-8"))
        assert first.evaluate(SEEN_BY_AXE, "body") == []
    SHOTS.mkdir(parents=True, exist_ok=True)
    first.screenshot(path=SHOTS / "app.png")
    first.close(run_before_unload=True)
    eventually(lambda: len(app.kernels() - before) == 1, "the closed tab's kernel has ended")
    studio(second)


def test_the_browser_that_is_opened_gets_in_once_and_ctrl_c_leaves_the_session(
    place: Path, running: Path, tmp_path: Path, tab: Callable[[], Page]
) -> None:
    opened, recorder = tmp_path / "opened", tmp_path / "record.py"
    recorder.write_text(RECORD)
    app = App(place, running, BROWSER=f"{sys.executable} {recorder} {opened} %s")
    eventually(lambda: opened.exists() and opened.read_text() != "", "the browser was opened")
    url = opened.read_text()
    assert app.token not in url, "other users can read a browser's command line"
    page = tab()
    page.goto(url)
    studio(page)
    again = app.ask("/" + url.removeprefix(app.base))
    assert (again.status, again.headers["Location"].split("?")[0]) == (302, "/login")

    kernels = app.kernels()
    assert kernels
    said = app.end()
    assert app.process.returncode == 0
    assert "your session keeps running" in said
    assert "Traceback" not in said
    assert not any(psutil.pid_exists(pid) for pid in kernels)
    assert launch.read_session_file(app.state / launch.FILE).alive()


def test_the_kernel_of_a_page_that_was_lost_goes_too(place: Path, running: Path, tab: Callable[[], Page]) -> None:
    app = App(place, running, "--no-browser", code=IMPATIENT)
    try:
        kept, lost = tab(), tab()
        kept.goto(app.url)
        studio(kept)
        (kernel,) = app.kernels()
        lost.goto(app.url)
        studio(lost)
        assert len(app.kernels()) == 2
        lost.close(run_before_unload=False)  # as a crash: it cannot say that it goes
        eventually(lambda: app.kernels() == {kernel}, "only the page that is still open has a kernel")
        studio(kept)
    finally:
        app.end()


def test_a_page_without_a_token_is_open_to_this_machine(place: Path, running: Path, tab: Callable[[], Page]) -> None:
    app = App(place, running, "--no-browser", "--token", "")
    try:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", app.url)
        page = tab()
        page.goto(app.url)
        studio(page)
        assert app.ask("/", Host="elsewhere.example").status == 403, "but not to other sites' pages"
    finally:
        app.end()


def test_f5_in_the_midst_of_a_batch_loses_nothing(place: Path, running: Path, tab: Callable[[], Page]) -> None:
    app = App(place, running, "--no-browser", ZIMAGE_OUTPUTS=str(place / "f5"))
    try:
        page, asked = tab(), list[str]()
        page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
        page.goto(app.url)
        studio(page)
        page.get_by_role("textbox", name="Prompt", exact=True).fill("a red lantern")
        page.get_by_label("How many").fill("12")
        page.get_by_role("button", name="Generate").click()
        expect(page.locator(".zk-thumb").nth(1)).to_be_visible(timeout=120_000)
        kernels = app.kernels()
        for _ in range(2):
            page.reload()
            studio(page)
            expect(page.get_by_role("textbox", name="Prompt", exact=True)).to_have_value("a red lantern")
        eventually(lambda: not app.kernels() & kernels, "the page has a kernel of its own again")
        expect(page.locator(".zk-thumb")).to_have_count(12, timeout=120_000)
        assert asked == [], "nothing would have been lost, so nothing was asked"
        page.get_by_role("button", name="Library", exact=True).click()
        expect(page.locator(".zk-library-told")).to_contain_text("12 pictures")
        page.get_by_label("Save pictures").uncheck()
        page.get_by_label("How many").fill("1")
        page.get_by_role("button", name="Generate").click()
        expect(page.locator(".zk-thumb")).to_have_count(13, timeout=60_000)
        page.reload()
        assert asked == ["beforeunload"], "the last one was not saved"
    finally:
        app.end()
