"""CLIP as a judge: does it pick the right one of several prompts for a picture?

This is the R-precision of DreamFusion (arXiv 2209.14988, section 4). Letters: V views.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from transformers import CLIPModel, CLIPProcessor

from backend.errors import UserError


class Clip:
    """A CLIP model in `folder`, in transformers' layout, to choose among `prompts`. Raises UserError.

    Of a prompt that is longer than it reads, the beginning counts.
    """

    def __init__(self, folder: Path, prompts: Sequence[str]) -> None:
        self._prompts, self._folder = list(prompts), folder
        try:
            self._model = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True).eval()
            self._processor = CLIPProcessor.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise UserError(f"there is no CLIP model in {folder}: give a folder that transformers can load") from error

    @property
    def described(self) -> str:
        """What it is, and among how many prompts it chooses."""
        size = sum(weight.numel() for weight in self._model.parameters())
        return f"{self._folder.resolve().name}, {size:,} weights, which of {len(self._prompts)} prompts a view shows"

    @torch.no_grad()
    def precision(self, pictures: Float[Tensor, "V 3 H W"], prompt: str) -> float:
        """The share of pictures in [0, 1] that look more like `prompt` than like any other of the prompts."""
        images = [Image.fromarray(picture) for picture in (pictures * 255).byte().permute(0, 2, 3, 1).numpy()]
        given = self._processor(text=self._prompts, images=images, return_tensors="pt", padding=True, truncation=True)
        chosen = self._model(**given).logits_per_image.argmax(-1)
        return (chosen == self._prompts.index(prompt)).float().mean().item()
