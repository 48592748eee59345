"""Prompts to embeddings, as the diffusers pipelines make them.

Letters: n prompts, L tokens of width D.
"""

import logging
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import CLIPTextModel, PreTrainedTokenizerBase, T5EncoderModel

logger = logging.getLogger(__name__)

_T5_TOKENS = 77  # DeepFloyd IF was trained with this many, though T5 would take more


class TextEncoder:
    """A frozen text model and its tokenizer: CLIP (Stable Diffusion, the built-in prior) or T5 (DeepFloyd IF)."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, model: CLIPTextModel | T5EncoderModel) -> None:
        self._tokenizer = tokenizer
        self._model: CLIPTextModel | T5EncoderModel | None = model
        self._is_t5 = isinstance(model, T5EncoderModel)
        self.tokens = _T5_TOKENS if self._is_t5 else int(model.config.max_position_embeddings)
        """L: every prompt is padded or cut to it, begin and end marks included."""

    def drop(self) -> None:
        """Free the model. Nothing can be encoded afterwards."""
        self._model = None

    @torch.no_grad()
    def encode(self, prompts: Sequence[str], endings: Sequence[str] | None = None) -> Float[Tensor, "n L D"]:
        """Embeddings in single precision, of each prompt followed by its ending.

        Where that is too long, words at the prompt's end make room, and are named in a warning. What one prompt is cut
        to suits all the endings that it has, so they alone make the difference.
        """
        if self._model is None:
            raise RuntimeError("the text encoder was dropped")
        endings = endings or [""] * len(prompts)
        of_each: dict[str, list[str]] = {}
        for prompt, ending in zip(prompts, endings, strict=True):
            of_each.setdefault(prompt, []).append(ending)
        kept = {prompt: self._fitting(prompt, its) for prompt, its in of_each.items()}
        texts = [self._clean(kept[prompt] + ending) for prompt, ending in zip(prompts, endings, strict=True)]
        found = self._tokenizer(
            texts, padding="max_length", truncation=True, max_length=self.tokens, return_tensors="pt"
        ).to(self._model.device)
        mask = {"attention_mask": found.attention_mask} if self._is_t5 else {}
        return self._model(found.input_ids, **mask).last_hidden_state.float()

    def _fitting(self, prompt: str, endings: Sequence[str]) -> str:
        """As many of the prompt's words as leave room for each of the endings; of one endless word its beginning."""
        kept = prompt
        while kept and any(self._length(kept + ending) > self.tokens for ending in endings):
            shorter = kept.rstrip().rpartition(" ")[0]
            kept = shorter.rstrip() or kept[:-1]
        if kept != prompt:
            cut = prompt[len(kept) :].strip()
            logger.warning('the prompt is too long for this model, which does not see its end: "%s"', cut)
        return kept

    def _length(self, text: str) -> int:
        return len(self._tokenizer(self._clean(text), verbose=False).input_ids)

    def _clean(self, text: str) -> str:
        return text.lower().strip() if self._is_t5 else text
