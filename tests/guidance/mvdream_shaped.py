"""A tiny MVDream: random weights with the original names, and what it computes with them, written out.

Letters: B views, F of them to a rig, L positions, C channels.
"""

import math
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

HEAD = 64
CHANNELS = 64
LEVELS = ((1, True), (1, True), (2, False))  # multiples of CHANNELS, and whether there is attention
BLOCKS = 2
WORDS = 49_408
TOKENS = 77
WIDTH = 64
LAYERS = 3
VAE = (32, 64)

Weights = dict[str, Tensor]


class Maker:
    """Random weights of small effect: what is computed keeps its size from layer to layer.

    linear: the projections around attention, as in Stable Diffusion 2; in 1 they are convolutions.
    """

    def __init__(self, seed: int, linear: bool = True) -> None:
        self.made: Weights = {}
        self._projection = () if linear else (1, 1)
        self._draws = torch.Generator().manual_seed(seed)

    def normal(self, name: str, *shape: int, scale: float) -> None:
        self.made[name] = scale * torch.randn(shape, generator=self._draws)

    def norm(self, name: str, channels: int) -> None:
        self.normal(f"{name}.weight", channels, scale=0.2)
        self.made[f"{name}.weight"] += 1
        self.normal(f"{name}.bias", channels, scale=0.2)

    def layer(self, name: str, out: int, given: int, *kernel: int, bias: bool = True) -> None:
        self.normal(f"{name}.weight", out, given, *kernel, scale=(given * math.prod(kernel)) ** -0.5)
        if bias:
            self.normal(f"{name}.bias", out, scale=0.2)

    def resnet(self, name: str, given: int, out: int) -> None:
        self.norm(f"{name}.in_layers.0", given)
        self.layer(f"{name}.in_layers.2", out, given, 3, 3)
        self.layer(f"{name}.emb_layers.1", out, 4 * CHANNELS)
        self.norm(f"{name}.out_layers.0", out)
        self.layer(f"{name}.out_layers.3", out, out, 3, 3)
        if given != out:
            self.layer(f"{name}.skip_connection", out, given, 1, 1)

    def transformer(self, name: str, channels: int) -> None:
        self.norm(f"{name}.norm", channels)
        for side in ("proj_in", "proj_out"):
            self.layer(f"{name}.{side}", channels, channels, *self._projection)
        block = f"{name}.transformer_blocks.0"
        for number, given in ((1, channels), (2, WIDTH)):
            self.layer(f"{block}.attn{number}.to_q", channels, channels, bias=False)
            self.layer(f"{block}.attn{number}.to_k", channels, given, bias=False)
            self.layer(f"{block}.attn{number}.to_v", channels, given, bias=False)
            self.layer(f"{block}.attn{number}.to_out.0", channels, channels)
        for number in (1, 2, 3):
            self.norm(f"{block}.norm{number}", channels)
        self.layer(f"{block}.ff.net.0.proj", 8 * channels, channels)
        self.layer(f"{block}.ff.net.2", channels, 4 * channels)

    def perceptron(self, name: str, given: int) -> None:
        self.layer(f"{name}.0", 4 * CHANNELS, given)
        self.layer(f"{name}.2", 4 * CHANNELS, 4 * CHANNELS)


def unet_weights(linear: bool = True) -> Weights:
    """Of the UNet, with the names that they have in its own program."""
    make = Maker(0, linear)
    make.perceptron("time_embed", CHANNELS)
    make.perceptron("camera_embed", 16)
    make.layer("input_blocks.0.0", CHANNELS, 4, 3, 3)
    index, now, passed = 1, CHANNELS, [CHANNELS]
    for level, (multiple, attention) in enumerate(LEVELS):
        for _ in range(BLOCKS):
            make.resnet(f"input_blocks.{index}.0", now, multiple * CHANNELS)
            now = multiple * CHANNELS
            if attention:
                make.transformer(f"input_blocks.{index}.1", now)
            passed.append(now)
            index += 1
        if level + 1 < len(LEVELS):
            make.layer(f"input_blocks.{index}.0.op", now, now, 3, 3)
            passed.append(now)
            index += 1
    make.resnet("middle_block.0", now, now)
    make.transformer("middle_block.1", now)
    make.resnet("middle_block.2", now, now)
    index = 0
    for level, (multiple, attention) in reversed(list(enumerate(LEVELS))):
        for block in range(BLOCKS + 1):
            make.resnet(f"output_blocks.{index}.0", now + passed.pop(), multiple * CHANNELS)
            now = multiple * CHANNELS
            if attention:
                make.transformer(f"output_blocks.{index}.1", now)
            if level and block == BLOCKS:
                make.layer(f"output_blocks.{index}.{1 + attention}.conv", now, now, 3, 3)
            index += 1
    make.norm("out.0", now)
    make.layer("out.2", 4, now, 3, 3)
    return make.made


def text_weights() -> Weights:
    """Of OpenCLIP's text encoder."""
    make = Maker(1)
    make.normal("token_embedding.weight", WORDS, WIDTH, scale=1.0)
    make.normal("positional_embedding", TOKENS, WIDTH, scale=1.0)
    for layer in range(LAYERS):
        block = f"transformer.resblocks.{layer}"
        make.norm(f"{block}.ln_1", WIDTH)
        make.norm(f"{block}.ln_2", WIDTH)
        make.normal(f"{block}.attn.in_proj_weight", 3 * WIDTH, WIDTH, scale=WIDTH**-0.5)
        make.normal(f"{block}.attn.in_proj_bias", 3 * WIDTH, scale=0.2)
        make.layer(f"{block}.attn.out_proj", WIDTH, WIDTH)
        make.layer(f"{block}.mlp.c_fc", 4 * WIDTH, WIDTH)
        make.layer(f"{block}.mlp.c_proj", WIDTH, 4 * WIDTH)
    make.norm("ln_final", WIDTH)
    make.normal("text_projection", WIDTH, WIDTH, scale=1.0)
    make.normal("logit_scale", scale=1.0)
    make.made["attn_mask"] = torch.full((TOKENS, TOKENS), -math.inf).triu(1)
    return make.made


def vae_weights() -> Weights:
    """Of the VAE: two levels, so two pixels to a latent."""
    make = Maker(2)

    def resnet(name: str, given: int, out: int) -> None:
        make.norm(f"{name}.norm1", given)
        make.layer(f"{name}.conv1", out, given, 3, 3)
        make.norm(f"{name}.norm2", out)
        make.layer(f"{name}.conv2", out, out, 3, 3)
        if given != out:
            make.layer(f"{name}.nin_shortcut", out, given, 1, 1)

    def middle(side: str) -> None:
        for block in ("block_1", "block_2"):
            resnet(f"{side}.mid.{block}", VAE[-1], VAE[-1])
        make.norm(f"{side}.mid.attn_1.norm", VAE[-1])
        for part in ("q", "k", "v", "proj_out"):
            make.layer(f"{side}.mid.attn_1.{part}", VAE[-1], VAE[-1], 1, 1)

    make.layer("encoder.conv_in", VAE[0], 3, 3, 3)
    resnet("encoder.down.0.block.0", VAE[0], VAE[0])
    make.layer("encoder.down.0.downsample.conv", VAE[0], VAE[0], 3, 3)
    resnet("encoder.down.1.block.0", VAE[0], VAE[1])
    middle("encoder")
    make.norm("encoder.norm_out", VAE[1])
    make.layer("encoder.conv_out", 8, VAE[1], 3, 3)
    make.layer("quant_conv", 8, 8, 1, 1)
    make.layer("post_quant_conv", 4, 4, 1, 1)
    make.layer("decoder.conv_in", VAE[1], 4, 3, 3)
    middle("decoder")
    for block in range(2):
        resnet(f"decoder.up.1.block.{block}", VAE[1], VAE[1])
        resnet(f"decoder.up.0.block.{block}", VAE[1 - block], VAE[0])
    make.layer("decoder.up.1.upsample.conv", VAE[1], VAE[1], 3, 3)
    make.norm("decoder.norm_out", VAE[0])
    make.layer("decoder.conv_out", 3, VAE[0], 3, 3)
    return make.made


def checkpoint() -> Weights:
    """All weights, as sd-v2.1-base-4view has them, and two of the numbers that it keeps beside them."""
    parts = {
        "model.diffusion_model.": unet_weights(),
        "first_stage_model.": vae_weights(),
        "cond_stage_model.model.": text_weights(),
    }
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000).square()
    schedule = {"betas": betas, "alphas_cumprod": torch.cumprod(1 - betas, 0)}
    return schedule | {prefix + name: tensor for prefix, part in parts.items() for name, tensor in part.items()}


def save(path: Path, **instead: Tensor | None) -> Path:
    """Write the checkpoint with some tensors replaced, or left out where they are None."""
    weights = {name: tensor for name, tensor in (checkpoint() | instead).items() if tensor is not None}
    save_file(weights, path)
    return path


def eps(weights: Weights, noisy: Tensor, t: int, text: Tensor, cameras: Tensor, views: int) -> Tensor:
    """What the UNet says the noise is in B images, (B, 4, h, w), of which every `views` are a rig."""
    frequencies = torch.exp(-math.log(10_000) * torch.arange(CHANNELS // 2) / (CHANNELS // 2))
    time = torch.cat([torch.cos(t * frequencies), torch.sin(t * frequencies)]).expand(len(noisy), -1)
    embedded = perceptron(weights, "time_embed", time) + perceptron(weights, "camera_embed", cameras)

    def block(name: str, states: Tensor) -> Tensor:
        """All parts of a block that it has."""
        if f"{name}.0.weight" in weights:
            return convolved(weights, f"{name}.0", states)
        if f"{name}.0.op.weight" in weights:
            return convolved(weights, f"{name}.0.op", states, stride=2)
        states = resnet(weights, f"{name}.0", states, embedded)
        if f"{name}.1.proj_in.weight" in weights:
            states = transformer(weights, f"{name}.1", states, text, views)
        for part in (1, 2):
            if f"{name}.{part}.conv.weight" in weights:
                larger = states.repeat_interleave(2, 2).repeat_interleave(2, 3)
                states = convolved(weights, f"{name}.{part}.conv", larger)
        return states

    def count(name: str) -> int:
        return 1 + max(int(key.split(".")[1]) for key in weights if key.startswith(f"{name}."))

    states, passed = noisy, []
    for index in range(count("input_blocks")):
        states = block(f"input_blocks.{index}", states)
        passed.append(states)
    states = resnet(weights, "middle_block.0", states, embedded)
    states = transformer(weights, "middle_block.1", states, text, views)
    states = resnet(weights, "middle_block.2", states, embedded)
    for index in range(count("output_blocks")):
        states = block(f"output_blocks.{index}", torch.cat([states, passed.pop()], 1))
    return convolved(weights, "out.2", functional.silu(grouped(weights, "out.0", states, 1e-5)))


def perceptron(weights: Weights, name: str, given: Tensor) -> Tensor:
    return linear(weights, f"{name}.2", functional.silu(linear(weights, f"{name}.0", given)))


def linear(weights: Weights, name: str, given: Tensor) -> Tensor:
    return functional.linear(given, weights[f"{name}.weight"], weights.get(f"{name}.bias"))


def convolved(weights: Weights, name: str, states: Tensor, stride: int = 1) -> Tensor:
    kernel = weights[f"{name}.weight"]
    return functional.conv2d(states, kernel, weights[f"{name}.bias"], stride, padding=kernel.shape[-1] // 2)


def grouped(weights: Weights, name: str, states: Tensor, epsilon: float) -> Tensor:
    return functional.group_norm(states, 32, weights[f"{name}.weight"], weights[f"{name}.bias"], epsilon)


def layered(weights: Weights, name: str, states: Tensor) -> Tensor:
    return functional.layer_norm(states, states.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"])


def resnet(weights: Weights, name: str, states: Tensor, embedded: Tensor) -> Tensor:
    inner = functional.silu(grouped(weights, f"{name}.in_layers.0", states, 1e-5))
    inner = convolved(weights, f"{name}.in_layers.2", inner)
    inner = inner + linear(weights, f"{name}.emb_layers.1", functional.silu(embedded))[:, :, None, None]
    inner = functional.silu(grouped(weights, f"{name}.out_layers.0", inner, 1e-5))
    inner = convolved(weights, f"{name}.out_layers.3", inner)
    if f"{name}.skip_connection.weight" in weights:
        states = convolved(weights, f"{name}.skip_connection", states)
    return states + inner


def transformer(weights: Weights, name: str, states: Tensor, text: Tensor, views: int) -> Tensor:
    """Self-attention over all positions of a rig, attention to the words of each view, and a gated perceptron."""
    count, channels, height, width = states.shape
    rows = projected(weights, f"{name}.proj_in", grouped(weights, f"{name}.norm", states, 1e-6))
    rows = rows.flatten(2).transpose(1, 2)
    block = f"{name}.transformer_blocks.0"
    normed = layered(weights, f"{block}.norm1", rows).reshape(count // views, views * height * width, channels)
    rows = rows + attention(weights, f"{block}.attn1", normed, normed).reshape(rows.shape)
    rows = rows + attention(weights, f"{block}.attn2", layered(weights, f"{block}.norm2", rows), text)
    inner, gate = linear(weights, f"{block}.ff.net.0.proj", layered(weights, f"{block}.norm3", rows)).chunk(2, -1)
    rows = rows + linear(weights, f"{block}.ff.net.2", inner * functional.gelu(gate))
    return states + projected(weights, f"{name}.proj_out", rows.transpose(1, 2).reshape(states.shape))


def projected(weights: Weights, name: str, states: Tensor) -> Tensor:
    matrix = weights[f"{name}.weight"].flatten(1)
    return torch.einsum("oc,bchw->bohw", matrix, states) + weights[f"{name}.bias"][:, None, None]


def attention(weights: Weights, name: str, asking: Tensor, asked: Tensor) -> Tensor:
    """With 64 channels to a head, as in Stable Diffusion 2, or with 8 heads, as in 1."""
    one = name.split(".transformer_blocks")[0]
    split = (-1, HEAD) if weights[f"{one}.proj_in.weight"].ndim == 2 else (8, -1)
    heads = [
        linear(weights, f"{name}.{part}", given).unflatten(-1, split).transpose(1, 2)
        for part, given in (("to_q", asking), ("to_k", asked), ("to_v", asked))
    ]
    return linear(weights, f"{name}.to_out.0", weighed(*heads).transpose(1, 2).flatten(2))


def weighed(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    alike = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    return (alike if mask is None else alike + mask).softmax(-1) @ value


def encoded(weights: Weights, tokens: Tensor) -> Tensor:
    """What OpenCLIP's text encoder has after its last block but one, normed: (n, L, D)."""
    states = weights["token_embedding.weight"][tokens] + weights["positional_embedding"]
    for layer in range(LAYERS - 1):
        block = f"transformer.resblocks.{layer}"
        joined = functional.linear(
            layered(weights, f"{block}.ln_1", states),
            weights[f"{block}.attn.in_proj_weight"],
            weights[f"{block}.attn.in_proj_bias"],
        )
        heads = (part.unflatten(-1, (-1, HEAD)).transpose(1, 2) for part in joined.chunk(3, -1))
        seen = weighed(*heads, mask=weights["attn_mask"]).transpose(1, 2).flatten(2)
        states = states + linear(weights, f"{block}.attn.out_proj", seen)
        inner = functional.gelu(linear(weights, f"{block}.mlp.c_fc", layered(weights, f"{block}.ln_2", states)))
        states = states + linear(weights, f"{block}.mlp.c_proj", inner)
    return layered(weights, "ln_final", states)


def latents(weights: Weights, images: Tensor) -> Tensor:
    """The mean of the latents of images in [0, 1]."""

    def resnet(name: str, states: Tensor) -> Tensor:
        inner = states
        for number in (1, 2):
            inner = functional.silu(grouped(weights, f"{name}.norm{number}", inner, 1e-6))
            inner = convolved(weights, f"{name}.conv{number}", inner)
        shortcut = f"{name}.nin_shortcut"
        return inner + (convolved(weights, shortcut, states) if f"{shortcut}.weight" in weights else states)

    states = convolved(weights, "encoder.conv_in", 2 * images - 1)
    states = resnet("encoder.down.0.block.0", states)
    down = "encoder.down.0.downsample.conv"
    padded = functional.pad(states, (0, 1, 0, 1))
    states = functional.conv2d(padded, weights[f"{down}.weight"], weights[f"{down}.bias"], stride=2)
    states = resnet("encoder.mid.block_1", resnet("encoder.down.1.block.0", states))
    normed = grouped(weights, "encoder.mid.attn_1.norm", states, 1e-6)
    rows = (convolved(weights, f"encoder.mid.attn_1.{part}", normed).flatten(2).transpose(1, 2) for part in "qkv")
    seen = weighed(*rows).transpose(1, 2).reshape(states.shape)
    states = resnet("encoder.mid.block_2", states + convolved(weights, "encoder.mid.attn_1.proj_out", seen))
    states = functional.silu(grouped(weights, "encoder.norm_out", states, 1e-6))
    moments = convolved(weights, "quant_conv", convolved(weights, "encoder.conv_out", states))
    return 0.18215 * moments[:, :4]
