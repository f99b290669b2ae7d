"""Networks from a model's directory: built without weights, then filled straight from the safetensors files.

Transformer and text encoder become `blocks` of one buffer each, on the device or in host memory as the plan says. Every
tensor is read once, converted, and copied to where it stays: there is no second copy of the model, on either side.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import diffusers
import torch
import transformers
from accelerate import init_empty_weights
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import JobFailed
from ..models.directories import BLOCK_LISTS, read_index
from .blocks import Block, Streamer, materialise
from .encode import EndOfPass

_READERS = 4  # threads: reading from the page cache and copying to the device overlap


class Network:
    """A loaded component: its blocks on the device or streamed to it, the rest of it on the device.

    The token embedding of a text encoder whose blocks are all streamed stays in host memory, where a prompt's few
    tokens are looked up.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        device: torch.device,
        dtype: torch.dtype,
        pinned: bool,
        lists: Sequence[str] = BLOCK_LISTS,
        streamer: Streamer | None = None,
    ) -> None:
        """`streamer`: another network's, whose device buffers these blocks share."""
        self.name, self.module, self.device, self.dtype = name, module, device, dtype
        self._pinned = pinned and device.type == "cuda"
        found = [each for part in lists if hasattr(module, part) for each in getattr(module, part)]
        self.blocks = [Block(each, dtype) for each in found if not isinstance(each, EndOfPass)]
        self.in_host: frozenset[int] = frozenset()
        self.streamer = streamer or Streamer(device, dtype)
        self._embedding: nn.Module | None = getattr(module, "embed_tokens", None)
        self._lookups: list[Any] = []
        self._own: list[nn.Parameter] = []
        self._locked: set[int] = set()  # addresses of the host's buffers

    @property
    def device_bytes(self) -> int:
        """Of the weights that stay on the device."""
        elsewhere = sum(self.blocks[i].bytes for i in self.in_host)
        if self._lookups and self._embedding is not None:
            elsewhere += sum(weight.nbytes for weight in self._embedding.parameters())
        return sum(weight.nbytes for weight in self._own) - elsewhere

    def allocate(self, in_host: frozenset[int]) -> None:
        """Give every weight its memory, with those blocks in the host's; nothing is read yet."""
        for i, block in enumerate(self.blocks):
            block.keep(self._memory(block, i in in_host))
        self._look_up_in_host(bool(self.blocks) and len(in_host) == len(self.blocks))
        for name, weight in list(self.module.named_parameters()):
            if weight.is_meta:
                materialise(self.module, name, torch.empty(weight.shape, dtype=self.dtype, device=self.device))
        self._own = list(self.module.parameters())  # before others' modules are joined to it, or adapters added
        for name, buffer in list(self.module.named_buffers()):
            owner, _, leaf = name.rpartition(".")
            self.module.get_submodule(owner)._buffers[leaf] = buffer.to(self.device)
        self._stream(in_host)

    def place(self, in_host: frozenset[int]) -> None:
        """Move blocks, so that exactly these are in host memory."""
        if in_host == self.in_host:
            return
        self.streamer.stream(self.name, ())
        for i in sorted(in_host ^ self.in_host, key=lambda i: i not in in_host):  # first what makes room
            block, old = self.blocks[i], self.blocks[i].buffer
            assert old is not None
            new = self._memory(block, i in in_host)
            new.copy_(old)
            self._unpin(block)
            block.keep(new)
        self._look_up_in_host(len(in_host) == len(self.blocks))
        self._stream(in_host)
        self.pin()

    def close(self) -> None:
        """Take the hooks off and drop every weight."""
        self.streamer.stream(self.name, ())
        for block in self.blocks:
            self._unpin(block)
            block.buffer = None
        for weight in self._own:
            weight.data = torch.empty(0, dtype=self.dtype)

    def _memory(self, block: Block, in_host: bool) -> Tensor:
        return torch.empty(block.elements, dtype=self.dtype, device="cpu" if in_host else self.device)

    def _stream(self, in_host: frozenset[int]) -> None:
        self.in_host = in_host
        self.streamer.stream(self.name, (self.blocks[i] for i in sorted(in_host)))

    @property
    def locked(self) -> bool:
        """Whether every block that waits in host memory is copied from locked memory, where that was asked for."""
        return not self._pinned or len(self._locked) >= len(self.in_host)

    def pin(self) -> None:
        """Lock the host's blocks in memory, from where a GPU copies while it computes. Called once they are filled.

        Registered rather than allocated as pinned: torch's allocator rounds up to powers of two (354 MB to 512), and
        filling first lets many threads touch the pages. Where the system refuses, `locked` is False.
        """
        if self._pinned:
            for i in sorted(self.in_host):
                buffer = self.blocks[i].buffer
                if buffer is None or buffer.data_ptr() in self._locked:
                    continue
                if int(_runtime().cudaHostRegister(buffer.data_ptr(), buffer.nbytes, 0)) == 0:
                    self._locked.add(buffer.data_ptr())

    def _unpin(self, block: Block) -> None:
        if block.buffer is not None and block.buffer.data_ptr() in self._locked:
            torch.cuda.synchronize(self.device)
            _runtime().cudaHostUnregister(block.buffer.data_ptr())
            self._locked.discard(block.buffer.data_ptr())

    def _look_up_in_host(self, there: bool) -> None:
        """Keep the token embedding in host memory, or bring it back; its weight is the same in both."""
        module = self._embedding
        if module is None or there == bool(self._lookups):
            return
        weight = module.weight
        assert isinstance(weight, nn.Parameter)
        if there:
            if weight.is_meta:
                materialise(module, "weight", torch.empty(weight.shape, dtype=self.dtype))
            else:
                weight.data = weight.data.cpu()
            self._lookups = [
                module.register_forward_pre_hook(lambda _, inputs: (inputs[0].cpu(),)),
                module.register_forward_hook(lambda _, __, found: found.to(self.device)),
            ]
            return
        weight.data = weight.data.to(self.device)
        for hook in self._lookups:
            hook.remove()
        self._lookups.clear()


def _runtime() -> Any:
    """CUDA's runtime library."""
    cuda: Any = torch.cuda  # untyped
    return cuda.cudart()


def load_network(
    directory: Path,
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    in_host: Callable[[int], frozenset[int]],
    pinned: bool,
    progress: Callable[[int], None],
) -> Network:
    """One network of a directory in diffusers' layout, by the class that its index names.

    `in_host` is given the number of blocks and says which are kept in host memory. `progress` is told the bytes that
    are in place. Raises JobFailed for weights that are missing or of another shape.
    """
    module = _without_weights(directory, name)
    network = Network(name, module, device, dtype, pinned)
    network.allocate(in_host(len(network.blocks)))
    files = sorted((directory / name).glob("*.safetensors"))
    fill(files, module, lambda each: each.removeprefix("model."), progress)
    network.pin()
    module.eval().requires_grad_(False)
    return network


def _without_weights(directory: Path, name: str) -> nn.Module:
    """The module with meta tensors for weights; what is computed from its configuration is there."""
    library, class_name = read_index(directory)[name]
    folder = directory / name
    with init_empty_weights(include_buffers=False):
        if library == "transformers":
            config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
            module = getattr(transformers, class_name)(config)
        else:
            cls = getattr(diffusers, class_name)
            module = cls.from_config(cls.load_config(folder, local_files_only=True))
    if name == "text_encoder":
        module.layers[-1] = EndOfPass()
        module.norm = nn.Identity()
    found: nn.Module = module
    return found


def fill(
    files: Sequence[Path], module: nn.Module, renamed: Callable[[str], str], progress: Callable[[int], None]
) -> None:
    """Copy every weight from the files to its place in the module, some threads reading while others copy.

    `renamed` gives a tensor's name in the module. Raises JobFailed for what is missing or has another shape.
    """
    weights = dict(module.named_parameters())
    missing, lock, done = set(weights), Lock(), 0

    def place(file: Path, names: list[str]) -> None:
        nonlocal done
        with safe_open(file, framework="pt") as tensors:
            for name in names:
                target = weights.get(renamed(name))
                if target is None:
                    continue  # the encoder's last layer, a head that nothing uses
                tensor = tensors.get_tensor(name)
                if tensor.shape != target.shape:
                    raise JobFailed(
                        f"{file} holds {name} as {list(tensor.shape)}", expected=f"{list(target.shape)} by its config"
                    )
                target.data.copy_(tensor)
                with lock:
                    missing.discard(renamed(name))
                    done += target.nbytes
                    progress(done)

    def read(file: Path, names: list[str]) -> None:
        try:
            place(file, names)
        except SafetensorError as error:
            raise JobFailed(f"{file} cannot be read ({error})", mend="Download it again.") from None

    with torch.no_grad(), ThreadPoolExecutor(_READERS, "zimage-load") as pool:
        list(pool.map(lambda part: read(*part), _parts(files)))
    if missing:
        some = ", ".join(sorted(missing)[:3])
        where = ", ".join(sorted({str(file.parent) for file in files})) or "its folder"
        raise JobFailed(f"{where} lacks {len(missing)} weights ({some})", mend="Download the model again.")


def _parts(files: Sequence[Path]) -> Iterator[tuple[Path, list[str]]]:
    """The files' tensors in pieces, so that the readers have equal work."""
    for file in files:
        try:
            with safe_open(file, framework="pt") as tensors:
                names = list(tensors.keys())
        except SafetensorError as error:
            raise JobFailed(f"{file} cannot be read ({error})", mend="Download it again.") from None
        for start in range(0, len(names), 16):
            yield file, names[start : start + 16]
