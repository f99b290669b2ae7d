"""For which weights a graph of the layers is, and where there is none.

That a graph draws the same needs a GPU: see interpreted_kernels.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import ZImageTransformer2DModel
from torch import nn

from zimage_kit.engine.adapters import Dense, Gain, LinearAdapter, LowRank, attach
from zimage_kit.engine.graphs import Graphs, addresses
from zimage_kit.engine.plan import Plan
from zimage_kit.engine.residency import Residency


@pytest.fixture
def layers() -> Any:
    sizes = {"dim": 64, "n_layers": 2, "n_refiner_layers": 1, "n_heads": 2, "n_kv_heads": 2, "cap_feat_dim": 24}
    made = ZImageTransformer2DModel(**sizes, axes_dims=[8, 12, 12], axes_lens=[256, 64, 64]).requires_grad_(False)
    return made.layers


def test_a_graph_is_for_weights_where_they_are(layers: Any) -> None:
    first = addresses(layers)
    assert first and addresses(layers) == first
    layers[1].feed_forward.w2.weight = nn.Parameter(layers[1].feed_forward.w2.weight.clone())
    assert addresses(layers) != first


def test_a_graph_is_for_loras_with_their_weights(layers: Any) -> None:
    first = addresses(layers)
    one = LinearAdapter(LowRank(torch.zeros(64, 4), torch.zeros(4, 64)))
    adapted = [layer.attention.to_q for layer in layers]
    for module in adapted:
        attach(module, [(one, 1.0)])
    with_one = addresses(layers)
    assert len(with_one) == len(first) + len(adapted)
    attach(adapted[0], [(one, 0.25)])
    assert addresses(layers) != with_one
    for module in adapted:
        attach(module, [])
    assert addresses(layers) == first


@pytest.mark.parametrize("where", ["to_q", "norm_k"])
def test_there_is_none_with_loras_of_other_kinds(layers: Any, where: str) -> None:
    adapter = LinearAdapter(Dense(torch.zeros(64, 64))) if where == "to_q" else Gain(torch.zeros(32))
    attach(layers[0].attention.get_submodule(where), [(adapter, 1.0)])
    assert addresses(layers) == ()


@pytest.mark.parametrize("short", [{"streamed_blocks": 4}, {"second": "cuda:1"}, {"device": "cpu"}], ids=str)
def test_there_is_none_where_blocks_are_copied_or_there_is_no_cuda(short: dict[str, Any]) -> None:
    plan = replace(Plan(device="cuda:0", dtype="bfloat16"), **short)
    assert Graphs(plan.device, Residency()).within(plan) is None


def test_the_same_value_is_counted_anew_and_another_one_freed() -> None:
    residency, freed, value = Residency(), [], object()
    residency.put("graphs", "graph", value, 10, lambda: freed.append("first"))
    residency.put("graphs", "graph", value, 30, lambda: freed.append("same"))
    assert residency.bytes == 30 and not freed
    residency.put("graphs", "graph", object(), 5, lambda: freed.append("other"))
    assert residency.bytes == 5 and freed == ["same"]
    assert residency.make_room(1, lambda: 0) == ["the layers' graph"]
