"""The Triton kernels compute what the plain functions do: sizes that fill a block and sizes that do not.

Run by test_kernels.py in Triton's interpreter, which is chosen when Triton is imported; on a GPU by `pytest` itself.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import ZImagePipeline
from torch import Tensor

from zimage_kit import nano
from zimage_kit.engine import attention, attention_kernels, autoencoder, encode, fused, kernels, prepare, transformer
from zimage_kit.engine.blocks import Block
from zimage_kit.engine.graphs import Graphs
from zimage_kit.engine.residency import Residency

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
DEVICES = [f"cuda:{number}" for number in range(torch.cuda.device_count())] or ["cpu"]
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
ROUNDING = {torch.float32: 1e-6, torch.bfloat16: 2**-7, torch.float16: 2**-11}
"""Relative, of one rounding to the type; to bfloat16 the interpreter cuts off (Triton 3.8)."""


@pytest.fixture(autouse=True)
def device() -> Any:
    torch.manual_seed(0)
    with torch.device(DEVICE):
        yield


def plain(function: Callable[..., Any], *given: Any) -> Any:
    """On a CPU in float32, where no kernel runs, from the same inputs."""
    return function(*(on_cpu(each) if isinstance(each, Tensor) else each for each in given))


def on_cpu(tensor: Tensor) -> Tensor:
    return tensor.cpu() if tensor.is_complex() else tensor.float().cpu()


def assert_same(found: Tensor, wanted: Tensor) -> None:
    assert found.dtype in DTYPES and found.shape == wanted.shape
    error = (on_cpu(found) - wanted).abs().max() / wanted.abs().max()
    assert error <= ROUNDING[found.dtype], float(error)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [64, 240])
def test_norm(width: int, dtype: torch.dtype) -> None:
    x, weight = (torch.randn(5, width) * 3).to(dtype), torch.randn(width)
    assert_same(kernels.norm(x, weight, 1e-5), plain(fused.norm, x, weight, 1e-5))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [64, 240])
def test_add_norm(width: int, dtype: torch.dtype) -> None:
    x, y = torch.randn(5, width).to(dtype), (torch.randn(5, width) * 40).to(dtype)
    gate, weight = torch.randn(width), torch.randn(width)
    total, normed = kernels.add_norm(x, y, gate, 1e-3, weight, 1e-5)
    assert_same(total, plain(fused.add, x, y, gate, 1e-3))
    assert_same(normed, plain(fused.norm, total, weight, 1e-5))  # of the sum as it was rounded
    alone, _ = kernels.add_norm(x, y, gate, 1e-3)
    assert torch.equal(alone, total)
    total, normed = kernels.add_norm(x, y, None, 0.0, weight, 1e-5)
    assert_same(total, on_cpu(x) + on_cpu(y))
    assert_same(normed, plain(fused.norm, total, weight, 1e-5))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("heads", [1, 3, 4])
def test_turn(heads: int, dtype: torch.dtype) -> None:
    qkv = torch.randn(6, 3, heads, 16).to(dtype)
    rotations = torch.polar(torch.ones(6, 8), torch.randn(6, 8))
    weights = torch.randn(16).to(dtype), torch.randn(16).to(dtype)
    wanted = on_cpu(qkv)
    plain(fused.turn, wanted, rotations, *weights, 1e-5)
    before = qkv.clone()
    kernels.turn(qkv, rotations, *weights, 1e-5)
    assert_same(qkv, wanted)
    assert torch.equal(qkv[:, 2], before[:, 2]) and not torch.equal(qkv[:, 1], before[:, 1])


def heads_of(tokens: int, width: int) -> tuple[Tensor, ...]:
    """q, k and v of three heads, rotations, and the norms' weights."""
    rotations = torch.polar(torch.ones(tokens, width // 2), torch.randn(tokens, width // 2))
    return torch.randn(tokens, 3, 3, width), rotations, torch.rand(width) + 0.5, torch.rand(width) + 0.5


@pytest.mark.parametrize("dtype", DTYPES if DEVICE == "cuda" else [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize(("tokens", "width"), [(32, 64), (128, 128), (160, 128)])
def test_attention(tokens: int, width: int, dtype: torch.dtype) -> None:
    """Not in bfloat16 on a CPU, whose products the interpreter gets wrong (Triton 3.8)."""
    qkv, *given = heads_of(tokens, width)
    qkv = qkv.to(dtype)
    wanted = plain(attention.attend, qkv.clone(), *given, 1e-5)
    kernels.turn(qkv, *given, 1e-5)
    found = attention_kernels.attend(qkv)
    assert found.dtype == dtype and found.shape == (tokens, 3 * width)
    assert relative(found, wanted) <= {torch.float32: 2e-3, torch.float16: 2e-3, torch.bfloat16: 8e-3}[dtype]


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
@pytest.mark.parametrize("tokens", [32, 128, 160])
def test_attention_in_eight_bits(tokens: int, dtype: torch.dtype) -> None:
    """Values of very different size in each head, and a head of zeros; float8 has 3 bits behind the leading one."""
    qkv, *given = heads_of(tokens, 128)
    qkv[:, 2, 0] *= 3000
    qkv[:, 2, 1] = 0
    found = attention_kernels.attend_eight(qkv.to(dtype), *given, 1e-5).unflatten(1, (3, -1))
    same = plain(attention.attend, qkv.to(dtype), *given, 1e-5, False, torch.float8_e4m3fn).unflatten(1, (3, -1))
    wanted = plain(attention.attend, qkv.to(dtype), *given, 1e-5).unflatten(1, (3, -1))
    assert not found[:, 1].any() and not same[:, 1].any()
    for head in (0, 2):
        if DEVICE == "cuda":  # the interpreter's float8 cuts off, and loses what is carried
            assert relative(found[:, head], same[:, head]) <= 0.03
        assert relative(found[:, head], wanted[:, head]) <= (0.07 if DEVICE == "cuda" else 0.2)
        assert 0.005 < relative(same[:, head], wanted[:, head]) <= 0.07


def relative(found: Tensor, wanted: Tensor) -> float:
    """The root of the mean square of the difference, over that of what was wanted."""
    return float((on_cpu(found) - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("heads", "q"), [(3, 2), (20, 17)])
def test_turn_halves(heads: int, q: int, dtype: torch.dtype) -> None:
    whole = torch.randn(6, heads + 2, 16).to(dtype)
    angles = torch.randn(6, 8).repeat(1, 2)
    given = (angles.cos().to(dtype), angles.sin().to(dtype), torch.randn(16).to(dtype), torch.randn(16).to(dtype))
    wanted = on_cpu(whole)
    fused.turn_halves(wanted[:, :heads], *map(on_cpu, given), q, 1e-5)
    kernels.turn_halves(whole[:, :heads], *given, q, 1e-5)
    assert_same(whole, wanted)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("width", [32, 2048 + 40])
def test_silu_gate(width: int, dtype: torch.dtype) -> None:
    x = torch.randn(3, 2 * width).to(dtype)
    assert_same(kernels.silu_gate(x), plain(fused.silu_gate, x))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("kind", "largest"), [(torch.int8, 127), (torch.float8_e4m3fn, 448)], ids=str)
def test_quantise(kind: torch.dtype, largest: int, dtype: torch.dtype) -> None:
    """Of numbers that the type has: the interpreter's float8 loses what is carried in rounding (Triton 3.8)."""
    x = (torch.randn(5, 240) * 20).to(kind).to(dtype)
    x[:, 7] = largest
    x[3] = 0
    found, wanted = kernels.quantise(x * 0.5, kind), plain(fused.quantise, x * 0.5, kind)
    assert found.numbers.dtype == kind and torch.equal(on_cpu(found.numbers), on_cpu(x))
    assert torch.equal(wanted.numbers.float(), on_cpu(x))
    torch.testing.assert_close(found.scales.cpu(), wanted.scales, rtol=1e-6, atol=0)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", [torch.int8, torch.float8_e4m3fn], ids=str)
def test_rounded_on_the_way(kind: torch.dtype, dtype: torch.dtype) -> None:
    """What goes into the next product, in 8 bits without a pass of its own: as rounding it afterwards."""
    x, y = torch.randn(5, 240).to(dtype), (torch.randn(5, 240) * 40).to(dtype)
    gate, weight, wide = torch.randn(240), torch.randn(240), torch.randn(3, 2 * (2048 + 40)).to(dtype)
    x[3] = y[3] = wide[1] = 0
    pairs = [
        (kernels.norm(x, weight, 1e-5, kind), plain(fused.norm, x, weight, 1e-5)),
        (
            kernels.add_norm(x, y, gate, 1e-3, weight, 1e-5, kind)[1],
            plain(fused.add_norm, x, y, gate, 1e-3, weight, 1e-5)[1],
        ),
        (kernels.silu_gate(wide, kind), plain(fused.silu_gate, wide)),
    ]
    for found, wanted in pairs:
        assert found.numbers.dtype == kind and found.numbers.shape == wanted.shape
        largest = wanted.abs().amax(1, keepdim=True).clamp(min=1e-12)
        scales = largest / (127 if kind == torch.int8 else 448)
        torch.testing.assert_close(found.scales.cpu(), scales, rtol=2 * ROUNDING[dtype], atol=0)
        back = on_cpu(found.numbers) * found.scales.cpu()
        step = 0.51 / 127 * largest if kind == torch.int8 else wanted.abs() / 8 + largest / 448 / 256
        told = torch.ones_like(wanted, dtype=torch.bool)
        if kind == torch.float8_e4m3fn and DEVICE == "cpu":
            told = 2 * (wanted / scales).frexp().mantissa.abs() < 1.9  # see test_quantise
        assert ((back - wanted).abs() <= step + 2 * ROUNDING[dtype] * largest)[told].all()


def picture(channels: int, height: int, width: int, dtype: torch.dtype) -> Tensor:
    made = torch.randn(1, channels, height, width) * torch.linspace(0.1, 3, channels)[:, None, None] + 2
    return made.to(dtype).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("channels", "groups", "side"), [(16, 4, (6, 10)), (24, 1, (3, 5)), (512, 32, (9, 7))])
def test_group_affine(channels: int, groups: int, side: tuple[int, int], dtype: torch.dtype) -> None:
    x = picture(channels, *side, dtype)
    weights = torch.randn(channels).to(dtype), torch.randn(channels).to(dtype)
    found = kernels.group_affine(x, groups, *weights, 1e-6)
    wanted = plain(fused.group_affine, x, groups, *weights, 1e-6)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rows", [(0, 12), (0, 4), (4, 8), (8, 12)])
@pytest.mark.parametrize("kind", ["plain", "normed", "enlarged"])
def test_window(kind: str, rows: tuple[int, int], dtype: torch.dtype) -> None:
    x = picture(24, 6 if kind == "enlarged" else 12, 5, dtype)
    affine = (torch.randn(24), torch.randn(24)) if kind == "normed" else None
    found = kernels.window(x, *rows, affine, kind == "enlarged")
    wanted = fused.window(on_cpu(x), *rows, affine and tuple(map(on_cpu, affine)), kind == "enlarged")
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert_same(found, wanted)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("add", [False, True])
def test_put(add: bool, dtype: torch.dtype) -> None:
    out, made, bias = picture(24, 12, 100, dtype), picture(24, 4, 100, dtype), torch.randn(24).to(dtype)
    wanted = on_cpu(out)
    fused.put(wanted[:, :, 4:8], on_cpu(made), on_cpu(bias), add)
    kernels.put(out[:, :, 4:8], made, bias, add)
    assert_same(out, wanted)


@pytest.mark.parametrize("where", DEVICES)
def test_kernels_run_where_their_tensors_are(where: str) -> None:
    """A model split over two cards, or on the second, while the first is PyTorch's current device."""
    x, weight = torch.randn(5, 64, device=where), torch.randn(64, device=where)
    assert_same(kernels.norm(x, weight, 1e-5), plain(fused.norm, x, weight, 1e-5))


@pytest.mark.parametrize("packed", [None, torch.int8, torch.float8_e4m3fn], ids=str)
def test_all_are_built_before_the_first_picture(packed: torch.dtype | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one evaluation, a prompt and a picture launch is what `prepare` launches; nothing is computed here."""
    launched: set[Any] = set()

    def note(kernel: Any, grid: Any, *given: Any, **sizes: Any) -> None:
        kinds = tuple(each.dtype for each in given if isinstance(each, Tensor))
        launched.add((kernel.__name__, kinds, tuple(sizes.items())))

    monkeypatch.setattr(fused, "_kernels", lambda x: kernels)
    monkeypatch.setattr(attention, "_ours", lambda qkv: attention_kernels)
    monkeypatch.setattr(kernels, "launch", note)
    for call in prepare.calls(nano.DIRECTORY, torch.device(DEVICE), torch.bfloat16, packed):
        call()
    prepared = launched.copy()
    launched.clear()
    pipe: Any = ZImagePipeline.from_pretrained(nano.DIRECTORY, torch_dtype=torch.bfloat16).to(DEVICE)
    transformer.flatten(pipe.transformer)
    network, precision = pipe.transformer, {torch.int8: "int8", torch.float8_e4m3fn: "fp8"}.get(packed, "")
    for module in (*network.noise_refiner, *network.context_refiner, *network.layers) if packed else ():
        block = Block(module, torch.bfloat16, precision, packed_computes=True)
        block.keep(torch.zeros(block.bytes, dtype=torch.uint8))
    pipe.text_encoder.layers[-1] = encode.EndOfPass()
    encode.flatten(pipe.text_encoder)
    with torch.no_grad():
        prompt = encode.encode(pipe.text_encoder, encode.token_ids(nano.DIRECTORY, "a boat").to(DEVICE))
        evaluate = transformer.FlatTransformer(pipe.transformer, torch.tensor([0.0]))
        evaluate([torch.randn(16, 1, 8, 8).bfloat16()], torch.tensor([0.0]), [prompt])
        autoencoder.SlabbedAutoencoder(pipe.vae).decode(torch.randn(1, 16, 8, 8).bfloat16())
    assert launched and launched <= prepared, launched - prepared


if DEVICE == "cuda":

    def test_graphs_compute_what_is_launched(monkeypatch: pytest.MonkeyPatch) -> None:
        """Bit for bit, for two sizes and two prompts in turn, and with other weights at other addresses."""
        pipe: Any = ZImagePipeline.from_pretrained(nano.DIRECTORY, torch_dtype=torch.bfloat16).to(DEVICE)
        transformer.flatten(pipe.transformer)
        residency = Residency()
        graphs, times = Graphs(DEVICE, residency), torch.tensor([0.0, 0.3, 0.6, 0.9])
        room: Any = SimpleNamespace(streamed_blocks=0, second="", room_bytes=None, peak_bytes=0)

        def drawn(side: int, tokens: int, seed: int, by: Graphs | None) -> Tensor:
            torch.manual_seed(seed)
            evaluate = transformer.FlatTransformer(pipe.transformer, times, by)
            prompt, x = (
                torch.randn(tokens, pipe.transformer.config.cap_feat_dim).bfloat16(),
                torch.randn(16, 1, side, side),
            )
            for time in times:
                x = x - 0.2 * evaluate([x.bfloat16()], time[None], [prompt])[0][0].float()
            return x

        with torch.no_grad():
            for side, tokens, seed in [(16, 20, 1), (32, 20, 2), (16, 20, 3), (32, 50, 4), (16, 20, 5)] * 2:
                wanted = drawn(side, tokens, seed, None)
                assert torch.equal(drawn(side, tokens, seed, graphs.within(room)), wanted), (side, tokens, seed)
            assert not graphs.problem and len(graphs._kept) == 3
            assert [each.name for each in residency.entries] == ["graphs"] and residency.bytes > 0
            for layer in pipe.transformer.layers:
                layer.feed_forward.w2.weight = torch.nn.Parameter(layer.feed_forward.w2.weight.flip(0).clone())
            assert torch.equal(drawn(16, 20, 1, graphs.within(room)), drawn(16, 20, 1, None))
            assert len(graphs._kept) == 4
            full: Any = SimpleNamespace(**{**vars(room), "room_bytes": 1 << 20, "peak_bytes": 1 << 20})
            residency.clear()
            drawn(16, 20, 1, graphs.within(full))
            assert not graphs._kept and not residency.entries and not graphs.problem
