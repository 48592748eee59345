"""Diffusers' modules with the names of the program that Stable Diffusion was trained by, as people have them.

Written for the tests, the other way round than the converters that they test.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor

Weights = dict[str, Tensor]

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP, OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."
XL_CLIP, XL_OPEN_CLIP = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_OPEN_CLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def under(prefix: str, weights: Mapping[str, Tensor]) -> Weights:
    return {prefix + name: tensor for name, tensor in weights.items()}


def unet(model: UNet2DConditionModel) -> Weights:
    period, kinds = model.config.layers_per_block + 1, model.config.up_block_types

    def renamed(name: str) -> str:
        if found := re.fullmatch(r"down_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", name):
            level, part, index, rest = int(found[1]), found[2], int(found[3]), found[4]
            if part == "downsamplers":
                return f"input_blocks.{(level + 1) * period}.0.{rest.replace('conv', 'op')}"
            return f"input_blocks.{1 + level * period + index}.{_inside(part, rest)}"
        if found := re.fullmatch(r"mid_block\.(\w+)\.(\d+)\.(.+)", name):
            place = 1 if found[1] == "attentions" else 2 * int(found[2])
            return f"middle_block.{place}.{_inside(found[1], found[3])[2:]}"
        if found := re.fullmatch(r"up_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", name):
            level, part, index, rest = int(found[1]), found[2], int(found[3]), found[4]
            if part == "upsamplers":
                return f"output_blocks.{level * period + period - 1}.{1 + kinds[level].startswith('Cross')}.{rest}"
            return f"output_blocks.{level * period + index}.{_inside(part, rest)}"
        start, end = name.rsplit(".", 1)
        return f"{_ENDS[start]}.{end}"

    return {renamed(name): tensor for name, tensor in model.state_dict().items()}


def _inside(part: str, rest: str) -> str:
    """Within a block: its place there, and what it is called."""
    if part == "attentions":
        return f"1.{rest}"
    start, end = rest.rsplit(".", 1)
    return f"0.{_RESNET[start]}.{end}"


def vae(model: AutoencoderKL) -> Weights:
    levels = len(model.config.block_out_channels)
    weights = {}
    for name, tensor in model.state_dict().items():
        name = re.sub(r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", name)
        name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", name)
        name = re.sub(r"up_blocks\.(\d+)", lambda found: f"up.{levels - 1 - int(found[1])}", name)
        name = name.replace(".resnets.", ".block.").replace(".upsamplers.0", ".upsample")
        name = re.sub(r"mid_block\.block\.(\d)", lambda found: f"mid.block_{int(found[1]) + 1}", name)
        name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
        if "mid_block.attentions.0" in name:
            part, end = name.split("attentions.0.")[1].rsplit(".", 1)
            name = f"{name.split('.')[0]}.mid.attn_1.{_VAE_ATTENTION[part]}.{end}"
            tensor = tensor[:, :, None, None] if tensor.ndim == 2 else tensor
        weights[name] = tensor
    return weights


def clip(model: Any) -> Weights:
    """Of OpenAI's CLIP, with the positions that old checkpoints keep."""
    plain = {name.removeprefix("text_model."): tensor for name, tensor in model.state_dict().items()}
    positions = torch.arange(model.config.max_position_embeddings)[None]
    return under("text_model.", plain | {"embeddings.position_ids": positions})


def open_clip(model: Any, projected: bool = False) -> Weights:
    """Of OpenCLIP, with a block that nothing reads after the model's own, unless it is `projected`."""
    plain = {name.removeprefix("text_model."): tensor for name, tensor in model.state_dict().items()}
    weights = {
        "token_embedding.weight": plain["embeddings.token_embedding.weight"],
        "positional_embedding": plain["embeddings.position_embedding.weight"],
        "ln_final.weight": plain["final_layer_norm.weight"],
        "ln_final.bias": plain["final_layer_norm.bias"],
        "logit_scale": torch.zeros(()),
    }
    count = model.config.num_hidden_layers
    for layer in range(count):
        weights |= _open_clip_block(plain, f"encoder.layers.{layer}", f"transformer.resblocks.{layer}")
    if projected:
        return weights | {"text_projection": plain["text_projection.weight"].T.contiguous()}
    unread = _open_clip_block(plain, "encoder.layers.0", f"transformer.resblocks.{count}")
    return weights | unread | {"text_projection": plain["encoder.layers.0.self_attn.q_proj.weight"]}


def _open_clip_block(plain: Weights, theirs: str, block: str) -> Weights:
    weights = {}
    for end in ("weight", "bias"):
        weights[f"{block}.attn.in_proj_{end}"] = torch.cat(
            [plain[f"{theirs}.self_attn.{part}_proj.{end}"] for part in "qkv"]
        )
        for part, name in _OPEN_CLIP_LAYER.items():
            weights[f"{block}.{name}.{end}"] = plain[f"{theirs}.{part}.{end}"]
    return weights


def sparse(path: Path, shapes: Iterable[tuple[str, Iterable[int]]]) -> Path:
    """A safetensors file of zeros in half precision that takes no room on the disk."""
    header, end = {}, 0
    for name, shape in shapes:
        begin, end = end, end + 2 * int(torch.Size(shape).numel())
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return path
