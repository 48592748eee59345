"""Which files hold the weights of a model's part, by their names alone, as diffusers and transformers write them."""

import re
from collections.abc import Collection, Iterable, Sequence

STEMS = {
    "unet": "diffusion_pytorch_model",
    "text_encoder": "model",
    "text_encoder_2": "model",
    "vae": "diffusion_pytorch_model",
}
"""The parts that have weights, and what the files are called."""

PLAIN_FIRST = ("", "fp16", "bf16")
HALF_FIRST = ("fp16", "bf16", "")
"""Orders of preference among variants. "" is the plain one; those that are not named come last."""

_PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")


def variants(part: str, names: Iterable[str]) -> dict[str, list[str]]:
    """Of a part's file names those that are weights, or the index of some, by variant. Shards need an index."""
    shape = re.compile(
        rf"{STEMS[part]}(\.(?P<variant>\w+))?(?P<shard>-\d+-of-\d+)?(\.(?P<late_variant>\w+))?\.safetensors"
        r"(?P<index>\.index(\.(?P<index_variant>\w+))?\.json)?"
    )
    found: dict[str, list[str]] = {}
    loadable = set()
    for match in filter(None, map(shape.fullmatch, names)):
        variant = match["variant"] or match["late_variant"] or match["index_variant"] or ""
        found.setdefault(variant, []).append(match[0])
        if match["index"] or not match["shard"]:
            loadable.add(variant)
    return {variant: files for variant, files in found.items() if variant in loadable}


def preferred(found: Collection[str], order: Sequence[str]) -> str:
    """The variant of those found that comes first in `order`."""
    return min(found, key=lambda variant: (order.index(variant) if variant in order else len(order), variant))


def is_pickle(name: str) -> bool:
    """Whether a file of that name could run code when it is opened."""
    return name.lower().endswith(_PICKLES)


def is_index(name: str) -> bool:
    """Whether a file of that name tells which shard has which weights."""
    return ".safetensors.index." in name and name.endswith(".json")
