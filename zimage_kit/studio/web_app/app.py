"""The studio as a web page: Voila serves one notebook, each tab has a kernel of its own, all share the user's session.

By default Voila accepts anyone who knows the port, loads fonts from other hosts and keeps the kernels of lost pages.
This module adds login, headers, page templates and kernel culling.
"""

from __future__ import annotations

import hmac
import logging
import math
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_server.auth.identity import PasswordIdentityProvider, User
from jupyter_server.base.handlers import JupyterHandler
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
from ...text.catalogues import language
from .address import Keys, is_loopback
from .attempts import Attempts

Theme = Literal["light", "dark"]

NOTEBOOK = Path(__file__).parent / "studio.ipynb"
TEMPLATES = Path(__file__).parent / "page"
PAGE_LOST_SECONDS = 600
"""How long a kernel waits for its page to reconnect after sleep or a lost network."""
CULL_SECONDS = 30
"""Interval between checks for such kernels."""
HEADERS = {
    # the browser blocks requests to other hosts; widgets' scripts are blobs, their pictures data URLs
    "Content-Security-Policy": (
        "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
        "style-src 'self' 'unsafe-inline'; connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; "
        "form-action 'self'; frame-ancestors 'self'"
    ),
    "Referrer-Policy": "same-origin",
}


class ThisPythonOnly(KernelSpecManager):
    """Kernels use the Python that runs this, whatever other python3 kernels are installed."""

    kernel_dirs: list[str] = List([])  # type: ignore[assignment]


class PageKernels(AsyncMappingKernelManager):
    """One kernel per page, started in the current folder and culled some time after its page is lost.

    A page that is closed ends its kernel itself; culling is for crashes and lost networks.
    """

    cull_idle_timeout, cull_interval = PAGE_LOST_SECONDS, CULL_SECONDS

    def cwd_for_path(self, path: str, **_: Any) -> str:
        """The folder of the command, not that of the notebook in the package."""
        return str(Path.cwd())

    def notify_disconnect(self, kernel_id: str) -> None:
        """Count the idle time from the disconnect, not from the last click."""
        super().notify_disconnect(kernel_id)  # type: ignore[no-untyped-call]
        if kernel_id in self:
            self.get_kernel(kernel_id).last_activity = datetime.now(UTC)  # type: ignore[attr-defined]


class StudioPage(TornadoVoilaHandler):  # type: ignore[misc]  # Voila has no types
    """The page. Redirects once the cookie is set, so that the token does not stay in the address bar or history."""

    @authenticated
    async def get(self, path: str | None = None) -> None:
        """Serve the page with a kernel of its own. There is nothing below it: not what Jupyter has there, no files."""
        if path:
            raise HTTPError(404)
        if "token" in self.request.query_arguments:
            self.redirect(self.request.path)
        else:
            await super().get(path)


class PageClosed(VoilaShutdownKernelHandler):  # type: ignore[misc]
    """A page is being closed: end its kernel.

    It reports this by a beacon, which cannot carry the XSRF cookie's token; so its Origin header is checked instead.
    """

    def check_xsrf_cookie(self) -> None:
        """Raises HTTPError for a request from another site."""
        if "Origin" not in self.request.headers or not self.check_origin():
            raise HTTPError(403)


class TokenLogin(PasswordIdentityProvider):
    """Accepts the token, and one time the key given to the browser that `zimage app` opens.

    Wrong ones are counted; after too many none is looked at for a while. Who has the cookie is not concerned.
    """

    one_time_key = ""
    allow_password_change = False  # it would go into the user's own Jupyter configuration

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.attempts = Attempts()

    async def get_user_token(self, handler: JupyterHandler) -> User | None:  # type: ignore[override]
        """The user whose token the request has; None without one, or with a wrong one."""
        given = bool(self.token) and bool(PasswordIdentityProvider.get_token(self, handler))
        if given:
            self._check_attempts(handler)
        user = await super().get_user_token(handler)
        if given and user is None:
            self.attempts.failed(str(handler.request.remote_ip))
        return user

    def process_login_form(self, handler: JupyterHandler) -> User | None:  # type: ignore[override]
        """The user who filled in the login page; None for a wrong token."""
        self._check_attempts(handler)
        user: User | None = super().process_login_form(handler)
        if user is None:
            self.attempts.failed(str(handler.request.remote_ip))
        return user

    def _check_attempts(self, handler: JupyterHandler) -> None:
        wait = math.ceil(self.attempts.seconds_to_wait(str(handler.request.remote_ip)))
        if wait > 0:
            handler.current_user = None  # the page that says so asks
            raise HTTPError(429, reason=f"Too many wrong tokens. Try again in {wait} s.")

    def get_token(self, handler: RequestHandler) -> str | None:
        """The request's token; the one-time key counts as the token once."""
        given = super().get_token(handler)
        if self.one_time_key and given and hmac.compare_digest(given.encode(), self.one_time_key.encode()):
            self.one_time_key = ""
            return self.token
        return given


class Server(Voila):  # type: ignore[misc]
    """Voila on a given socket. `when_up` is called when it answers."""

    def __init__(self, listening: socket.socket, keys: Keys, when_up: Callable[[], None], **settings: Any) -> None:
        super().__init__(
            token=keys.token, cookie_secret=keys.cookie_secret, identity_provider_class=TokenLogin, **settings
        )
        self._listening, self._one_time_key, self._when_up = listening, keys.one_time_key, when_up

    def setup_template_dirs(self) -> None:
        """Put our templates before Voila's own, which they extend."""
        super().setup_template_dirs()
        self.template_paths.insert(0, str(TEMPLATES))

    def init_settings(self) -> dict[str, Any]:
        """Use our login page as well."""
        settings: dict[str, Any] = super().init_settings()
        self.identity_provider.one_time_key = self._one_time_key
        settings["jinja2_env"].globals["language"] = language()
        loader = settings["jinja2_env"].loader
        loader.searchpath.insert(0, str(TEMPLATES))
        return settings

    def init_handlers(self) -> list[Any]:
        """Replace two of Voila's handlers by ours."""
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
    """Serve the page until Ctrl-C or SIGTERM. Must be called in the main thread.

    On a loopback address requests for another host name are refused, against DNS rebinding. On other addresses the
    token protects: a foreign site does not have its cookie.
    """
    config = Config()
    config.VoilaConfiguration = Config(
        theme=theme,
        allow_theme_override="NO",
        allow_template_override="NO",
        file_allowlist=[],  # the page needs none of the files beside its notebook
        show_tracebacks=True,  # only the user sees the page
        multi_kernel_manager_class=PageKernels,
        kernel_spec_manager_class=ThisPythonOnly,
    )
    config.HTMLExporter = Config(language_code=language())
    kernel_settings: dict[str, Any] = {}
    if not launch.WINDOWS:  # sockets in a private folder; any local user could connect to TCP ports
        config.KernelManager = Config(transport="ipc")
        kernel_settings["connection_dir_root"] = "/tmp"  # a socket's path is limited to about 100 bytes
    server = Server(
        listening,
        keys,
        when_up,
        config=config,
        config_file_paths=[],  # ignore other Voila configuration files
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
    """No log line per request."""
