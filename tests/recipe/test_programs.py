"""Recipes of other programs in the files that they write: what is taken, and that the rest is told."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

import zimage_kit as zk
from zimage_kit import Request
from zimage_kit.errors import NoRecipe
from zimage_kit.models.spec import NANO
from zimage_kit.recipe.programs import READERS

PROMPT, NEGATIVE = "a red boat, 红色的船", "blurry"
LORA = sorted(NANO.loras.glob("*.safetensors"))[0].stem if NANO.loras else ""
WANTED = Request(prompt=PROMPT, negative_prompt=NEGATIVE, steps=9, seed=42, width=832, height=1216, guidance=1.5)


def png(path: Path, **texts: Any) -> Path:
    """A picture with these texts, objects as JSON."""
    info = PngImagePlugin.PngInfo()
    for name, value in texts.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        info.add_itxt(name, text)
    Image.new("RGB", (16, 16)).save(path, pnginfo=info)
    return path


def graph(**changes: Any) -> dict[str, Any]:
    """What ComfyUI's template for Z-Image-Turbo runs, with a LoRA."""
    nodes = {
        "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "z", "images": ["8", 0]}},
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["17", 0]}},
        "17": {"class_type": "VAELoader", "inputs": {"vae_name": "ae.safetensors"}},
        "3": {
            "class_type": "KSampler",
            "inputs": {
                "seed": 42, "steps": 9, "cfg": 2.5, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0,
                "model": ["11", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["13", 0],
            },
        },
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": PROMPT, "clip": ["18", 0]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": NEGATIVE, "clip": ["18", 0]}},
        "13": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 832, "height": 1216, "batch_size": 1}},
        "11": {"class_type": "ModelSamplingAuraFlow", "inputs": {"shift": 3.0, "model": ["20", 0]}},
        "20": {
            "class_type": "LoraLoaderModelOnly",
            "inputs": {"lora_name": f"styles\\{LORA}.safetensors", "strength_model": 0.8, "model": ["16", 0]},
        },
        "16": {
            "class_type": "UNETLoader",
            "inputs": {"unet_name": "z_image_turbo_bf16.safetensors", "weight_dtype": "default"},
        },
        "18": {"class_type": "CLIPLoader", "inputs": {"clip_name": "qwen_3_4b.safetensors", "type": "lumina2"}},
    }  # fmt: skip
    return {**nodes, **changes}


def page() -> dict[str, Any]:
    """The same as the page keeps it."""
    links = [
        [1, 8, 0, 9, 0, "IMAGE"], [2, 3, 0, 8, 0, "LATENT"], [3, 6, 0, 3, 1, "CONDITIONING"],
        [4, 7, 0, 3, 2, "CONDITIONING"], [5, 13, 0, 3, 3, "LATENT"], [6, 16, 0, 3, 0, "MODEL"],
    ]  # fmt: skip

    def node(number: int, kind: str, values: list[Any], **inputs: int) -> dict[str, Any]:
        given = [{"name": name, "link": link} for name, link in inputs.items()]
        return {"id": number, "type": kind, "widgets_values": values, "inputs": given, "mode": 0}

    sampler = [42, "randomize", 9, 2.5, "euler", "simple", 1]
    return {
        "nodes": [
            node(9, "SaveImage", ["z"], images=1),
            node(8, "VAEDecode", [], samples=2),
            node(3, "KSampler", sampler, model=6, positive=3, negative=4, latent_image=5),
            node(6, "CLIPTextEncode", [PROMPT]),
            node(7, "CLIPTextEncode", [NEGATIVE]),
            node(13, "EmptySD3LatentImage", [832, 1216, 1]),
            node(16, "UNETLoader", ["z_image_turbo_bf16.safetensors", "default"]),
            {**node(30, "KSampler", sampler), "mode": 4},
        ],
        "links": links,
    }


INVOKEAI = {
    "app_version": "6.9.0", "generation_mode": "z_image_txt2img",
    "positive_prompt": PROMPT, "negative_prompt": NEGATIVE,
    "width": 832, "height": 1216, "seed": 42, "cfg_scale": 2.5, "steps": 9, "scheduler": "euler",
    "model": {"key": "1", "name": "Z-Image Turbo", "base": "z-image"},
    "loras": [{"model": {"name": LORA}, "weight": 0.8}],
}  # fmt: skip
SWARMUI: dict[str, dict[str, Any]] = {
    "sui_image_params": {
        "prompt": PROMPT, "negativeprompt": NEGATIVE, "model": "z_image_turbo_bf16", "seed": 42, "steps": 9,
        "cfgscale": 2.5, "width": 832, "height": 1216, "sampler": "euler", "loras": [LORA], "loraweights": ["0.8"],
        "swarm_version": "0.9.7",
    },
    "sui_extra_data": {"date": "2026-01-01"},
}  # fmt: skip
FOOOCUS = {
    "prompt": PROMPT, "negative_prompt": NEGATIVE, "steps": 9, "guidance_scale": 2.5, "resolution": "(832, 1216)",
    "seed": "42", "base_model": "z_image_turbo", "sampler": "euler", "lora_combined_1": f"{LORA}.safetensors : 0.8",
    "metadata_scheme": "fooocus", "version": "Fooocus v2.5.5",
}  # fmt: skip
DRAW_THINGS = {
    "c": PROMPT, "uc": NEGATIVE, "model": "z_image_turbo_1.0_q6p.ckpt", "sampler": "Euler A Trailing", "scale": 2.5,
    "seed": 42, "size": "832x1216", "steps": 9, "lora": [{"model": LORA, "weight": 0.8}], "v2": {"shift": 3},
}  # fmt: skip
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    'xmlns:exif="http://ns.adobe.com/exif/1.0/"><exif:UserComment><rdf:Alt><rdf:li xml:lang="x-default">{}</rdf:li>'
    "</rdf:Alt></exif:UserComment></rdf:Description></rdf:RDF></x:xmpmeta>"
)
NOVELAI = {"steps": 9, "width": 832, "height": 1216, "scale": 2.5, "uc": NEGATIVE, "seed": 42, "sampler": "k_euler"}
CASES: dict[str, dict[str, Any]] = {
    "ComfyUI's graph": {"prompt": graph(), "workflow": page()},
    "ComfyUI's page": {"workflow": page()},
    "InvokeAI": {"invokeai_metadata": INVOKEAI},
    "InvokeAI 2": {
        "sd-metadata": {
            "app_version": "2.3", "model": "sd",
            "image": {
                "prompt": [{"prompt": PROMPT, "weight": 1}], "negative_prompt": NEGATIVE, "steps": 9, "cfg_scale": 2.5,
                "seed": 42, "width": 832, "height": 1216,
            },
        }
    },
    "SwarmUI": {"parameters": SWARMUI, "prompt": graph()},
    "Fooocus": {"parameters": FOOOCUS},
    "Fooocus, LoRAs in both ways": {"parameters": FOOOCUS | {"loras": [[LORA, 0.8, "abc"]]}},
    "Draw Things": {"XML:com.adobe.xmp": XMP.format(html.escape(json.dumps(DRAW_THINGS, ensure_ascii=False)))},
    "NovelAI": {"Description": PROMPT, "Software": "NovelAI", "Comment": NOVELAI, "Source": "Diffusion V4"},
}  # fmt: skip
WITHOUT_LORA = ("ComfyUI's page", "InvokeAI 2", "NovelAI")


@pytest.mark.parametrize("program", CASES)
def test_what_they_say_can_be_run(program: str, tmp_path: Path) -> None:
    artifact = zk.open(png(tmp_path / "a.png", **CASES[program]))
    loras = artifact.request.loras
    assert artifact.request.but(loras=()) == WANTED
    assert [(str(lora.path), lora.weight) for lora in loras] == ([] if program in WITHOUT_LORA else [(LORA, 0.8)])
    told = " | ".join(artifact.trace.notes)
    name = program.split()[0].rstrip(",").removesuffix("'s")
    assert f"recipe read from {'a ' if 'Comfy' in program else ''}{name}" in told
    if program not in ("InvokeAI 2", "NovelAI"):
        assert "euler" in told.lower(), "the sampler is told"
    assert "model " in told and "another program named it" in told


@pytest.mark.parametrize("kind", ["webp", "jpg"])
def test_from_other_formats(kind: str, tmp_path: Path) -> None:
    image, exif = Image.new("RGB", (16, 16)), Image.Exif()
    exif[0x010F], exif[0x0110] = f"workflow:{json.dumps(page())}", f"prompt:{json.dumps(graph())}"
    image.save(tmp_path / f"comfy.{kind}", exif=exif)
    assert zk.open(tmp_path / f"comfy.{kind}").request.but(loras=()) == WANTED
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + json.dumps(SWARMUI).encode("utf-16-le")
    image.save(tmp_path / f"swarm.{kind}", exif=exif)
    assert zk.open(tmp_path / f"swarm.{kind}").request.but(loras=()) == WANTED


def of(nodes: dict[str, Any], folder: Path) -> tuple[Request, str]:
    artifact = zk.open(png(folder / "a.png", prompt=nodes))
    return artifact.request, " | ".join(artifact.trace.notes)


def test_a_graph_with_a_guider_and_values_from_other_nodes(tmp_path: Path) -> None:
    changes = {
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["40", 0], "vae": ["17", 0]}},
        "40": {
            "class_type": "SamplerCustomAdvanced",
            "inputs": {"noise": ["41", 0], "guider": ["42", 0], "sampler": ["43", 0], "sigmas": ["44", 0],
                       "latent_image": ["13", 0]},
        },
        "41": {"class_type": "RandomNoise", "inputs": {"noise_seed": ["45", 0]}},
        "45": {"class_type": "PrimitiveInt", "inputs": {"value": 42}},
        "42": {"class_type": "CFGGuider", "inputs": {"cfg": 2.5, "model": ["16", 0], "positive": ["6", 0],
                                                    "negative": ["7", 0]}},
        "43": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "res_multistep"}},
        "44": {"class_type": "BasicScheduler", "inputs": {"scheduler": "simple", "steps": 9, "denoise": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["46", 0], "clip": ["18", 0]}},
        "46": {"class_type": "PrimitiveStringMultiline", "inputs": {"value": PROMPT}},
    }  # fmt: skip
    request, told = of(graph(**changes), tmp_path)
    assert request == WANTED
    assert "left out: sampler_name: res_multistep" in told


def test_of_two_passes_the_first_is_taken_and_unknown_nodes_are_named(tmp_path: Path) -> None:
    again = graph()["3"]["inputs"] | {
        "seed": 7,
        "steps": 4,
        "denoise": 0.4,
        "latent_image": ["50", 0],
        "model": ["51", 0],
    }
    changes = {
        "8": {"class_type": "VAEDecode", "inputs": {"samples": ["49", 0], "vae": ["17", 0]}},
        "49": {"class_type": "KSampler", "inputs": again},
        "50": {"class_type": "LatentUpscaleBy", "inputs": {"samples": ["3", 0], "scale_by": 1.5}},
        "51": {"class_type": "Sharpen The Model", "inputs": {"model": ["16", 0]}},
        "11": {"class_type": "Sharpen The Model", "inputs": {"model": ["20", 0]}},
    }
    request, told = of(graph(**changes), tmp_path)
    assert request.but(loras=()) == WANTED
    assert "left out: nodes: Sharpen The Model" in told


def test_a_zeroed_negative_and_a_list_of_loras(tmp_path: Path) -> None:
    several = {"lora_1": {"on": True, "lora": f"{LORA}.safetensors", "strength": 0.5},
               "lora_2": {"on": False, "lora": "b", "strength": 1}, "model": ["16", 0]}  # fmt: skip
    changes = {
        "7": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["6", 0]}},
        "20": {"class_type": "Power Lora Loader", "inputs": several},
    }
    request, _ = of(graph(**changes), tmp_path)
    assert request.negative_prompt == ""
    assert [(str(lora.path), lora.weight) for lora in request.loras] == [(LORA, 0.5)]


@pytest.mark.parametrize("kind", ["ControlNetApplyAdvanced", "Context (rgthree)"])
def test_a_node_that_passes_both_prompts_on_keeps_them_apart(kind: str, tmp_path: Path) -> None:
    sampler = graph()["3"]["inputs"] | {"positive": ["60", 0], "negative": ["60", 1]}
    both = {"class_type": kind, "inputs": {"positive": ["6", 0], "negative": ["7", 0], "strength": 1}}
    request, told = of(graph(**{"3": {"class_type": "KSampler", "inputs": sampler}, "60": both}), tmp_path)
    assert request.but(loras=()) == WANTED
    assert f"left out: nodes: {kind}" in told


def test_a_loader_that_has_all_in_it(tmp_path: Path) -> None:
    loader = {"lora_name": "None", "positive": PROMPT, "negative": NEGATIVE, "empty_latent_width": 832,
              "empty_latent_height": 1216}  # fmt: skip
    sampler = {"seed": 42, "steps": 9, "cfg": 2.5, "positive": ["1", 1], "negative": ["1", 2],
               "latent_image": ["1", 3]}  # fmt: skip
    nodes = {"1": {"class_type": "A", "inputs": loader}, "2": {"class_type": "B", "inputs": sampler}}
    request, told = of(nodes, tmp_path)
    assert request == WANTED and "LoRA None" not in told


@pytest.mark.parametrize(
    "node",
    [
        {"string_a": "a boat", "string_b": ["61", 0], "delimiter": ", "},
        {"delimiter": ", ", "clean_whitespace": "true", "text_a": ["62", 0], "text_b": ["61", 0]},
        {"wildcard_text": "{a|the} boat", "populated_text": "a boat, red", "mode": "populate"},
    ],
)
def test_a_prompt_of_several_texts(node: dict[str, Any], tmp_path: Path) -> None:
    changes = {
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["60", 0], "clip": ["18", 0]}},
        "60": {"class_type": "Texts", "inputs": node},
        "61": {"class_type": "PrimitiveString", "inputs": {"value": "red"}},
        "62": {"class_type": "PrimitiveString", "inputs": {"value": "a boat"}},
    }
    assert of(graph(**changes), tmp_path)[0].prompt == "a boat, red"


def test_a_prompt_that_is_not_found_is_told(tmp_path: Path) -> None:
    changes = {"6": {"class_type": "Fancy", "inputs": {"sentences": "a boat"}}}
    request, told = of(graph(**changes), tmp_path)
    assert request.prompt == "" and "left out: prompt: its text was not found in Fancy" in told


@pytest.mark.parametrize(
    "broken",
    [
        json.dumps({i: {"class_type": "Preview", "inputs": {"images": [str(i + 1), 0]}} for i in range(9000)}),
        "{", "[]", "null", '{"1": 2}', '{"1": {"class_type": "KSampler", "inputs": {}}}', "[" * 100_000,
        '{"1": {"class_type": "VAEDecode", "inputs": {"samples": ["1", 0]}}}',
    ],
)  # fmt: skip
def test_a_graph_that_is_none(broken: str, tmp_path: Path) -> None:
    with pytest.raises(NoRecipe, match="no sampler"):
        zk.open(png(tmp_path / "a.png", prompt=broken))


def test_a_circle_of_nodes_ends(tmp_path: Path) -> None:
    changes = {
        "6": {"class_type": "Loop", "inputs": {"conditioning": ["7", 0]}},
        "7": {"class_type": "Loop", "inputs": {"conditioning": ["6", 0]}},
    }
    request, _ = of(graph(**changes), tmp_path)
    assert (request.prompt, request.seed) == ("", 42)


@pytest.mark.parametrize("value", ["x", None, 1e400, -1, [], {}, True, 2**70, 10**4000])
def test_values_that_fit_nothing_are_told_and_stop_nothing(value: Any, tmp_path: Path) -> None:
    names = ("seed", "width", "steps", "cfgscale", "loras")
    params = {**SWARMUI["sui_image_params"], **dict.fromkeys(names, value)}
    artifact = zk.open(png(tmp_path / "a.png", parameters={"sui_image_params": params}))
    assert artifact.request.prompt == PROMPT


def test_the_readers_are_those_that_the_docs_name() -> None:
    page = (Path(__file__).parents[2] / "docs" / "files.md").read_text()
    section = page.partition("## Recipes of others")[2].partition("## ")[0].lower()
    for reader in READERS:
        assert reader.__name__.strip("_").removeprefix("of_").replace("_", " ") in section
