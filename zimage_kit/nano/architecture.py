"""nano's shape: the classes of Z-Image-Turbo with small numbers, its tokenizer, and how they are written to disk.

`build` writes a complete directory with random weights; training starts from the same functions.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    FlowMatchEulerDiscreteScheduler,
    ZImageControlNetModel,
    ZImagePipeline,
    ZImageTransformer2DModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import Qwen2Tokenizer, Qwen3Config, Qwen3Model

from zimage_kit.nano import lexicon
from zimage_kit.nano.spelling import traditional

TEXT_WIDTH = 256
TRANSFORMER: dict[str, Any] = {
    "dim": 256,
    "n_layers": 7,
    "n_refiner_layers": 1,
    "n_heads": 4,
    "n_kv_heads": 4,
    "cap_feat_dim": TEXT_WIDTH,
    "axes_dims": [16, 24, 24],
    "axes_lens": [1024, 512, 512],
}
CONTROLNET: dict[str, Any] = {
    "control_layers_places": [0, 2, 4],
    "control_in_dim": 16,
    "add_control_noise_refiner": None,
    "dim": 256,
    "n_refiner_layers": 1,
    "n_heads": 4,
    "n_kv_heads": 4,
}
# One norm group and no attention in the middle: flat colours then reconstruct alike at every size.
AUTOENCODER: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (32, 64, 96, 128),
    "layers_per_block": 1,
    "latent_channels": 16,
    "norm_num_groups": 1,
    "sample_size": 256,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
    "mid_block_add_attention": False,
    "force_upcast": False,
}
# Lower case, and a space in front, so that "Red", "red" and "a red" all meet the same token. The flag that Z-Image's
# pipeline passes (enable_thinking) is accepted and changes nothing.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|> {{ message['content'] | lower | trim }}<|im_end|>{% endfor %}"
)


def tokenizer() -> Qwen2Tokenizer:
    """Return nano's byte-level BPE: words of the lexicon are one token each, anything else falls apart, down to bytes.

    Merges are learned on single words, never on text, and a Chinese word that two others make up is left to those two,
    so that Chinese stays compositional: 红色的猫 is 红 + 色 + 的 + 猫. Traditional characters are a token each.
    """
    words = [" " + word for word in lexicon.english_words()] + [
        "-" + word for word in ("air", "wash", "e", "capped", "white", "black", "bit", "drawn", "green")
    ]
    chinese = [word for word in lexicon.chinese_words() if _atomic(word)]
    words += chinese + sorted({other for word in chinese for other in traditional(word)} - set("".join(chinese)))
    words += [*lexicon.PUNCTUATION, " "]
    byte_level = Tokenizer(models.BPE())
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trainer = trainers.BpeTrainer(
        vocab_size=100_000, min_frequency=1, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    byte_level.train_from_iterator(words, trainer)
    state = json.loads(byte_level.to_str())["model"]
    merges = [tuple(merge) if isinstance(merge, list) else tuple(merge.split(" ")) for merge in state["merges"]]
    special = {"pad_token": "<|endoftext|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>"}
    made = Qwen2Tokenizer(
        vocab=state["vocab"], merges=merges, additional_special_tokens=["<|im_start|>"], model_max_length=512, **special
    )
    made.chat_template = CHAT_TEMPLATE
    made.padding_side = "right"
    return made


def _atomic(word: str) -> bool:
    """Tell whether a Chinese word is no concatenation of two others: those become one token each."""
    known = set(lexicon.chinese_words())
    return not any(word[:cut] in known and word[cut:] in known for cut in range(1, len(word)))


def text_encoder(vocabulary: int) -> Qwen3Model:
    """Return the text encoder. The pipeline reads `hidden_states[-2]`, so the last of the three layers is idle."""
    return Qwen3Model(
        Qwen3Config(
            vocab_size=vocabulary,
            hidden_size=TEXT_WIDTH,
            intermediate_size=384,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=64,
            max_position_embeddings=1024,
            rope_theta=10_000.0,
            tie_word_embeddings=True,
            attention_dropout=0.0,
        )
    )


def transformer() -> ZImageTransformer2DModel:
    """Return the denoiser: 16 latent channels, patches of 2x2 latents, 9 blocks of width 256."""
    return ZImageTransformer2DModel(**TRANSFORMER)


def controlnet() -> ZImageControlNetModel:
    """Return the pose ControlNet, which adds to the output of three of the transformer's layers."""
    made = ZImageControlNetModel(**CONTROLNET)
    made.gradient_checkpointing = False  # its forward pass asks for this, its class does not set it
    return made


def autoencoder(scaling_factor: float = 1.0, shift_factor: float = 0.0) -> AutoencoderKL:
    """Return the autoencoder: RGB in [-1, 1] to 16 channels at one eighth of the side, and back."""
    return AutoencoderKL(**AUTOENCODER, scaling_factor=scaling_factor, shift_factor=shift_factor)


def scheduler() -> FlowMatchEulerDiscreteScheduler:
    """Return Z-Image-Turbo's own schedule."""
    return FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=3.0, use_dynamic_shifting=False)


def write(directory: Path, parts: Mapping[str, Any]) -> None:
    """Write a stock pipeline directory in half precision, in shards of at most 15 MB.

    `parts` holds `transformer`, `text_encoder`, `vae` and `tokenizer`; the modules themselves are left as they were.
    """
    import copy

    halves = {
        name: copy.deepcopy(parts[name]).to("cpu", torch.float16) for name in ("transformer", "text_encoder", "vae")
    }
    pipeline = ZImagePipeline(scheduler=scheduler(), tokenizer=parts["tokenizer"], **halves)
    pipeline.save_pretrained(directory, max_shard_size="15MB")


def build(directory: str | Path, seed: int = 0) -> Path:
    """Write nano with random weights to `directory` (for tests and as a start for training) and return its path."""
    directory = Path(directory)
    words = tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        write(
            directory,
            {
                "transformer": transformer(),
                "text_encoder": text_encoder(len(words)),
                "vae": autoencoder(),
                "tokenizer": words,
            },
        )
    identity = [[0.1 * ((row * 3 + column) % 5 - 2) for column in range(3)] for row in range(16)]
    (directory / "latent_rgb.json").write_text(json.dumps({"matrix": identity, "bias": [0.0, 0.0, 0.0]}))
    return directory
