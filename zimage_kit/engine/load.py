"""Networks from a model's directory: built without weights, then filled straight from its files.

Transformer and text encoder become `blocks` of one buffer each, on the device or in host memory as the plan says. Every
tensor is read once, converted, and copied to where it stays: there is no second copy of the model, on either side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..models.directories import BLOCK_LISTS, read_index
from ..models.hub_network import hugging_face
from ..models.weights import Weight, component_files, component_weights
from .adapters import carry
from .blocks import Block, Streamer, bring_buffers, lock, materialise, unlock
from .crossing import Crossing
from .encode import EndOfPass
from .fill import READERS, fill, open_weights, opened, read_weight
from .half import fit_block, fit_encoder, fit_layer, fit_transformer
from .networks import build

Home = Literal["device", "second", "host", "files"]
"""Where a block's weights are: on the device, on a second one, or waiting in host memory or in the model's files."""


@dataclass(frozen=True)
class Keeping:
    """How a network's weights are kept: on which devices, and the type that computes.

    `precision`: of what waits, see `packing`, and with `packed_computes` of what is multiplied, see `eight`. `pinned`:
    what waits in host memory is page-locked. `copies`: what is brought to a device stays there as well, so that another
    picture's size moves it back at no cost: filling and locking memory takes 0.2 s a block of Z-Image-Turbo.
    """

    device: torch.device
    dtype: torch.dtype
    second: torch.device | None = None
    precision: str = ""
    packed_computes: bool = False
    pinned: bool = True
    copies: bool = False


class Network:
    """A loaded component: its blocks on the device or streamed to it, the rest of it on the device.

    The token embedding of a text encoder whose blocks are all streamed stays in host memory, where a prompt's few
    tokens are looked up. Blocks on a second device compute there; what follows them comes back.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        keeping: Keeping,
        lists: Sequence[str] = BLOCK_LISTS,
        streamer: Streamer | None = None,
    ) -> None:
        """`streamer`: another network's, whose device buffers these blocks share."""
        self.name, self.module, self.keeping = name, module, keeping
        self.device, self.dtype = keeping.device, keeping.dtype
        found = {
            f"{part}.{i}": each
            for part in lists
            for i, each in enumerate(getattr(module, part, ()))
            if not isinstance(each, EndOfPass)
        }
        self._names = tuple(found)
        self.blocks = [Block(each, self.dtype, keeping.precision, keeping.packed_computes) for each in found.values()]
        self.homes: tuple[Home, ...] = tuple("device" for _ in self.blocks)
        self.streamer = streamer or Streamer(self.device, self.dtype)
        self._embedding: nn.Module | None = getattr(module, "embed_tokens", None)
        self._lookups: list[Any] = []
        self._crossings: list[Any] = []
        self._own: list[nn.Parameter] = []
        self._files: dict[Path, Any] = {}  # open, for what is read again

    @property
    def waiting(self) -> list[Block]:
        """The blocks that are streamed."""
        return [block for block, home in zip(self.blocks, self.homes, strict=True) if home in ("host", "files")]

    @property
    def device_bytes(self) -> int:
        """Of the weights that stay on a device."""
        of_blocks = {id(weight) for block in self.blocks for weight in block.weights.values()}
        if self._lookups and self._embedding is not None:
            of_blocks |= {id(weight) for weight in self._embedding.parameters()}
        there = sum(block.bytes for block in self.blocks) - sum(block.bytes for block in self.waiting)
        return there + sum(weight.nbytes for weight in self._own if id(weight) not in of_blocks)

    @property
    def host_bytes(self) -> int:
        """Of the blocks that wait in host memory, and of the copies there."""
        waiting = (block.waiting_bytes for block in self.waiting if block.buffer is not None)
        return sum(waiting) + sum(block.waiting_bytes for block in self.blocks if block.copy is not None)

    def allocate(self, homes: tuple[Home, ...]) -> None:
        """Give every weight its memory, with the blocks in these homes; nothing is read yet."""
        for block, home in zip(self.blocks, homes, strict=True):
            block.keep(self._memory(block, home))
        self.homes = homes
        self._look_up_in_host()
        for name, weight in list(self.module.named_parameters()):
            if weight.is_meta:
                materialise(self.module, name, torch.empty(weight.shape, dtype=self.dtype, device=self.device))
        self._own = list(self.module.parameters())  # before others' modules are joined to it, or adapters added
        bring_buffers(self.module, self.device)
        self._connect()

    def adopt(self, module: nn.Module) -> None:
        """Let another module with the same names of weights hold them, where they are and as they are."""
        self.streamer.stream(self.name, ())
        for hook in self._lookups:
            hook.remove()
        for name, weight in self.module.named_parameters():
            owner, _, leaf = name.rpartition(".")
            module.get_submodule(owner)._parameters[leaf] = weight
        carry(self.module, module.eval().requires_grad_(False))
        bring_buffers(module, self.device)
        for name, block in zip(self._names, self.blocks, strict=True):
            block.module = module.get_submodule(name)
        self.module, self._embedding = module, getattr(module, "embed_tokens", None)
        if self._lookups:
            self._lookups = self._from_host()
        self._connect()

    def settle(self) -> None:
        """Once every weight is read: scale what computes in float16, lock what waits."""
        if self.dtype == torch.float16:
            fit = fit_layer if self.name == "text_encoder" else fit_block
            with ThreadPoolExecutor(READERS, "zimage-fit") as pool:
                list(pool.map(fit, self.blocks))
            if self.name == "text_encoder":
                fit_encoder(self.module)
            if self.name == "transformer":
                fit_transformer(self.module)
        self._lock()

    def place(self, homes: tuple[Home, ...]) -> None:
        """Move blocks, so that these are their homes."""
        if homes == self.homes:
            return
        self.streamer.stream(self.name, ())
        if "files" in homes:  # RAM is short
            self._drop_copies()
        there = ("device", "second")
        changes = [i for i, home in enumerate(homes) if home != self.homes[i]]
        for i in sorted(changes, key=lambda i: homes[i] in there):  # first what makes room
            block = self.blocks[i]
            if homes[i] == "host" and block.copy is not None:
                block.wait_again()
                continue
            new = self._memory(block, homes[i])
            if new is not None:
                block.write(new)
            if self.keeping.copies and self.homes[i] == "host" and homes[i] in there:
                block.leave_copy()
            else:
                self._unlock(block)
            block.keep(new)
        self.homes = homes
        self._look_up_in_host()
        self._connect()
        self._lock()

    def close(self) -> None:
        """Take the hooks off and drop every weight."""
        self.streamer.stream(self.name, ())
        for hook in self._crossings:
            hook.remove()
        for block in self.blocks:
            self._unlock(block)
            block.buffer = None
        self._drop_copies()
        self._files.clear()
        for weight in self._own:
            weight.data = torch.empty(0, dtype=self.dtype)

    def put(self, name: str, weight: Tensor, source: Callable[[], Tensor]) -> None:
        """Take a weight of a file. Raises KeyError for one that the network does not have."""
        part = next((part for part in self._names if name.startswith(f"{part}.")), None)
        if part is None:
            self.module.get_parameter(name).data.copy_(weight)
            return
        block = self.blocks[self._names.index(part)]
        if block.packing is not None and self.device.type == "cuda":
            weight = weight.to(self.device)
        block.put(name.removeprefix(f"{part}."), weight, source)

    def read(self, weight: Weight) -> Tensor:
        """A weight of a file, mapped: its bytes are read when they are used."""
        if weight.file not in self._files:
            self._files[weight.file] = open_weights(weight.file, self.device)
        return read_weight(self._files[weight.file], weight)

    def factors(self) -> dict[str, float]:
        """The powers of two by which layers were multiplied, by their names; see `half`."""
        return {
            f"{part}.{name.removesuffix('.weight')}": factor
            for part, block in zip(self._names, self.blocks, strict=True)
            for name, factor in block.factors.items()
        }

    def weight(self, layer: str) -> Tensor:
        """A layer's weight as it computes, read for this where it is not there."""
        part = next((part for part in self._names if layer.startswith(f"{part}.")), None)
        if part is None:
            return self.module.get_parameter(f"{layer}.weight").data
        return self.blocks[self._names.index(part)].weight(f"{layer.removeprefix(f'{part}.')}.weight")

    def home_of(self, layer: str) -> torch.device:
        """The device on which a layer computes, by its name."""
        for part, home in zip(self._names, self.homes, strict=True):
            if home == "second" and (layer == part or layer.startswith(f"{part}.")):
                assert self.keeping.second is not None
                return self.keeping.second
        return self.device

    def _memory(self, block: Block, home: Home) -> Tensor | None:
        if home == "files":
            return None
        device = {"host": torch.device("cpu"), "second": self.keeping.second}.get(home, self.device)
        if block.packing is not None and (home == "host" or block.packed_computes):
            return torch.empty(block.waiting_bytes, dtype=torch.uint8, device=device)
        return torch.empty(block.elements, dtype=self.dtype, device=device)

    def _connect(self) -> None:
        """Stream what waits, and let tensors cross to the second device and back."""
        self.streamer.stream(self.name, self.waiting)
        for hook in self._crossings:
            hook.remove()
        self._crossings.clear()
        if "second" in self.homes:
            assert self.keeping.second is not None
            crossing = Crossing()
            self._crossings += crossing.within(self.module)
            for block, home in zip(self.blocks, self.homes, strict=True):
                target = self.keeping.second if home == "second" else self.device
                self._crossings.append(crossing.into(block.module, target))
            self._crossings += [
                crossing.into(each, self.device)
                for name, part in self.module.named_children()
                if not any(name == block.partition(".")[0] for block in self._names)
                for each in (part.values() if isinstance(part, nn.ModuleDict) else (part,))
            ]

    @property
    def locked(self) -> bool:
        """Whether every block that waits in host memory is copied from locked memory, where that was asked for."""
        return not self._pins or all(block.locked for block in self.waiting if block.buffer is not None)

    @property
    def _pins(self) -> bool:
        return self.keeping.pinned and self.device.type == "cuda"

    def _lock(self) -> None:
        """Lock the host's blocks in memory. Called once they are filled."""
        for block in self.waiting if self._pins else ():
            if block.buffer is not None and not block.locked:
                block.locked = lock(block.buffer)

    def _unlock(self, block: Block) -> None:
        if block.locked and block.buffer is not None:
            torch.cuda.synchronize(self.device)
            unlock(block.buffer)
            block.locked = False

    def _drop_copies(self) -> None:
        for block in self.blocks:
            if block.copy is not None:
                there = block.buffer
                block.wait_again()
                self._unlock(block)
                block.keep(there)

    def _look_up_in_host(self) -> None:
        """Keep the token embedding in host memory where all blocks wait, else on the device; its weight is the same."""
        module, there = self._embedding, bool(self.blocks) and len(self.waiting) == len(self.blocks)
        if module is None or there == bool(self._lookups):
            return
        weight = module.weight
        assert isinstance(weight, nn.Parameter)
        if there:
            if weight.is_meta:
                materialise(module, "weight", torch.empty(weight.shape, dtype=self.dtype))
            else:
                weight.data = weight.data.cpu()
            self._lookups = self._from_host()
            return
        weight.data = weight.data.to(self.device)
        for hook in self._lookups:
            hook.remove()
        self._lookups.clear()

    def _from_host(self) -> list[Any]:
        """Let the token embedding look up in host memory; returns the hooks' handles."""
        assert self._embedding is not None
        return [
            self._embedding.register_forward_pre_hook(lambda _, inputs: (inputs[0].cpu(),)),
            self._embedding.register_forward_hook(lambda _, __, found: found.to(self.device)),
        ]


def load_networks(
    directory: Path,
    wanted: Mapping[str, tuple[Keeping, Callable[[int], tuple[Home, ...]]]],
    progress: Callable[[str, int], None],
    ours: bool = True,
) -> dict[str, Network]:
    """Networks of a directory in diffusers' layout, by name; read side by side. `ours`: see `without_weights`.

    Wanted of each: how it is kept, and a function from the number of its blocks to where each is. `progress` is told a
    name and the bytes that are in place, from several threads. Raises JobFailed for weights that are missing or of
    another shape.
    """
    networks = {}
    for name, (keeping, homes) in wanted.items():
        networks[name] = network = Network(name, without_weights(directory, name, ours), keeping)
        network.allocate(homes(len(network.blocks)))

    def read(name: str) -> None:
        network = networks[name]
        with torch.no_grad():  # of this thread
            for file in component_files(directory / name):
                with opened(file):  # a broken one seems to hold nothing
                    pass
            fill(component_weights(directory / name), network, partial(progress, name))
            network.settle()
        network.module.eval().requires_grad_(False)

    with ThreadPoolExecutor(len(networks), "zimage-network") as pool:  # while one locks memory another one reads
        list(pool.map(read, networks))
    return networks


def without_weights(directory: Path, name: str, ours: bool = True, **instead: Any) -> nn.Module:
    """The module with meta tensors for weights; what is computed from its configuration is there.

    `ours`: that of `networks`, where the flat code computes; else of the class that the directory's index names, which
    imports diffusers or transformers. `instead`: values of the configuration to replace.
    """
    library, class_name = read_index(directory)[name]
    folder = directory / name
    module: Any
    if not ours:
        hugging_face()  # before what cannot be imported where HF_ENDPOINT ends in a blank
    if ours:
        module = without_memory(lambda: build(directory, name, **instead))
    elif library == "transformers":
        import transformers

        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, **instead)
        module = without_memory(lambda: getattr(transformers, class_name)(config))
    else:
        import diffusers

        cls = getattr(diffusers, class_name)
        module = without_memory(lambda: cls.from_config(cls.load_config(folder, local_files_only=True), **instead))
    if name == "text_encoder":
        module.layers[-1] = EndOfPass()
        module.norm = nn.Identity()
    found: nn.Module = module
    return found


def without_memory(make: Callable[[], Any]) -> Any:
    """The module that `make` builds, with meta tensors for weights.

    Nothing of PyTorch is replaced meanwhile, as accelerate's `init_empty_weights` does, so other threads can build
    theirs.
    """
    with _EmptyIsMeta():
        module = make()
    for name, weight in list(module.named_parameters()):
        if not weight.is_meta:
            materialise(module, name, torch.empty_like(weight, device="meta"))
    return module


class _EmptyIsMeta(TorchFunctionMode):
    """Lets what this thread makes with `torch.empty`, as most weights are made, take no memory.

    Nor are they given initial values, which for weights without memory would import PyTorch's compiler (2 s).
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **({**kwargs, "device": "meta"} if func is torch.empty else kwargs))
