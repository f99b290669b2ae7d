"""The way to the hubs: mirrors and proxies as people set them, with the real clients, on 127.0.0.1."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import HubServer
from proxies import HttpProxy, SocksProxy

from zimage_kit.errors import BadRequest, DownloadFailed
from zimage_kit.models import hub, hub_network
from zimage_kit.models.hub_sources import SOURCES

FILES = ("model_index.json", "vae/config.json", "vae/diffusion_pytorch_model.safetensors")
SOURCE_NAMES = ["modelscope", "huggingface"]
VARIABLE = {"modelscope": "MODELSCOPE_ENDPOINT", "huggingface": "HF_ENDPOINT"}
BOTH = pytest.mark.parametrize("source", SOURCE_NAMES)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = ("MODELSCOPE_ENDPOINT", "MODELSCOPE_DOMAIN", "HF_ENDPOINT", "MODELSCOPE_CACHE", "HF_HOME", "HF_HUB_CACHE")
    for name in list(os.environ):
        if name in ours or name.lower() in hub_network.PROXIES:
            monkeypatch.delenv(name)


@pytest.fixture
def server(tmp_path: Path) -> HubServer:
    for file in FILES:
        (tmp_path / "repository" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "repository" / file).write_bytes(file.encode() * 1000)
    return HubServer(tmp_path / "repository")


@pytest.fixture
def running(server: HubServer) -> Iterator[HubServer]:
    with server:
        yield server


def fetch(server: HubServer, source: str, folder: Path) -> hub.Download:
    done = hub.fetch(server.repository, SOURCES[source](), folder, {})
    assert all((folder / file).read_bytes() == content for file, content in server.files().items())
    return done


@BOTH
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
def test_a_mirror_is_found_however_its_address_is_written(
    source: str, written: str, prefix: str, server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.prefix = prefix
    with server:
        monkeypatch.setenv(VARIABLE[source], written.format(server.address))
        fetch(server, source, tmp_path / "model")


def test_a_blank_in_HF_ENDPOINT_does_not_keep_the_client_from_being_imported(
    running: HubServer, tmp_path: Path
) -> None:
    """It raises `Port could not be cast` while it is imported; so do transformers and diffusers."""
    script = (
        "import sys, pathlib; from zimage_kit.models import hub; from zimage_kit.models.hub_sources import SOURCES;"
        "hub.fetch(sys.argv[1], SOURCES['huggingface'](), pathlib.Path(sys.argv[2]), {})"
    )
    environment = {**os.environ, "HF_ENDPOINT": f"{running.endpoint} "}
    command = [sys.executable, "-c", script, running.repository, str(tmp_path / "model")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")


@BOTH
@pytest.mark.parametrize(
    "wrong", ["ftp://mirror", "https://", "http://mirror:8x", "a mirror", "https:/mirror", "//[::1"]
)
def test_what_is_no_address_is_told_with_its_variable(
    source: str, wrong: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(VARIABLE[source], wrong)
    with pytest.raises(BadRequest, match=rf"{VARIABLE[source]}='.*is not the address of a hub.*unset it"):
        hub.download("turbo", source, tmp_path / "model")


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
        monkeypatch.setenv("HF_ENDPOINT", written)
        assert hub_network.endpoint("", "HF_ENDPOINT") == hub_network.Endpoint(url, "HF_ENDPOINT", scheme_added=True)


@BOTH
@pytest.mark.parametrize(
    ("variable", "written"),
    [("ALL_PROXY", "{}"), ("all_proxy", "http://{} \r"), ("HTTP_PROXY", "{}\n"), ("http_proxy", "http://{}")],
)
def test_a_proxy_is_used_however_it_is_named_and_the_proxy_alone_knows_the_hub(
    source: str, variable: str, written: str, running: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE[source], running.endpoint.replace("127.0.0.1", "hub.invalid"))
    with HttpProxy() as proxy:
        monkeypatch.setenv(variable, written.format(proxy.address))
        fetch(running, source, tmp_path / "model")
    assert {place.partition(":")[0] for place in proxy.asked} == {"hub.invalid"}


@BOTH
def test_what_NO_PROXY_names_is_reached_without_the_proxy(
    source: str, running: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE[source], running.endpoint)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost\r")
    with HttpProxy() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        fetch(running, source, tmp_path / "model")
    assert proxy.asked == []


@BOTH
@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
def test_TLS_goes_through_the_proxy_by_CONNECT(
    source: str, variable: str, server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem, key = server.certificate = tmp_path / "hub.pem", tmp_path / "hub.key"
    command = "openssl req -x509 -nodes -newkey rsa:2048 -subj /CN=hub -addext subjectAltName=IP:127.0.0.1 -days 2"
    subprocess.run([*command.split(), "-out", pem, "-keyout", key], check=True, capture_output=True)
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(pem))
    with server, HttpProxy() as proxy:
        monkeypatch.setenv(VARIABLE[source], server.endpoint)
        monkeypatch.setenv(variable, proxy.url)
        fetch(server, source, tmp_path / "model")
    assert set(proxy.asked) == {server.address}


@BOTH
def test_a_proxy_that_does_not_answer_is_named(
    source: str, running: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE[source], running.endpoint)
    with HttpProxy() as closed:
        pass
    monkeypatch.setenv("ALL_PROXY", f"http://me:secret@{closed.address}")
    with pytest.raises(
        DownloadFailed, match=rf"the proxy http://…@{closed.address} \(ALL_PROXY\) does not ans"
    ) as caught:
        fetch(running, source, tmp_path / "model")
    assert "secret" not in str(caught.value)


@BOTH
@pytest.mark.parametrize("variable", ["ALL_PROXY", "http_proxy"])
def test_SOCKS_works_once_its_package_is_there(
    source: str, variable: str, running: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(SOURCES[source]().socks_package[0])
    monkeypatch.setenv(VARIABLE[source], running.endpoint.replace("127.0.0.1", "hub.invalid"))
    with SocksProxy() as proxy:
        monkeypatch.setenv(variable, proxy.url)
        fetch(running, source, tmp_path / "model")
    assert {place.partition(":")[0] for place in proxy.asked} == {"hub.invalid"}


@BOTH
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
    source: str, variable: str, value: str, told: str, running: HubServer, tmp_path: Path
) -> None:
    module, package = SOURCES[source]().socks_package
    script = (
        "import sys; sys.modules[sys.argv[1]] = None\n"  # as if it were not installed
        "from zimage_kit.models import hub; from zimage_kit.errors import DownloadFailed\n"
        "try: hub.quote('turbo', sys.argv[2])\n"
        "except DownloadFailed as error: print(error)"
    )
    environment = {**os.environ, VARIABLE[source]: running.endpoint, variable: value, "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", script, module, source]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment)
    assert done.stderr == ""
    with pytest.raises(AssertionError, match=told.replace("PACKAGE", package)):
        raise AssertionError(done.stdout)
    assert "secret" not in done.stdout


@BOTH
def test_a_login_page_in_place_of_the_listing_is_told(
    source: str, server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.pages = ("/",)
    with server:
        monkeypatch.setenv(VARIABLE[source], server.endpoint)
        with pytest.raises(DownloadFailed, match=rf"perhaps a web page.*login page.*{VARIABLE[source]}"):
            fetch(server, source, tmp_path / "model")


@BOTH
def test_a_mirror_without_TLS_is_told_how_to_write_it(
    source: str, running: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_of = SOURCES[source]()
    hub_of.at = hub_network.Endpoint(f"https://{running.address}", VARIABLE[source], scheme_added=True)
    with pytest.raises(DownloadFailed, match=rf"write {VARIABLE[source]}=http://{running.address}"):
        hub.fetch(running.repository, hub_of, tmp_path / "model", {})


@BOTH
def test_a_quote_says_what_a_download_would_fetch_and_fetches_nothing(
    source: str, server: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.repository, size = "Tongyi-MAI/Z-Image-Turbo", sum(map(len, server.files().values()))
    with server:
        monkeypatch.setenv(VARIABLE[source], server.endpoint)
        offer = hub.quote("turbo", source, tmp_path / "model")
        assert (offer.files, offer.fetch_bytes, offer.total_bytes) == (3, size, size)
        assert (offer.license, offer.license_from) == ("apache-2.0", "zimage_kit"), "the hub names none here"
        server.license = "mit"
        named = hub.quote("turbo", source, tmp_path / "model")
        assert (named.license, named.license_from) == ("mit", SOURCES[source]().title)
        server.repository = "Tongyi-MAI/Z-Image"
        server.license = ""
        assert hub.quote("base", source, tmp_path / "model").license == ""
        assert server.asked == [] and not (tmp_path / "model").exists()

        def no(offer: hub.Quote) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            hub.download("base", source, tmp_path / "model", on_quote=no)
        assert server.asked == []
