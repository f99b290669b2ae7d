"""Published numbers about Z-Image for the ModelSpecs: sizes, checksums, the latent-to-RGB fit."""

from __future__ import annotations

from typing import Any

from .directories import ComponentSize

MEGAPIXEL_SIZES: tuple[tuple[int, int], ...] = (
    (1024, 1024),
    (896, 1152),
    (1152, 896),
    (832, 1216),
    (1216, 832),
    (768, 1344),
    (1344, 768),
)
"""The usual sizes of one megapixel: width, height in pixels."""

TURBO_SIZES = {
    "transformer": ComponentSize((180_910_336,) * 2 + (176_962_816,) * 2 + (180_910_336,) * 30, 11_900_000, 3840),
    "text_encoder": ComponentSize((100_930_816,) * 35, 388_956_160, 2560),
    "vae": ComponentSize((), 83_800_000),
}
"""Numbers in each network, block by block; the text encoder without its last layer, which is never needed."""

TURBO_CONFIGS: dict[str, dict[str, Any]] = {
    "transformer": {
        "_class_name": "ZImageTransformer2DModel", "all_patch_size": [2], "all_f_patch_size": [1], "in_channels": 16,
        "dim": 3840, "n_layers": 30, "n_refiner_layers": 2, "n_heads": 30, "n_kv_heads": 30, "norm_eps": 1e-5,
        "qk_norm": True, "cap_feat_dim": 2560, "rope_theta": 256.0, "t_scale": 1000.0, "axes_dims": [32, 48, 48],
        "axes_lens": [1536, 512, 512],
    },
    "text_encoder": {
        "architectures": ["Qwen3Model"], "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 2560,
        "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8,
        "head_dim": 128, "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 1000000,
        "max_position_embeddings": 40960, "attention_bias": False, "tie_word_embeddings": True,
    },
    "vae": {
        "_class_name": "AutoencoderKL", "in_channels": 3, "out_channels": 3, "latent_channels": 16,
        "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "norm_num_groups": 32, "act_fn": "silu",
        "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
        "sample_size": 1024, "scaling_factor": 0.3611, "shift_factor": 0.1159, "force_upcast": False,
        "mid_block_add_attention": True, "use_quant_conv": False, "use_post_quant_conv": False,
    },
    "scheduler": {
        "_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0,
        "use_dynamic_shifting": False,
    },
}  # fmt: skip
"""What turbo's networks are built from, for weights that come without: their authors' configurations in substance."""
BASE_SHIFT = 6.0
"""The base model differs from turbo's configurations in its scheduler's shift only."""

FLUX_LATENT_RGB: tuple[tuple[float, float, float], ...] = (
    (-0.0412, 0.0149, 0.0521),
    (0.0056, 0.0291, 0.0768),
    (0.0342, -0.0681, -0.0427),
    (-0.0258, 0.0092, 0.0463),
    (0.0863, 0.0784, 0.0547),
    (-0.0017, 0.0402, 0.0158),
    (0.0501, 0.1058, 0.1152),
    (-0.0209, -0.0218, -0.0329),
    (-0.0314, 0.0083, 0.0896),
    (0.0851, 0.0665, -0.0472),
    (-0.0534, 0.0238, -0.0024),
    (0.0452, -0.0026, 0.0048),
    (0.0892, 0.0831, 0.0881),
    (-0.1117, -0.0304, -0.0789),
    (0.0027, -0.0479, -0.0043),
    (-0.1146, -0.0827, -0.0598),
)
"""A published linear fit for the Flux autoencoder, without offsets. Rows are latent channels, columns R, G, B."""

TURBO_MD5 = {
    "model_index.json": "5e3226ed72a9a4a080f2a4ca78b98ddc",
    "scheduler/scheduler_config.json": "ca682fcc6c5a94cf726b7187e64b9411",
    "text_encoder/config.json": "1e97eb35d9d0b6aa60c58a8df8d7d99a",
    "text_encoder/model-00001-of-00003.safetensors": "30b85686b9a9b002e012494fadc027cb",
    "text_encoder/model-00002-of-00003.safetensors": "e6a24ea164404a01ad2800dbae4e1a13",
    "text_encoder/model-00003-of-00003.safetensors": "09e190ed15ff14795b6277e023cfcb2d",
    "text_encoder/model.safetensors.index.json": "589f5395156900f49d617aee8a8d8708",
    "tokenizer/tokenizer.json": "6423133b9cc1a2077b57822c30c211aa",
    "tokenizer/tokenizer_config.json": "b06e103ac555ec4b51266078b518c0f0",
    "transformer/config.json": "baed87136fe5f848e24b072f99856cc3",
    "transformer/diffusion_pytorch_model-00001-of-00003.safetensors": "54889d0dd179b4fa2fd7bd0e487d856e",
    "transformer/diffusion_pytorch_model-00002-of-00003.safetensors": "fe81e804658d345323512c63224b0604",
    "transformer/diffusion_pytorch_model-00003-of-00003.safetensors": "4e074e09129f98ad840414951f122feb",
    "transformer/diffusion_pytorch_model.safetensors.index.json": "76d788eb0d42c59cc8f8ec007db639aa",
    "vae/config.json": "ba9e2980c8630b4abccc643bc9f4a542",
    "vae/diffusion_pytorch_model.safetensors": "6f83de55cb720c7fae051b14528577bf",
}
"""Relative path to MD5, from the model authors' manifest."""

UNION_KINDS = ("pose", "canny", "scribble", "depth", "hed", "mlsd", "gray")
"""Control pictures that Z-Image-Turbo-Fun-Controlnet-Union 2.1 takes, by its model card."""
