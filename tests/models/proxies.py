"""Proxies on 127.0.0.1 that the real clients go through: one for HTTP (forwarding and CONNECT), one for SOCKS5.

Each remembers where it was asked to go.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import struct
import threading
from typing import Self
from urllib.parse import urlsplit


class Proxy:
    """Base: a server on a free port, in a thread, as a context manager."""

    scheme = ""

    def __init__(self) -> None:
        self.asked: list[str] = []
        proxy = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                # A client that goes away, or a stranger that speaks no HTTP, ends its own connection only.
                with contextlib.suppress(OSError, ValueError):
                    proxy.serve(self)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"{self.scheme}://{self.address}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def serve(self, request: socketserver.StreamRequestHandler) -> None:
        raise NotImplementedError

    def join(self, request: socketserver.StreamRequestHandler, host: str, port: int, first: bytes = b"") -> None:
        """Carry bytes both ways until one side is done."""
        self.asked.append(f"{host}:{port}")
        here = "127.0.0.1" if host.endswith(".invalid") else host  # a name that only the proxy knows
        with socket.create_connection((here, port)) as there:
            there.sendall(first)
            back = threading.Thread(target=_carry, args=(there, request.connection), daemon=True)
            back.start()
            _carry(request.rfile, there)
            back.join()


def _carry(source: object, target: socket.socket) -> None:
    read = source.recv if isinstance(source, socket.socket) else source.read1  # type: ignore[attr-defined]
    with contextlib.suppress(OSError):
        while block := read(1 << 16):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)


class HttpProxy(Proxy):
    scheme = "http"

    def serve(self, request: socketserver.StreamRequestHandler) -> None:
        head = [request.rfile.readline()]
        method, target, _ = head[0].decode().split()
        while head[-1].strip():
            head.append(request.rfile.readline())
        url = urlsplit(target if "//" in target else f"//{target}")
        if method == "CONNECT":
            request.wfile.write(b"HTTP/1.1 200 here you are\r\n\r\n")
            head = []
        self.join(request, url.hostname or "", url.port or 80, b"".join(head))  # servers understand whole addresses too


class SocksProxy(Proxy):
    """SOCKS 5 without a password (RFC 1928)."""

    scheme = "socks5h"

    def serve(self, request: socketserver.StreamRequestHandler) -> None:
        read = request.rfile.read
        version, methods = read(2)
        if version != 5:  # a stranger: a client of another test whose server once had this port looks for it again
            return
        read(methods)
        request.wfile.write(b"\x05\x00")
        _, _, _, kind = read(4)
        host = socket.inet_ntoa(read(4)) if kind == 1 else read(read(1)[0]).decode()
        (port,) = struct.unpack(">H", read(2))
        request.wfile.write(b"\x05\x00\x00\x01" + bytes(6))
        self.join(request, host, port)
