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
from collections.abc import Callable, Iterator, Sequence
from glob import escape
from pathlib import Path
from typing import Any, Protocol

from ..files import expanded
from . import hub_network as network
from .hub_files import RemoteFile
from .hub_network import REACH_SECONDS, Endpoint

__all__ = ["SOURCES", "HuggingFace", "ModelScope", "Received", "RemoteFile", "Source"]

Received = Callable[[str | None, int], None]
"""Called from download threads with (path, or None if the client does not give it; number of new bytes)."""


class Source(Protocol):
    """A hub. `at` is its address, `cache` the folder of its own cache if the user has named one.

    `socks_package`: what its client needs for a SOCKS proxy, as (module, name on PyPI).
    """

    name: str
    title: str
    socks_package: tuple[str, str]
    at: Endpoint
    cache: Path | None

    def contact(self) -> None:
        """Ask the hub for its first page, once, the way that the client goes. Raises what that raises."""

    def license(self, repository: str) -> str:
        """The licence that the hub names for the repository, "" if none. Raises what the client raises."""

    def listing(self, repository: str) -> list[RemoteFile]:
        """List every file of the repository. Raises what the client raises."""

    def fetch(
        self,
        repository: str,
        files: Sequence[RemoteFile],
        directory: Path | None,
        received: Received,
        again: bool = False,
    ) -> Path:
        """Download `files` into `directory` (None: the hub's own cache) and return the folder that holds them.

        `again`: from the hub, even where its own cache has them.
        """


class ModelScope:
    """ModelScope, through the light client in its package `modelscope`, which needs no torch.

    Partial files stay on the disk and are resumed in the next run. `MODELSCOPE_ENDPOINT` and `MODELSCOPE_CACHE` are
    respected.
    """

    name = "modelscope"
    title = "ModelScope"
    socks_package = "socks", "pysocks"

    def __init__(self) -> None:
        self.at = network.modelscope()
        cache = os.environ.get("MODELSCOPE_CACHE")
        self.cache = expanded(Path(cache)) if cache else None

    def _client(self) -> Any:
        from modelscope_hub import HubApi

        return HubApi(endpoint=self.at.url)

    def contact(self) -> None:
        """Ask through requests, which the client uses."""
        import requests

        requests.head(self.at.url, timeout=REACH_SECONDS, allow_redirects=False)

    def license(self, repository: str) -> str:
        """The licence in the repository's metadata."""
        with _quiet("modelscope_hub"):
            return str(self._client().get_repo(repository, "model").license or "")

    def listing(self, repository: str) -> list[RemoteFile]:
        """List every file of the repository, each with its SHA-256."""
        with _quiet("modelscope_hub"):
            found = self._client().list_repo_files(repository, "model")
        return [RemoteFile(f.path, f.size or 0, f.sha256) for f in found if f.type != "tree"]

    def fetch(
        self,
        repository: str,
        files: Sequence[RemoteFile],
        directory: Path | None,
        received: Received,
        again: bool = False,
    ) -> Path:
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
    socks_package = "socksio", "socksio"

    def __init__(self) -> None:
        self.at = network.hugging_face()
        home, hub = os.environ.get("HF_HOME"), os.environ.get("HF_HUB_CACHE")
        self.cache = expanded(Path(hub)) if hub else expanded(Path(home)) / "hub" if home else None

    def contact(self) -> None:
        """Ask through the client's own session, made anew: an older one keeps the proxies of its time."""
        client = _hugging_face()
        client.close_session()
        client.get_session().head(self.at.url, timeout=REACH_SECONDS, follow_redirects=False)

    def license(self, repository: str) -> str:
        """The licence in the model card's metadata."""
        with _quiet("huggingface_hub"):
            info = _hugging_face().HfApi(endpoint=self.at.url).model_info(repository, timeout=REACH_SECONDS)
        named = info.card_data.get("license") if info.card_data else None
        tagged = (tag.removeprefix("license:") for tag in info.tags or () if tag.startswith("license:"))
        return str(named or next(tagged, ""))

    def listing(self, repository: str) -> list[RemoteFile]:
        """List every file of the repository: those in large-file storage (LFS) with SHA-256, others with Git's sum."""
        from huggingface_hub.hf_api import RepoFile

        with _quiet("huggingface_hub"):
            tree = _hugging_face().HfApi(endpoint=self.at.url).list_repo_tree(repository, recursive=True)
            files = [entry for entry in tree if isinstance(entry, RepoFile)]
        return [
            RemoteFile(f.path, f.size, f.lfs.sha256) if f.lfs else RemoteFile(f.path, f.size, blob=f.blob_id)
            for f in files
        ]

    def fetch(
        self,
        repository: str,
        files: Sequence[RemoteFile],
        directory: Path | None,
        received: Received,
        again: bool = False,
    ) -> Path:
        """Download `files`, except those that are there in the wanted revision."""
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
            folder = _hugging_face().snapshot_download(
                repository,
                endpoint=self.at.url,
                local_dir=directory,
                cache_dir=None if directory else self.cache,
                allow_patterns=[escape(f.path) for f in files],
                force_download=again,
                max_workers=4,
                tqdm_class=Count,
            )
        return Path(folder)


def _hugging_face() -> Any:
    """Hugging Face's client, as with HF_HUB_DISABLE_TELEMETRY.

    Without that it asks the hub for a list of coding agents once a day (version 2.4), also where the files come from a
    mirror, and names the one it runs in, and torch's version, to it.
    """
    import huggingface_hub

    huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True
    return huggingface_hub


SOURCES: dict[str, Callable[[], Source]] = {"modelscope": ModelScope, "huggingface": HuggingFace}


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
