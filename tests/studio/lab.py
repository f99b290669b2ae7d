"""A JupyterLab server of the tests' own: its settings, workspaces and kernels are in one temporary folder."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import nbformat

from zimage_kit.session.shared import launch

START_SECONDS, STOP_SECONDS = 60.0, 20.0
SETTINGS: dict[str, dict[str, Any]] = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # every cell is in the page, seen or not
    "docmanager-extension/plugin": {"autosave": False},
    "apputils-extension/notification": {"checkForUpdates": False, "fetchNews": "false"},
    "application-extension/shell": {"startMode": "single", "hiddenMode": "display"},
}


class Lab:
    """The server: `write` puts a notebook into it, `address` is where a browser finds that.

    `state` is the folder of the session that its kernels attach to; without it they start their own.
    """

    def __init__(self, place: Path, state: Path | None = None) -> None:
        self.place, self.token = place, secrets.token_hex(16)
        self.notebooks, self.runtime = (self._folder(name) for name in ("notebooks", "runtime"))
        self._own_session = state is None
        self.state = state or self._folder("state")
        self.outputs = self._folder("outputs")
        self._written = 0
        self._configure()
        self._log = (place / "server.log").open("wb")
        command = [sys.executable, "-m", "jupyterlab", "--no-browser"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            command.append("--allow-root")
        self._process = subprocess.Popen(
            command, env=self._environment(), cwd=self.notebooks, stdout=self._log, stderr=self._log
        )
        self.url = self._wait_until_up()

    def write(self, cells: list[str], env: Mapping[str, str] | None = None) -> Path:
        """A new notebook with these code cells, whose kernel has `env` on top of the server's environment."""
        self._written += 1
        name = f"notebook{self._written}"
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
        kernel = self._kernel(name, env or {})
        notebook.metadata["kernelspec"] = {"name": kernel, "display_name": kernel, "language": "python"}
        path = self.notebooks / f"{name}.ipynb"
        nbformat.write(notebook, path)
        return path

    def address(self, path: Path) -> str:
        """Of a notebook, alone in its page, in a workspace of its own."""
        return f"{self.url}doc/workspaces/{path.stem}/tree/{path.name}?token={self.token}"

    def connection_file(self, kernel: str) -> Path:
        return self.runtime / f"kernel-{kernel}.json"

    def end_kernel(self, kernel: str) -> None:
        self._ask("DELETE", f"api/kernels/{kernel}")

    def kernels(self) -> list[str]:
        """The ids of those that run."""
        return [each["id"] for each in json.loads(self._ask("GET", "api/kernels"))]

    def log(self) -> str:
        return (self.place / "server.log").read_text(errors="replace")

    def end(self) -> None:
        """The server, its kernels, and the session that they started where it is theirs."""
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
        if self._own_session and (self.state / launch.FILE).exists():
            launch.kill(launch.read_session_file(self.state / launch.FILE))

    def _folder(self, *names: str) -> Path:
        folder = self.place.joinpath(*names)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _configure(self) -> None:
        config = {
            "ServerApp": {
                "ip": "127.0.0.1",
                "port": 0,  # a free one; the server says which
                "root_dir": str(self.notebooks),
                "terminals_enabled": False,
            },
            "IdentityProvider": {"token": self.token},
            "LabApp": {"expose_app_in_browser": True, "extension_manager": "readonly"},
        }
        (self._folder("config") / "jupyter_server_config.json").write_text(json.dumps(config))
        for name, settings in SETTINGS.items():
            plugin, part = name.split("/")
            folder = self._folder("settings", "@jupyterlab", plugin)
            (folder / f"{part}.jupyterlab-settings").write_text(json.dumps(settings))

    def _environment(self) -> dict[str, str]:
        ours = ("ZIMAGE_", "JUPYTER", "IPYTHON")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        return {
            **inherited,
            "HOME": str(self._folder("home")),
            "HF_HOME": str(self._folder("home", "huggingface")),
            "IPYTHONDIR": str(self._folder("ipython")),
            "JUPYTER_CONFIG_DIR": str(self._folder("config")),
            "JUPYTER_DATA_DIR": str(self._folder("data")),
            "JUPYTER_RUNTIME_DIR": str(self.runtime),
            "JUPYTERLAB_SETTINGS_DIR": str(self._folder("settings")),
            "JUPYTERLAB_WORKSPACES_DIR": str(self._folder("workspaces")),
            "OMP_NUM_THREADS": "1",
            "ZIMAGE_LANG": "en",
            "ZIMAGE_OUTPUTS": str(self.outputs),
            "ZIMAGE_STATE": str(self.state),
        }

    def _kernel(self, name: str, env: Mapping[str, str]) -> str:
        """A kernel of the Python that runs the tests; those with an environment of their own get a specification."""
        name = name if env else "tests"
        spec = {
            "argv": [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": name,
            "language": "python",
            "env": dict(env),
        }
        (self._folder("data", "kernels", name) / "kernel.json").write_text(json.dumps(spec))
        return name

    def _wait_until_up(self) -> str:
        """Until it answers; its address."""
        about = self.runtime / f"jpserver-{self._process.pid}.json"
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                self.url = str(json.loads(about.read_bytes())["url"])
                self._ask("GET", "api/status")
                return self.url
            except (OSError, ValueError):
                time.sleep(0.02)
        status = self._process.poll()
        self.end()
        raise RuntimeError(f"JupyterLab did not start (exit status {status}): {self.log()[-3000:]}")

    def _ask(self, method: str, path: str) -> bytes:
        request = Request(self.url + path, method=method, headers={"Authorization": f"token {self.token}"})
        with urlopen(request, timeout=30) as answer:
            return answer.read()
