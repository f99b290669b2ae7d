"""The networks that enlarge: which file, fetched once and checked, and loaded by spandrel or by the realesrgan package.

A network takes and gives float pictures in 0 to 1, (1, 3, height, width).
"""

from __future__ import annotations

import copy
import hashlib
import importlib.util
import pickletools
import sys
import tarfile
import types
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.error import URLError

from zimage_kit import nano
from zimage_kit.errors import BadRequest, DownloadFailed
from zimage_kit.files import check_allowed, expanded
from zimage_kit.models.directories import models_dir

if TYPE_CHECKING:
    from torch import Tensor

NANO = nano.DIRECTORY.parent / "upscale" / "nano_x2.safetensors.xz"
X2PLUS = "RealESRGAN_x2plus.pth"
X2PLUS_URL = "https://github.com/xinntao/Real-ESRGAN/releases/download/v0.2.1/RealESRGAN_x2plus.pth"
X2PLUS_SHA256 = "49fafd45f8fd7aa8d31ab2a22d14d91b536c34494a5cfe31eb5d89c2fa266abb"
X2PLUS_BYTES = 67_061_725
_MARGIN = 1 << 20
"""Bytes, of a file that is compressed and small."""
_LEGACY_PICKLES = 5
"""One after the other at the beginning of a file that is no zip: two numbers, the system, the weights, their names."""


@dataclass(frozen=True)
class Network:
    """A network on its device: `scale` times as large, `run` on a float tensor in the given dtype, and what it is."""

    scale: int
    run: Callable[[Tensor], Tensor]
    half: bool
    about: str
    error: dict[Any, float] = field(default_factory=dict)
    """How far a type of number is from float32, of 255, once measured."""


def file_of(weights: str) -> Path:
    """The file behind `nano`, `x2plus` or a path; it need not be there yet in the case of x2plus."""
    if weights == "nano":
        return NANO
    if weights == "x2plus":
        return models_dir() / "upscale" / X2PLUS
    check_allowed(Path(weights))
    return expanded(Path(weights)).absolute()


def fetched(weights: str, report: Callable[[str], None]) -> Path:
    """The file, downloaded first if it is Real-ESRGAN's x2plus and not here. Raises DownloadFailed and BadRequest."""
    file = file_of(weights)
    if file.is_file():
        return file
    if weights != "x2plus":
        raise BadRequest(f"upscale.weights={weights} does not exist", expected="nano, x2plus or a file with a network")
    report(f"downloading {X2PLUS} ({X2PLUS_BYTES / 1e6:.0f} MB, once)")
    download(X2PLUS_URL, file, X2PLUS_SHA256)
    return file


def download(url: str, file: Path, sha256: str) -> None:
    """Fetch a file whole or not at all; its checksum is compared before it gets its name. Raises DownloadFailed."""
    from torch.hub import download_url_to_file

    file.parent.mkdir(parents=True, exist_ok=True)
    by_hand = f"Download {url} yourself and put it at {file}."
    try:
        download_url_to_file(url, str(file), hash_prefix=sha256, progress=False)
    except RuntimeError as error:  # torch's word for another checksum
        raise DownloadFailed(f"{file.name} failed its checksum ({error})", mend=f"Try again, or: {by_hand}") from None
    except (URLError, OSError, ValueError) as error:
        raise DownloadFailed(
            f"{file.name} cannot be downloaded ({error})", mend=f"Check the network, or: {by_hand}"
        ) from None


def checksum(file: Path) -> str:
    """SHA-256, for the trace: the first 12 digits tell one file from another. Read once for each state of a file."""
    stat = file.stat()
    return _checksum(file, stat.st_size, stat.st_mtime_ns)


@cache
def _checksum(file: Path, size: int, changed: int) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:12]


def engine_version(engine: str) -> str:
    """The installed version of the package behind an engine; "" where it is not installed."""
    try:
        return version(engine)
    except PackageNotFoundError:
        return ""


def load(file: Path, engine: str, device: str) -> Network:
    """A network by spandrel, or by the package realesrgan. Raises BadRequest for a file that holds no such network."""
    _check_size(file)
    return by_realesrgan(file, device) if engine == "realesrgan" else by_spandrel(file, device)


def _check_size(file: Path) -> None:
    """Refuse a file that takes far more memory than it is large. PyTorch stores weights, and allocates what is claimed.

    Raises BadRequest.
    """
    if file == NANO or file.suffix.lower() == ".safetensors":
        return  # read by code that holds a header against the file's size
    with file.open("rb") as opened:
        if opened.read(4) != b"PK\x03\x04":
            _check_numbers(file, opened, _LEGACY_PICKLES)
            return
    try:
        with zipfile.ZipFile(file) as packed:
            claimed = sum(entry.file_size for entry in packed.infolist())
            if claimed > 2 * file.stat().st_size + _MARGIN:
                raise BadRequest(
                    f"{file} has {file.stat().st_size >> 10} kB and claims to hold {claimed >> 10} kB",
                    expected="weights as PyTorch stores them",
                    mend="Download it again, from another place.",
                )
            for entry in packed.infolist():
                if entry.filename.lower().endswith(".pkl"):
                    with packed.open(entry) as pickled:
                        _check_numbers(file, pickled, 1)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        raise _damaged(file, error) from None


def _check_numbers(file: Path, opened: IO[bytes], count: int) -> None:
    """Look through so many pickles for parts that are remembered under a number greater than the file is large.

    Python's own reader of pickles, and PyTorch's for its compiled networks, make a list as long as that number. What
    cannot be looked through is refused, since those readers may take it for something else. Raises BadRequest.
    """
    most = file.stat().st_size
    opened.seek(0)
    try:
        if count == _LEGACY_PICKLES and tarfile.is_tarfile(opened):
            raise ValueError("a tar archive, as PyTorch wrote them before 2017")
        opened.seek(0)
        for _ in range(count):
            for code, number, _ in pickletools.genops(opened):
                if code.name.endswith("PUT") and not (isinstance(number, int) and 0 <= number <= most):
                    raise ValueError(f"a part with the number {number}")
    except (ValueError, OSError, LookupError, ArithmeticError) as error:
        raise _damaged(file, error) from None


def _damaged(file: Path, error: Exception) -> BadRequest:
    reason = " ".join(f"{error}".split())[:200]
    return BadRequest(
        f"{file} cannot be read ({reason})",
        expected="weights as PyTorch stores them",
        mend="Download it again, from another place.",
    )


def by_spandrel(file: Path, device: str) -> Network:
    """Any architecture that spandrel knows; on CUDA in channels-last layout, in which convolutions run faster."""
    import torch
    from spandrel import ImageModelDescriptor, ModelLoader

    try:
        loader = ModelLoader(device="cpu")
        found = loader.load_from_state_dict(_unpacked(file)) if file == NANO else loader.load_from_file(file)
    except Exception as error:  # each architecture and each file format raises its own
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise BadRequest(f"{file} holds no network that spandrel supports ({reason})") from None
    if not isinstance(found, ImageModelDescriptor) or found.input_channels != 3 or found.output_channels != 3:
        raise BadRequest(f"{file} holds no RGB image network", mend="Use an upscaler's file.")
    layout = torch.channels_last if device.startswith("cuda") else torch.contiguous_format
    exact = found.model.eval().requires_grad_(False).float()
    need = found.size_requirements
    copies: dict[Any, Any] = {}  # by type: a network that was made coarser cannot be made exact again

    def run(pixels: Tensor) -> Tensor:
        if pixels.dtype not in copies:
            copies.clear()
            copies[pixels.dtype] = copy.deepcopy(exact).to(device, pixels.dtype, memory_format=layout)
        height, width = pixels.shape[-2:]
        padded = _padded(pixels, max(need.minimum, 1), max(need.multiple_of, 1), need.square)
        out: Tensor = copies[pixels.dtype](padded.contiguous(memory_format=layout))
        return out[..., : height * found.scale, : width * found.scale]

    return Network(found.scale, run, found.supports_half, f"{found.architecture.name} {found.scale}x by spandrel")


def _unpacked(file: Path) -> dict[str, Tensor]:
    from zimage_kit.nano import packed

    return packed.load(file)


def _padded(pixels: Tensor, least: int, multiple: int, square: bool) -> Tensor:
    """Mirrored at the right and lower edge up to the size that an architecture asks for."""
    from torch.nn import functional

    height, width = (max(least, -(-side // multiple) * multiple) for side in pixels.shape[-2:])
    if square:
        height = width = max(height, width)
    down, right = height - pixels.shape[-2], width - pixels.shape[-1]
    return functional.pad(pixels, (0, right, 0, down), mode="replicate") if down or right else pixels


def missing_realesrgan() -> str:
    """Why the engine realesrgan cannot run here, in one line with what to do; "" if it can. Imports nothing."""
    absent = [name for name in ("realesrgan", "basicsr") if importlib.util.find_spec(name) is None]
    if not absent:
        return ""
    how = 'Run: pip install "zimage-kit[realesrgan]" (Python < 3.13), or leave engine at spandrel: the same picture.'
    return f"engine='realesrgan' needs {' and '.join(absent)}. {how}"


def by_realesrgan(file: Path, device: str) -> Network:
    """The package's own RealESRGANer, for the RRDBNet files of Real-ESRGAN.

    Its own tiling is not used: when a tile runs out of memory it prints a line and goes on with a wrong picture.
    """
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what its dependencies have to say while they are imported
        _mend_torchvision()
        from basicsr.archs.rrdbnet_arch import RRDBNet
        from realesrgan import RealESRGANer
    try:
        state = torch.load(file, map_location="cpu", weights_only=True) if file.suffix == ".pth" else None
    except Exception as error:  # PyTorch's words for what is none of its files, or holds more than numbers
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise BadRequest(f"{file} cannot be read ({reason})", mend="Download it again, from another place.") from None
    weights = next((state[key] for key in ("params_ema", "params") if key in state), None) if state else None
    if weights is None or "conv_first.weight" not in weights:
        raise BadRequest(
            f"{file} is no file of Real-ESRGAN's RRDBNet, which is all that engine='realesrgan' runs",
            mend="Use engine='spandrel'.",
        )
    features, inputs = weights["conv_first.weight"].shape[:2]
    blocks = 1 + max(int(key.split(".")[1]) for key in weights if key.startswith("body."))
    scale = {3: 4, 12: 2, 48: 1}[inputs]
    shape = {"num_feat": features, "num_block": blocks, "num_grow_ch": weights["body.0.rdb1.conv1.weight"].shape[0]}
    network = RRDBNet(num_in_ch=3, num_out_ch=3, scale=scale, **shape)
    upsampler = RealESRGANer(
        scale, str(file), model=network, tile=0, pre_pad=0, half=False, device=torch.device(device)
    )

    exact, copies = upsampler.model.float(), {}  # type: Any, dict[Any, Any]

    def run(pixels: Tensor) -> Tensor:
        if pixels.dtype not in copies:
            copies.clear()
            copies[pixels.dtype] = copy.deepcopy(exact).to(pixels.dtype)
        upsampler.half, upsampler.model = pixels.dtype == torch.float16, copies[pixels.dtype]
        upsampler.pre_process(pixels[0].permute(1, 2, 0).float().cpu().numpy())
        upsampler.process()
        out: Tensor = upsampler.post_process()
        return out

    return Network(scale, run, True, f"RRDBNet {scale}x by realesrgan")


def _mend_torchvision() -> None:
    """Basicsr imports one function from a module that torchvision no longer has: give it one with that function."""
    name = "torchvision.transforms.functional_tensor"
    if name not in sys.modules and importlib.util.find_spec(name) is None:
        from torchvision.transforms.functional import rgb_to_grayscale

        module: Any = types.ModuleType(name)
        module.rgb_to_grayscale = rgb_to_grayscale
        sys.modules[name] = module
