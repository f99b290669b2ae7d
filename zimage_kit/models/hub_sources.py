"""The two hubs that models come from, each through its own client, behind one small interface.

A source lists a repository's files and downloads some of them into a folder. The clients resume and retry; `hub.py`
decides what to download and checks what arrived.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import socket
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

REACH_SECONDS = 4.0  # how long to wait for a hub to answer before calling the machine offline


@dataclass(frozen=True)
class RemoteFile:
    """A file of a hub repository: its path there, size in bytes, and SHA-256 where the hub gives it."""

    path: str
    size: int
    sha256: str | None = None


Received = Callable[[str | None, int], None]
"""Called from download threads with (path, or None if the client does not give it; number of new bytes)."""


class Source(Protocol):
    """A hub. `endpoint` is its address, `cache` the folder of its own cache if the user has named one."""

    name: str
    title: str
    endpoint: str
    cache: Path | None

    def listing(self, repository: str) -> list[RemoteFile]:
        """List every file of the repository. Raises what the client raises."""

    def fetch(self, repository: str, files: Sequence[RemoteFile], directory: Path | None, received: Received) -> Path:
        """Download `files` into `directory` (None: the hub's own cache) and return the folder that holds them."""


class ModelScope:
    """ModelScope, through the light client in its package `modelscope`, which needs no torch.

    Partial files stay on the disk and are resumed in the next run. `MODELSCOPE_ENDPOINT` and `MODELSCOPE_CACHE` are
    respected.
    """

    name = "modelscope"
    title = "ModelScope"

    def __init__(self) -> None:
        self.endpoint = os.environ.get("MODELSCOPE_ENDPOINT") or "https://modelscope.cn"
        if "//" not in self.endpoint:
            self.endpoint = f"https://{self.endpoint}"
        cache = os.environ.get("MODELSCOPE_CACHE")
        self.cache = Path(cache).expanduser() if cache else None

    def _client(self) -> Any:
        from modelscope_hub import HubApi

        return HubApi(endpoint=self.endpoint)

    def listing(self, repository: str) -> list[RemoteFile]:
        """List every file of the repository, each with its SHA-256."""
        with _quiet("modelscope_hub"):
            found = self._client().list_repo_files(repository, "model")
        return [RemoteFile(f.path, f.size or 0, f.sha256) for f in found if f.type != "tree"]

    def fetch(self, repository: str, files: Sequence[RemoteFile], directory: Path | None, received: Received) -> Path:
        """Download `files`, except those that are there with the right SHA-256."""
        from modelscope_hub import _download as client

        class Count(client.ProgressCallback):  # type: ignore[misc]  # one instance a file, made by the client
            def update(self, size: int) -> None:
                received(self.filename, size)

        entries = [{"Path": f.path, "Size": f.size, "Sha256": f.sha256, "Type": "blob"} for f in files]
        with _quiet("modelscope_hub", bars_of=client):
            folder = self._client().download_repo(
                repository,
                "model",
                local_dir=directory,
                cache_dir=None if directory else self.cache,
                file_list=entries,
                progress_callbacks=[Count],
            )
        return Path(folder)


class HuggingFace:
    """Hugging Face, through its own client. Finished files are kept; an interrupted one is resumed in the same run.

    The client writes each attempt to a new temporary file, so after a killed run a partial file starts again from its
    first byte. `HF_ENDPOINT` and `HF_HOME` are respected.
    """

    name = "huggingface"
    title = "Hugging Face"

    def __init__(self) -> None:
        self.endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")
        home, hub = os.environ.get("HF_HOME"), os.environ.get("HF_HUB_CACHE")
        self.cache = Path(hub).expanduser() if hub else Path(home).expanduser() / "hub" if home else None

    def listing(self, repository: str) -> list[RemoteFile]:
        """List every file of the repository; those in large-file storage (LFS) have their SHA-256."""
        from huggingface_hub import HfApi
        from huggingface_hub.hf_api import RepoFile

        tree = HfApi(endpoint=self.endpoint).list_repo_tree(repository, recursive=True)
        files = [entry for entry in tree if isinstance(entry, RepoFile)]
        return [RemoteFile(f.path, f.size, f.lfs.sha256 if f.lfs else None) for f in files]

    def fetch(self, repository: str, files: Sequence[RemoteFile], directory: Path | None, received: Received) -> Path:
        """Download `files`, except those that are there in the wanted revision."""
        from huggingface_hub import snapshot_download
        from tqdm.std import tqdm

        class Count(tqdm):  # type: ignore[misc]  # shows nothing; it only passes the client's numbers on
            def __init__(self, *args: Any, **fields: Any) -> None:
                description = str(fields.get("desc", ""))
                # Two bars count bytes, one those from the network and one those in the file: use the second.
                self.counts = fields.get("unit") == "B" and not description.startswith("Downloading bytes")
                fields["disable"] = True
                fields.pop("name", None)
                super().__init__(*args, **fields)

            def update(self, n: float | None = 1) -> None:
                if self.counts and n:
                    received(None, int(n))

        with _quiet("huggingface_hub"):
            folder = snapshot_download(
                repository,
                endpoint=self.endpoint,
                local_dir=directory,
                cache_dir=None if directory else self.cache,
                allow_patterns=[f.path for f in files],
                max_workers=4,
                tqdm_class=Count,
            )
        return Path(folder)


SOURCES: dict[str, Callable[[], Source]] = {"modelscope": ModelScope, "huggingface": HuggingFace}


def reachable(endpoint: str, seconds: float = REACH_SECONDS) -> str | None:
    """Try to connect to a hub, or to the proxy before it. Returns None if it works, else the reason.

    The clients retry for 15 seconds or longer; a machine without a network should say so at once.
    """
    address = urlsplit(endpoint)
    proxy = urllib.request.getproxies().get(address.scheme)
    if proxy and not urllib.request.proxy_bypass(address.hostname or ""):
        address = urlsplit(proxy if "//" in proxy else f"http://{proxy}")
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        with socket.create_connection((address.hostname or "", port), timeout=seconds):
            return None
    except OSError as error:
        return f"{address.hostname}:{port} does not answer ({error.strerror or error})"


@contextlib.contextmanager
def _quiet(logger: str, bars_of: Any = None) -> Iterator[None]:
    """Hide a client's own messages and progress bars, since we show the same ourselves."""
    importlib.import_module(logger)  # first, since some set their level on import
    log = logging.getLogger(logger)
    level, bar = log.level, getattr(bars_of, "tqdm", None)
    if not os.environ.get("ZIMAGE_DEBUG"):
        log.setLevel(logging.CRITICAL)
    if bar is not None:
        bars_of.tqdm = functools.partial(bar, disable=True)
    try:
        yield
    finally:
        log.setLevel(level)
        if bar is not None:
            bars_of.tqdm = bar
