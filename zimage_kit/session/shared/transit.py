"""Inputs on their way to a worker: by their paths on one machine, with their bytes to another.

A worker keeps what was sent in the user's cache, by its content and up to CACHE bytes; a path from another machine is
never looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import platformdirs

from ...errors import BadRequest
from ...recipe import asset
from ...recipe.request import Request

LARGEST, CACHE = 128 << 20, 1 << 30
"""Bytes of all inputs that are sent with one job, and of those that a worker keeps."""

Sent = dict[str, Any]
"""For each digest: its path on the client's machine ("" where it was not found), its file's name, its bytes or None."""


def assets_out(request: Request, *, with_bytes: bool) -> Sent:
    """A recipe's inputs for a message. One that is not here may be at the worker's. Raises BadRequest above LARGEST."""
    found: Sent = {}
    for each in asset.named(request):
        try:
            path = asset.find(each)
        except BadRequest:
            found[each.sha256] = {"path": "", "name": Path(each.place).name, "bytes": None}
            continue
        found[each.sha256] = {
            "path": str(path.absolute()),
            "name": Path(each.place).name,
            "bytes": path.read_bytes() if with_bytes else None,
        }
    total = sum(len(each["bytes"] or b"") for each in found.values())
    if total > LARGEST:
        raise BadRequest(
            f"the job's inputs have {total >> 20} MiB", expected=f"at most {LARGEST >> 20} to send to another machine"
        )
    return found


def assets_in(sent: Sent, *, here: bool) -> dict[str, Path]:
    """The files of a message's inputs: the client's own on its machine (`here`), else what was sent now or before.

    What is not found is left out; the check of the recipe says so. Raises BadRequest for bytes of another digest.
    """
    found, cache = {}, cache_folder()
    for digest, each in sent.items():
        given = asset.parsed(f"{asset.PREFIX}{digest}/{Path(each['name']).name}")
        assert given is not None
        if here and each["path"]:
            found[digest] = Path(each["path"])  # `asset.find` reads it before it takes it
        elif each["bytes"] is not None:
            if len(each["bytes"]) > asset.LARGEST:
                raise BadRequest(f"an input has {len(each['bytes']) >> 20} MiB", expected=f"{asset.LARGEST >> 20}")
            found[digest] = asset.put(cache, given, each["bytes"])
        elif (kept := asset.kept(cache, given)) is not None:
            found[digest] = kept
    for path in found.values():
        if path.is_relative_to(cache):
            asset.used(path)
    if any(each["bytes"] is not None for each in sent.values()):
        asset.limit(cache, CACHE, found.values())
    return found


def cache_folder() -> Path:
    """Where a worker keeps the inputs that clients on other machines sent."""
    return Path(platformdirs.user_cache_dir("zimage", appauthor=False)) / asset.FOLDER


def shared(sent: Sent, others: Iterable[Mapping[str, Any]]) -> None:
    """Let equal bytes of waiting jobs be one object: the cells of a grid have one photograph."""
    whole = [digest for digest, each in sent.items() if each["bytes"] is not None]
    if not whole:
        return
    for other in others:
        if alike := [digest for digest in whole if digest in other and other[digest]["bytes"] == sent[digest]["bytes"]]:
            for digest in alike:
                sent[digest]["bytes"] = other[digest]["bytes"]
            return  # the others have the same objects
