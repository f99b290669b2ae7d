"""A hub on 127.0.0.1 that serves one folder as a model repository, in ModelScope's and in Hugging Face's protocol.

The real clients talk to it. It can cut a connection, hold one open in the middle of a file, and serve wrong bytes; it
remembers which bytes were asked for and which were sent.
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Asked:
    """One request for a file's bytes: from which byte on, how many were sent."""

    path: str
    start: int
    sent: int = 0


@dataclass
class HubServer:
    root: Path
    repository: str = "someone/miniature"
    cut: dict[str, int] = field(default_factory=dict)
    """path -> close the connection after so many bytes, once"""
    hold: dict[str, int] = field(default_factory=dict)
    """path -> stop after so many bytes until `release` is set"""
    wrong: dict[str, int] = field(default_factory=dict)
    """path -> how many times to serve the file with its last byte changed"""
    prefix: str = ""
    """the path before everything, as some mirrors have one"""
    license: str = ""
    listed_too: list[str] = field(default_factory=list)
    """names that the listing has beside the files that are there"""
    pages: tuple[str, ...] = ()
    """what is asked for by a URL with one of these gets a web page, as from a network's login"""
    certificate: tuple[Path, Path] | None = None
    """certificate and key: the hub speaks TLS"""
    asked: list[Asked] = field(default_factory=list)
    heard: list[tuple[str, str]] = field(default_factory=list)
    """every request: its path, and its User-Agent"""
    held: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> HubServer:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hub._answer(self)

            do_HEAD = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        if self.certificate is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(*self.certificate)
            self._http.socket = tls.wrap_socket(self._http.socket, server_side=True)
        self.address = f"127.0.0.1:{self._http.server_port}{self.prefix}"
        self.endpoint = f"http{'s' if self.certificate else ''}://{self.address}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    @property
    def environment(self) -> dict[str, str]:
        """What points the real clients here."""
        return {"MODELSCOPE_ENDPOINT": self.endpoint, "HF_ENDPOINT": self.endpoint, "NO_PROXY": "127.0.0.1"}

    def files(self) -> dict[str, bytes]:
        return {
            p.relative_to(self.root).as_posix(): p.read_bytes() for p in sorted(self.root.rglob("*")) if p.is_file()
        }

    def starts(self, path: str) -> list[int]:
        """From which byte each request for `path` started."""
        return [asked.start for asked in self.asked if asked.path == path]

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        self.heard.append((request.path, request.headers.get("User-Agent", "")))
        url = urlsplit(request.path)
        query = parse_qs(url.query)
        if not url.path.startswith(self.prefix) or any(page in request.path for page in self.pages):
            _page(request)
            return
        parts = unquote(url.path.removeprefix(self.prefix))
        files = self.files()
        listing = {**files, **dict.fromkeys(self.listed_too, b"abc")}
        if parts == f"/api/v1/models/{self.repository}/repo/files":
            listed = [
                {"Path": p, "Name": Path(p).name, "Type": "blob", "Size": len(b), "Sha256": _sha256(b)}
                for p, b in listing.items()
            ]
            _json(request, {"Code": 200, "Success": True, "Data": {"Files": listed}})
        elif parts == f"/api/v1/models/{self.repository}/repo":
            self._bytes(request, query["FilePath"][0], files, {})
        elif parts.startswith("/api/v1/"):
            _json(request, {"Code": 200, "Success": True, "Data": {}})
        elif parts.startswith(f"/api/models/{self.repository}/tree/"):
            entries = []
            for path, content in listing.items():
                entry = {"type": "file", "path": path, "size": len(content), "oid": _git_blob(content)}
                if path.endswith(".safetensors"):
                    entry["lfs"] = {"oid": _sha256(content), "size": len(content), "pointerSize": 130}
                entries.append(entry)
            _json(request, entries)
        elif parts.startswith(f"/api/models/{self.repository}"):
            card = {"license": self.license} if self.license else {}
            known = {"id": self.repository, "sha": COMMIT, "siblings": [], "tags": [], "private": False}
            _json(request, {**known, "cardData": card})
        elif parts == f"/openapi/v1/models/{self.repository}":
            _json(request, {"success": True, "data": {"id": self.repository, "license": self.license}})
        elif found := re.fullmatch(rf"/{re.escape(self.repository)}/resolve/[^/]+/(.+)", parts):
            path = found[1]
            content = files.get(path, b"")
            etag = _sha256(content) if path.endswith(".safetensors") else _git_blob(content)
            self._bytes(request, path, files, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})
        else:
            _json(request, {"Code": 404, "Message": "not here", "Success": False}, status=404)

    def _bytes(
        self, request: BaseHTTPRequestHandler, path: str, files: dict[str, bytes], headers: dict[str, str]
    ) -> None:
        if path not in files:
            _json(request, {"Code": 404, "Message": f"no file {path}"}, status=404)
            return
        content = files[path]
        asked_range = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        start = int(asked_range[1]) if asked_range else 0
        if request.command == "GET" and self.wrong.get(path, 0) > 0:
            self.wrong[path] -= 1
            content = content[:-1] + bytes([content[-1] ^ 0xFF])
        body = content[start:]
        request.send_response(206 if asked_range else 200)
        request.send_header("Content-Length", str(len(body)))
        request.send_header("Accept-Ranges", "bytes")
        if asked_range:
            request.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        for key, value in headers.items():
            request.send_header(key, value)
        request.end_headers()
        if request.command == "HEAD":
            return
        asked = Asked(path, start)
        self.asked.append(asked)
        try:
            if path in self.cut:
                asked.sent = self.cut.pop(path)
                request.wfile.write(body[: asked.sent])
                request.wfile.flush()
                request.close_connection = True
                request.connection.shutdown(2)
                return
            if path in self.hold:
                asked.sent = self.hold.pop(path)
                request.wfile.write(body[: asked.sent])
                request.wfile.flush()
                self.held.set()
                self.release.wait()
            request.wfile.write(body[asked.sent :])
            asked.sent = len(body)
        except OSError:
            request.close_connection = True  # the client went away, as some tests want it to


def _page(request: BaseHTTPRequestHandler) -> None:
    body = b"<!DOCTYPE html><title>Log in</title>"
    request.send_response(200)
    request.send_header("Content-Type", "text/html")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)


def _json(request: BaseHTTPRequestHandler, content: object, status: int = 200) -> None:
    body = json.dumps(content).encode()
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
