"""The way to the hubs: mirrors and proxies as people set them, with the real clients, on 127.0.0.1."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hub_server import HubServer
from proxies import HttpProxy, SocksProxy

from zimage_kit.errors import BadRequest, DownloadFailed
from zimage_kit.models import hub, hub_network
from zimage_kit.models.hub_sources import SOURCES

VARIABLE = {"modelscope": "MODELSCOPE_ENDPOINT", "huggingface": "HF_ENDPOINT"}


@dataclass
class Way:
    """A hub server, one of the two clients, an environment without mirrors and proxies, and a folder to fetch into."""

    source: str
    server: HubServer
    folder: Path
    environment: pytest.MonkeyPatch

    @property
    def variable(self) -> str:
        return VARIABLE[self.source]

    def set(self, variable: str, value: str) -> None:
        self.environment.setenv(variable, value)

    def fetch(self) -> None:
        hub.fetch(self.server.repository, SOURCES[self.source](), self.folder, {})
        assert all((self.folder / file).read_bytes() == content for file, content in self.server.files().items())

    def by_name(self) -> str:
        """The hub's address by a name that only our proxies know."""
        return self.server.endpoint.replace("127.0.0.1", "hub.invalid")


@pytest.fixture(params=VARIABLE)
def unserved(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Way:
    ours = (*VARIABLE.values(), "MODELSCOPE_DOMAIN", "MODELSCOPE_CACHE", "HF_HOME", "HF_HUB_CACHE")
    for name in list(os.environ):
        if name in ours or name.lower() in hub_network.PROXIES:
            monkeypatch.delenv(name)
    for file in ("model_index.json", "vae/config.json", "vae/diffusion_pytorch_model.safetensors"):
        (tmp_path / "repository" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "repository" / file).write_bytes(file.encode() * 1000)
    return Way(request.param, HubServer(tmp_path / "repository"), tmp_path / "model", monkeypatch)


@pytest.fixture
def way(unserved: Way) -> Iterator[Way]:
    with unserved.server:
        unserved.set(unserved.variable, unserved.server.endpoint)
        yield unserved


@pytest.mark.parametrize(
    ("written", "prefix"),
    [
        ("{}", ""),
        ("{}\r", ""),
        ("http://{} ", ""),
        ("http://{}/", "/hf"),
        ("{}/\n", "/hf/mirror"),
        ('"http://{}"', "/hf"),
        (" HTTP://{}\r\n", ""),
    ],
)
def test_a_mirror_is_found_however_its_address_is_written(unserved: Way, written: str, prefix: str) -> None:
    unserved.server.prefix = prefix
    with unserved.server as server:
        unserved.set(unserved.variable, written.format(server.address))
        unserved.fetch()


def test_a_blank_in_the_address_does_not_keep_a_client_from_being_imported(way: Way) -> None:
    """Hugging Face's raises `Port could not be cast` meanwhile; so do transformers and diffusers."""
    script = (
        "import sys, pathlib; from zimage_kit.models import hub; from zimage_kit.models.hub_sources import SOURCES;"
        "hub.fetch(sys.argv[1], SOURCES[sys.argv[2]](), pathlib.Path(sys.argv[3]), {})"
    )
    way.set(way.variable, f"{way.server.endpoint} ")
    command = [sys.executable, "-c", script, way.server.repository, way.source, str(way.folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("wrong", ["ftp://hub", "https://", "http://hub:8x", "a hub", "https:/hub", "//[::1"])
def test_what_is_no_address_is_told_with_its_variable(unserved: Way, wrong: str) -> None:
    unserved.set(unserved.variable, wrong)
    with pytest.raises(BadRequest, match=rf"{unserved.variable}='.*is not the address of a hub.*unset it"):
        unserved.fetch()


@pytest.mark.parametrize("name", ["HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"])
def test_a_time_that_is_no_number_is_told_with_its_variable(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (" 30\r", "", "30s"):
        monkeypatch.setenv(name, value)
        if value != "30s":
            hub_network.hugging_face()
    with pytest.raises(BadRequest, match=f"{name}='30s'; expected a whole number of seconds"):
        hub_network.hugging_face()


def test_without_a_scheme_a_name_is_reached_by_https_and_a_private_number_by_http(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for written, url in {
        "mirror.example/hf/": "https://mirror.example/hf",
        "mirror.example:8443": "https://mirror.example:8443",
        "192.168.1.5:8080": "http://192.168.1.5:8080",
        "localhost:80": "http://localhost:80",
        "[::1]:8080": "http://[::1]:8080",
        "8.8.8.8": "https://8.8.8.8",
        "user:secret@mirror.example": "https://user:secret@mirror.example",
    }.items():
        monkeypatch.setenv("MODELSCOPE_DOMAIN", written)
        monkeypatch.delenv("MODELSCOPE_ENDPOINT", raising=False)
        assert hub_network.modelscope() == hub_network.Endpoint(url, "MODELSCOPE_DOMAIN", scheme_added=True)


@pytest.mark.parametrize(
    ("variable", "written"),
    [("ALL_PROXY", "{}"), ("all_proxy", "http://{} \r"), ("HTTP_PROXY", "{}\n"), ("http_proxy", "http://{}")],
)
def test_a_proxy_that_alone_knows_the_hub_is_used_however_it_is_named(way: Way, variable: str, written: str) -> None:
    way.set(way.variable, way.by_name())
    with HttpProxy() as proxy:
        way.set(variable, written.format(proxy.address))
        way.fetch()
    assert {place.partition(":")[0] for place in proxy.asked} == {"hub.invalid"}


NEAREST = "/api/v1/repos/internalAccelerationInfo"  # where ModelScope's client learns of a nearer copy of the files
TELLS = """
import sys
from pathlib import Path
if sys.argv[1] == "loaded before":
    import diffusers, huggingface_hub, transformers
from zimage_kit.models import hub
from zimage_kit.models.hub_sources import SOURCES
hub.fetch(sys.argv[2], SOURCES[sys.argv[3]](), Path(sys.argv[4]), {})
"""


@pytest.mark.parametrize("client", ["loaded before", "not loaded"])
def test_a_download_asks_for_its_files_alone_and_tells_nothing_of_the_machine(way: Way, client: str) -> None:
    """Hugging Face's client would tell which torch it runs with, and ask for a list of programs, to tell its own."""
    command = [sys.executable, "-c", TELLS, client, way.server.repository, way.source, str(way.folder)]
    subprocess.run(command, check=True, timeout=120)
    assert way.server.heard
    for path, agent in way.server.heard:
        assert way.server.repository in path or path in ("/", NEAREST), path
        assert "torch/" not in agent and "agent/" not in agent, agent


def test_a_CR_behind_a_token_is_not_sent(way: Way) -> None:
    way.set("MODELSCOPE_API_TOKEN", "secret\r")
    way.set("HF_TOKEN", "secret\r")
    way.fetch()


def test_what_NO_PROXY_names_is_reached_without_the_proxy(way: Way) -> None:
    way.set("NO_PROXY", "127.0.0.1,localhost\r")
    with HttpProxy() as proxy:
        way.set("HTTP_PROXY", proxy.url)
        way.fetch()
    assert proxy.asked == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
def test_TLS_goes_through_the_proxy_by_CONNECT(unserved: Way, variable: str, tmp_path: Path) -> None:
    pem, key = unserved.server.certificate = tmp_path / "hub.pem", tmp_path / "hub.key"
    command = "openssl req -x509 -nodes -newkey rsa:2048 -subj /CN=hub -addext subjectAltName=IP:127.0.0.1 -days 2"
    subprocess.run([*command.split(), "-out", pem, "-keyout", key], check=True, capture_output=True)
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        unserved.set(name, str(pem))
    with unserved.server as server, HttpProxy() as proxy:
        unserved.set(unserved.variable, server.endpoint)
        unserved.set(variable, proxy.url)
        unserved.fetch()
    assert set(proxy.asked) == {server.address}


def test_a_proxy_that_does_not_answer_is_named_without_its_password(way: Way) -> None:
    with HttpProxy() as closed:
        pass
    way.set("ALL_PROXY", f"http://me:secret@{closed.address}")
    with pytest.raises(
        DownloadFailed, match=rf"the proxy http://…@{closed.address} \(ALL_PROXY\) does not ans"
    ) as caught:
        way.fetch()
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("variable", ["ALL_PROXY", "http_proxy"])
def test_SOCKS_works_once_its_package_is_there(way: Way, variable: str) -> None:
    pytest.importorskip(SOURCES[way.source]().socks_package[0])
    way.set(way.variable, way.by_name())
    with SocksProxy() as proxy:
        _call_as_dask_does(proxy.address)
        way.set(variable, proxy.url)
        way.fetch()
    assert {place.partition(":")[0] for place in proxy.asked} == {"hub.invalid"}


def _call_as_dask_does(address: str) -> None:
    """A worker of a session that has ended looks for its scheduler, whose port is the proxy's by now: seen in CI."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port))) as stranger:
        stranger.sendall(struct.pack("<QQQ", 2, 1, 1) + b"\x80\x80")
        stranger.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionError):  # closed with bytes unread
            stranger.recv(16)


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("ALL_PROXY", "socks5://127.0.0.1:9", r"ALL_PROXY=socks5://127.0.0.1:9: SOCKS needs the package PACKAGE"),
        ("all_proxy", "socks://127.0.0.1:9/", r"Write all_proxy=socks5h://127.0.0.1:9/ and run: pip install PACKAGE"),
        ("HTTP_PROXY", "socks5h://me:secret@127.0.0.1:9", r"HTTP_PROXY=socks5h://…@127.*Run: pip install PACKAGE"),
        ("ALL_PROXY", "quic://127.0.0.1:9", r"cannot use the proxy ALL_PROXY=quic.*Write ALL_PROXY=http://host:port"),
    ],
)
def test_a_proxy_that_the_client_cannot_use_is_named_with_what_to_install(
    way: Way, variable: str, value: str, told: str
) -> None:
    module, package = SOURCES[way.source]().socks_package
    script = (
        "import sys; sys.modules[sys.argv[1]] = None\n"  # as if it were not installed
        "from zimage_kit.models import hub; hub.quote('turbo', sys.argv[2])"
    )
    way.set(variable, value)
    way.set("PYTHONUTF8", "1")
    command = [sys.executable, "-c", script, module, way.source]
    done = subprocess.run(command, capture_output=True, encoding="utf-8").stderr.splitlines()[-1]
    with pytest.raises(AssertionError, match=f"DownloadFailed: .*{told.replace('PACKAGE', package)}"):
        raise AssertionError(done)
    assert "secret" not in done


def test_a_login_page_in_place_of_the_listing_is_told(way: Way) -> None:
    way.server.pages = ("/",)
    with pytest.raises(DownloadFailed, match=rf"perhaps with a web page.*login page.*{way.variable}"):
        way.fetch()


def test_a_mirror_without_TLS_is_told_how_to_write_it(way: Way) -> None:
    source, address = SOURCES[way.source](), way.server.address
    source.at = hub_network.Endpoint(f"https://{address}", way.variable, scheme_added=True)
    with pytest.raises(DownloadFailed, match=rf"write {way.variable}=http://{address}"):
        hub.fetch(way.server.repository, source, way.folder, {})


def test_a_quote_says_what_a_download_would_fetch_and_fetches_nothing(way: Way) -> None:
    server, source, folder = way.server, way.source, way.folder
    server.repository, size = "Tongyi-MAI/Z-Image-Turbo", sum(map(len, server.files().values()))
    offer = hub.quote("turbo", source, folder)
    assert (offer.files, offer.fetch_bytes, offer.total_bytes) == (3, size, size)
    assert (offer.license, offer.license_from) == ("apache-2.0", "zimage_kit"), "the hub names none here"
    server.license = "mit"
    named = hub.quote("turbo", source, folder)
    assert (named.license, named.license_from) == ("mit", SOURCES[source]().title)
    server.repository, server.license = "Tongyi-MAI/Z-Image", ""
    assert hub.quote("base", source, folder).license == "", "what nobody knows is not invented"

    def no(offer: hub.Quote) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hub.download("base", source, folder, on_quote=no)
    assert server.asked == [] and not folder.exists()
