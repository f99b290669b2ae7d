"""For which weights a graph of the layers is, and where there is none.

That a graph draws the same needs a GPU: see interpreted_kernels.py.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import ZImageTransformer2DModel
from peft import LoHaConfig, LoraConfig, inject_adapter_in_model
from torch import nn

from zimage_kit.engine.graphs import Graphs, addresses
from zimage_kit.engine.plan import Plan
from zimage_kit.engine.residency import Residency


@pytest.fixture
def layers() -> Any:
    sizes = {"dim": 64, "n_layers": 2, "n_refiner_layers": 1, "n_heads": 2, "n_kv_heads": 2, "cap_feat_dim": 24}
    made = ZImageTransformer2DModel(**sizes, axes_dims=[8, 12, 12], axes_lens=[256, 64, 64]).requires_grad_(False)
    return made.layers


def test_a_graph_is_for_weights_where_they_are(layers: Any) -> None:
    first = addresses(layers, torch.float32)
    assert first and addresses(layers, torch.float32) == first
    layers[1].feed_forward.w2.weight = nn.Parameter(layers[1].feed_forward.w2.weight.clone())
    assert addresses(layers, torch.float32) != first


def test_a_graph_is_for_loras_with_their_weights(layers: Any) -> None:
    first = addresses(layers, torch.float32)
    inject_adapter_in_model(LoraConfig(r=4, target_modules=["to_q", "w1"]), layers, "one")
    with_one = addresses(layers, torch.float32)
    assert len(with_one) == len(first) + 2 * len(layers)
    layers[0].attention.to_q.scaling["one"] = 0.25
    weaker = addresses(layers, torch.float32)
    assert weaker != with_one
    for layer in layers:
        layer.attention.to_q.enable_adapters(False)
        layer.feed_forward.w1.enable_adapters(False)
    assert addresses(layers, torch.float32) == first


def test_there_is_none_where_peft_computes(layers: Any) -> None:
    inject_adapter_in_model(LoHaConfig(r=4, target_modules=["to_q"]), layers, "one")
    assert addresses(layers, torch.float32) == ()


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
