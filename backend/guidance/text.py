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
    def encode(self, prompts: Sequence[str]) -> Float[Tensor, "n L D"]:
        """Embeddings in single precision. Words beyond the model's length are cut, and named in a warning."""
        if self._model is None:
            raise RuntimeError("the text encoder was dropped")
        texts = [prompt.lower().strip() if self._is_t5 else prompt for prompt in prompts]
        for text in texts:
            self._warn_if_cut(text)
        found = self._tokenizer(
            texts, padding="max_length", truncation=True, max_length=self.tokens, return_tensors="pt"
        ).to(self._model.device)
        mask = {"attention_mask": found.attention_mask} if self._is_t5 else {}
        return self._model(found.input_ids, **mask).last_hidden_state.float()

    def _warn_if_cut(self, text: str) -> None:
        ids = self._tokenizer(text, verbose=False).input_ids
        if len(ids) > self.tokens:
            cut = self._tokenizer.decode(ids[self.tokens - 1 :], skip_special_tokens=True)
            logger.warning('the prompt is too long for this model, which does not see its end: "%s"', cut)
