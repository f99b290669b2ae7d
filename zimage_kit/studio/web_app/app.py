"""The studio as a web page: Voila serves one notebook, each tab has a kernel of its own, all share the user's session.

Voila listens to whoever knows its port, fetches fonts from elsewhere and lets kernels of lost pages live; what is said
here about doors, headers, pages and kernels is what it is told differently.
"""

from __future__ import annotations

import hmac
import logging
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_server.auth.identity import PasswordIdentityProvider
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.web import HTTPError, RequestHandler, authenticated
from traitlets import List
from traitlets.config import Config
from voila.app import Voila
from voila.shutdown_kernel_handler import VoilaShutdownKernelHandler
from voila.tornado.handler import TornadoVoilaHandler

from ...session.shared import launch
from .address import Keys, is_loopback

Theme = Literal["light", "dark"]

NOTEBOOK = Path(__file__).parent / "studio.ipynb"
TEMPLATES = Path(__file__).parent / "page"
PAGE_LOST_SECONDS = 600
"""So long a kernel waits for its page to come back: a computer that slept, a network that was gone."""
CULL_SECONDS = 30
"""Between two looks for such kernels."""
HEADERS = {
    # the browser itself refuses what would leave this machine; widgets' scripts are blobs, their pictures data
    "Content-Security-Policy": (
        "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        "style-src 'self' 'unsafe-inline'; connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; "
        "form-action 'self'; frame-ancestors 'self'"
    ),
    "Referrer-Policy": "same-origin",
}


class ThisPythonOnly(KernelSpecManager):
    """Kernels are of the Python that runs this, whatever else is called python3 on the machine."""

    kernel_dirs: list[str] = List([])  # type: ignore[assignment]


class PageKernels(AsyncMappingKernelManager):
    """One for each page. It starts where the command was given, and ends a while after its page has gone.

    A page that is closed says so; this is about those that could not: a crash, a lost network.
    """

    cull_idle_timeout, cull_interval = PAGE_LOST_SECONDS, CULL_SECONDS

    def cwd_for_path(self, path: str, **_: Any) -> str:
        """The folder of the command, not that of the notebook in the package."""
        return str(Path.cwd())

    def notify_disconnect(self, kernel_id: str) -> None:
        """Count the time from here, not from the last click."""
        super().notify_disconnect(kernel_id)  # type: ignore[no-untyped-call]
        if kernel_id in self:
            self.get_kernel(kernel_id).last_activity = datetime.now(UTC)  # type: ignore[attr-defined]


class StudioPage(TornadoVoilaHandler):  # type: ignore[misc]  # Voila has no types
    """The page. A token goes out of the address bar, and so out of bookmarks and history, once its cookie is set."""

    @authenticated
    async def get(self, path: str | None = None) -> None:
        """Show it, in a kernel of its own."""
        if "token" in self.request.query_arguments:
            self.redirect(self.request.path)
        else:
            await super().get(path)


class PageClosed(VoilaShutdownKernelHandler):  # type: ignore[misc]
    """A page says that it is being closed: its kernel ends.

    It says so by a beacon, which cannot carry the secret that keeps foreign sites from posting here; but every browser
    names the site that a beacon comes from.
    """

    def check_xsrf_cookie(self) -> None:
        """Raises HTTPError for one that comes from elsewhere."""
        if "Origin" not in self.request.headers or not self.check_origin():
            raise HTTPError(403)


class TokenLogin(PasswordIdentityProvider):
    """Takes the token, and once the key of the browser that the command opens."""

    one_time_key = ""

    def get_token(self, handler: RequestHandler) -> str | None:
        """What a request brings, with the token in place of that key."""
        given = super().get_token(handler)
        if self.one_time_key and given and hmac.compare_digest(given.encode(), self.one_time_key.encode()):
            self.one_time_key = ""
            return self.token
        return given


class Server(Voila):  # type: ignore[misc]
    """Voila on a socket that is there already. `when_up` is called when it answers."""

    def __init__(self, listening: socket.socket, keys: Keys, when_up: Callable[[], None], **settings: Any) -> None:
        super().__init__(
            token=keys.token, cookie_secret=keys.cookie_secret, identity_provider_class=TokenLogin, **settings
        )
        self._listening, self._one_time_key, self._when_up = listening, keys.one_time_key, when_up

    def setup_template_dirs(self) -> None:
        """Our page comes before Voila's own, and extends it."""
        super().setup_template_dirs()
        self.template_paths.insert(0, str(TEMPLATES))

    def init_settings(self) -> dict[str, Any]:
        """Our page for logging in, too."""
        settings: dict[str, Any] = super().init_settings()
        self.identity_provider.one_time_key = self._one_time_key
        loader = settings["jinja2_env"].loader
        loader.searchpath.insert(0, str(TEMPLATES))
        return settings

    def init_handlers(self) -> list[Any]:
        """Ours in place of Voila's own."""
        ours = {TornadoVoilaHandler: StudioPage, VoilaShutdownKernelHandler: PageClosed}
        return [(path, ours.get(handler, handler), *rest) for path, handler, *rest in super().init_handlers()]

    def listen(self) -> None:
        """Serve until Ctrl-C or SIGTERM, then end the kernels."""
        server = HTTPServer(self.app)
        server.add_socket(self._listening)
        self.ioloop = IOLoop.current()
        self.ioloop.add_callback(self._when_up)
        try:
            self.ioloop.start()
        except KeyboardInterrupt:
            pass
        finally:
            server.stop()
            self.stop()


def serve(
    listening: socket.socket,
    host: str,
    port: int,
    keys: Keys,
    theme: Theme = "light",
    when_up: Callable[[], None] = lambda: None,
    notebook: Path = NOTEBOOK,
) -> None:
    """Serve the page until somebody ends it. Must be called in the main thread: it answers to Ctrl-C and SIGTERM.

    On a loopback address a request that names another host is refused: a foreign site that lets its name point here
    gets nothing. Elsewhere it is the token, whose cookie such a site does not have.
    """
    config = Config()
    config.VoilaConfiguration = Config(
        theme=theme,
        allow_theme_override="NO",
        allow_template_override="NO",
        show_tracebacks=True,  # whoever sees the page is its user
        multi_kernel_manager_class=PageKernels,
        kernel_spec_manager_class=ThisPythonOnly,
    )
    kernel_settings: dict[str, Any] = {}
    if not launch.WINDOWS:  # sockets in a private folder; TCP ports are any local user's
        config.KernelManager = Config(transport="ipc")
        kernel_settings["connection_dir_root"] = "/tmp"  # a socket's path is limited to about 100 bytes
    server = Server(
        listening,
        keys,
        when_up,
        config=config,
        config_file_paths=[],  # not what a file in this folder or of another Voila says
        log_level=logging.ERROR,
        ip=host,
        port=port,
        tornado_settings={
            "allow_remote_access": not is_loopback(host),
            "headers": HEADERS,
            "log_function": _log_nothing,
            "ws_ping_timeout": 30_000,
        },
        **kernel_settings,
    )
    server.initialize([str(notebook)])
    server.start()


def _log_nothing(_: Any) -> None:
    """About requests: a refused one has been told to whoever made it."""
