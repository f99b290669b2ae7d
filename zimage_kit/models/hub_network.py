"""The way to a hub: addresses and proxies out of the environment, and what a client's error means for the user.

`endpoint` is the one door for addresses as people set them: with a blank or CR at the end, quotes, without a scheme.
"""

from __future__ import annotations

import errno
import ipaddress
import json
import os
import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from urllib.parse import SplitResult, urlsplit
from urllib.request import proxy_bypass

from ..errors import BadRequest

REACH_SECONDS = 4.0  # how long the first contact may take before the user is told
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
TOKEN = "modelscope_api_token"  # Hugging Face's client tidies its own
_SECONDS = ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT")  # without a number its client cannot be imported
_AROUND = " \t\r\n\v\f\0\xa0\u200b\ufeff\"'"
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_UNREACHABLE = {errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN}


@dataclass(frozen=True)
class Endpoint:
    """A hub's address without a slash at the end; the variable that set it, or ""; whether its scheme was added."""

    url: str
    variable: str = ""
    scheme_added: bool = False


def endpoint(default: str, *variables: str) -> Endpoint:
    """The address in the first of these variables that is set, else `default`.

    Without a scheme it is https, for localhost and private IP addresses http. Raises BadRequest with the variable.
    """
    for name in variables:
        if value := os.environ.get(name, "").strip(_AROUND):
            added = _SCHEME.match(value) is None
            text = f"{_usual_scheme(value)}://{value}" if added else value
            parts = _split(text)
            if parts is None or parts.scheme not in ("http", "https") or parts.query or parts.fragment:
                raise BadRequest(
                    f"{name}={_shown(value)!r} is not the address of a hub",
                    expected="one such as https://mirror.example or https://mirror.example/path",
                    mend=f"Correct {name}, or unset it: then {default} is used.",
                )
            return Endpoint(f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}", name, added)
    return Endpoint(default)


def hugging_face() -> Endpoint:
    """Hugging Face's address. HF_ENDPOINT is put back tidy: its client reads it as it is, once, when it is imported.

    With a blank at its end neither that client nor transformers and diffusers, which import it, can be imported.
    Raises BadRequest where HF_ENDPOINT is no address, or a time-out of Hugging Face's client no number.
    """
    tidy_environment()
    at = endpoint("https://huggingface.co", "HF_ENDPOINT")
    if os.environ.get("HF_ENDPOINT", at.url) != at.url:
        os.environ["HF_ENDPOINT"] = at.url
    for name in _SECONDS:
        if not (value := os.environ.get(name, "0").strip(_AROUND)):
            del os.environ[name]  # empty is as good as unset, but not to its client
        elif not value.isdecimal():
            mend = f"Correct {name}, or unset it."
            raise BadRequest(f"{name}={value!r}", expected="a whole number of seconds", mend=mend)
    return at


def modelscope() -> Endpoint:
    """ModelScope's address; MODELSCOPE_DOMAIN is what its older clients read. Raises BadRequest as `endpoint`."""
    tidy_environment()
    return endpoint("https://modelscope.cn", "MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN")


def tidy_environment() -> None:
    """Take blanks, CR and quotes off the ends of variables that the clients read and would not understand so."""
    for name, value in list(os.environ.items()):
        if name.lower() in (*PROXIES, TOKEN) and value != value.strip(_AROUND):
            os.environ[name] = value.strip(_AROUND)


def unreachable(error: BaseException, url: str) -> str:
    """Why there was no connection, "" where the error is of another kind or waiting may help.

    A refused connection, an unknown name and a missing network count; that something is slow does not.
    """
    for each in _chain(error):
        if isinstance(each, socket.gaierror) or (isinstance(each, OSError) and each.errno in _UNREACHABLE):
            through = _proxy(url)
            where = f"the proxy {_shown(through[1])} ({through[0]})" if through else urlsplit(url).netloc.split("@")[-1]
            return f"{where} does not answer ({each.strerror or each})"
    return ""


def explained(error: BaseException, title: str, at: Endpoint, socks_package: tuple[str, str]) -> tuple[str, str] | None:
    """What a client's error comes from and how to mend it, where the environment explains it, else None.

    `socks_package`: what the client needs for a SOCKS proxy, as (module, name on PyPI).
    """
    chain = list(_chain(error))
    odd = isinstance(error, TypeError | KeyError | AttributeError)  # data, but not what the client expects
    if odd or any(isinstance(each, json.JSONDecodeError) for each in chain):
        where = f", and whether {at.variable} is right" if at.variable else ""
        return (
            f"{_shown(at.url)} did not answer as a hub does, perhaps with a web page",
            f"Look whether a login page of the network, or of a proxy, stands in between{where}.",
        )
    if any(isinstance(each, ImportError | ValueError) for each in chain) and (found := _unusable_proxy(at.url)):
        variable, value = found
        scheme = (_SCHEME.match(value) or [""])[0]
        host = _shown(_SCHEME.sub("", value))
        module, package = socks_package
        if not scheme.lower().startswith("socks"):
            return (
                f"{title}'s client cannot use the proxy {variable}={_shown(value)}",
                f"Write {variable}=http://host:port, or unset it.",
            )
        known = ("socks5://", "socks5h://", *(("socks4://", "socks4a://") if module == "socks" else ()))
        write = "" if scheme.lower() in known else f"Write {variable}=socks5h://{host}"
        install = "" if _importable(module) else f"pip install {package}"
        if not (write or install):
            return None  # it can use this one
        reason = f"SOCKS needs the package {package}" if install else f"it does not know {scheme}"
        steps = " and run: ".join(filter(None, (write, install)))
        return (
            f"{title}'s client cannot use the proxy {variable}={_shown(value)}: {reason}",
            f"{steps if write else f'Run: {steps}'}. Or unset {variable}, if there is another way out.",
        )
    return without_tls(error, at)


def without_tls(error: BaseException, at: Endpoint) -> tuple[str, str] | None:
    """As `explained`, where https was our guess and the other side speaks no TLS."""
    alien = (each for each in _chain(error) if isinstance(each, ssl.SSLError))
    if at.scheme_added and any(not isinstance(each, ssl.SSLCertVerificationError) for each in alien):
        plain = at.url.replace("https:", "http:", 1)
        return f"{_shown(at.url)} has no TLS", f"{at.variable} names no scheme: write {at.variable}={_shown(plain)}."
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        reason = getattr(error, "reason", None)
        error = error.__cause__ or error.__context__ or (reason if isinstance(reason, BaseException) else None)


def _split(url: str) -> SplitResult | None:
    """The parts of an address with a host and, if any, a port that is a number; None for anything else."""
    try:
        parts = urlsplit(url)
        good = parts.hostname and (parts.port is None or parts.port > 0) and not parts.netloc.endswith(":")
    except ValueError:
        return None
    return parts if good and not re.search(r"[\s\x00-\x1f\x7f\\]", url) else None


def _usual_scheme(address: str) -> str:
    """Http for localhost and private IP addresses, https for everything else."""
    parts = _split(f"https://{address}")
    host = (parts.hostname if parts else "") or ""
    if parts is None or parts.port == 443:
        return "https"
    try:
        return "http" if ipaddress.ip_address(host).is_private else "https"
    except ValueError:
        return "http" if host == "localhost" else "https"


def _variables(kind: str) -> Iterator[tuple[str, str]]:
    """A proxy variable in both spellings, as far as it is set; the lower case, which counts more, first."""
    for name in (f"{kind}_proxy", f"{kind}_proxy".upper()):
        if value := os.environ.get(name):
            yield name, value


def _proxy(url: str) -> tuple[str, str] | None:
    """The variable and the proxy that the way to `url` leads through, as urllib and requests see it."""
    if proxy_bypass(urlsplit(url).netloc.rpartition("@")[2]):
        return None
    return next((found for kind in (urlsplit(url).scheme, "all") for found in _variables(kind)), None)


def _unusable_proxy(url: str) -> tuple[str, str] | None:
    """The first proxy variable whose value is not plainly the address of an HTTP proxy; that for `url` comes first."""
    for kind in dict.fromkeys((urlsplit(url).scheme, "all", "http", "https")):
        for name, value in _variables(kind):
            parts = _split(value if "://" in value else f"http://{value}")
            if parts is None or parts.scheme not in ("http", "https"):
                return name, value
    return None


def _importable(module: str) -> bool:
    try:
        import_module(module)
    except ImportError:
        return False
    return True


def _shown(address: str) -> str:
    """An address without the name and password that it may carry."""
    return re.sub(r"(?<=//)[^/@]*@|^[^/@]*@", "…@", address)
