"""Prompts to embeddings, as the diffusers pipelines make them.

Letters: n prompts, L tokens of width D.
"""

import logging
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from transformers import (
    BatchEncoding,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    PreTrainedTokenizerBase,
    T5EncoderModel,
)

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
        endings = endings or [""] * len(prompts)
        of_each: dict[str, list[str]] = {}
        for prompt, ending in zip(prompts, endings, strict=True):
            of_each.setdefault(prompt, []).append(ending)
        kept = {prompt: self._fitting(prompt, its) for prompt, its in of_each.items()}
        return self._embedded([kept[prompt] + ending for prompt, ending in zip(prompts, endings, strict=True)])

    def _embedded(self, texts: Sequence[str]) -> Float[Tensor, "n L D"]:
        """Of texts that have the length."""
        if self._model is None:
            raise RuntimeError("the text encoder was dropped")
        found = self._padded(self._tokenizer, [self._clean(text) for text in texts]).to(self._model.device)
        mask = {"attention_mask": found.attention_mask} if self._is_t5 else {}
        return self._model(found.input_ids, **mask).last_hidden_state.float()

    def _padded(self, tokenizer: Callable[..., BatchEncoding], texts: Sequence[str]) -> BatchEncoding:
        return tokenizer(
            list(texts), padding="max_length", truncation=True, max_length=self.tokens, return_tensors="pt"
        )

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


class PairedTextEncoder(TextEncoder):
    """Stable Diffusion XL's two, which read the same words.

    An embedding has the width of both together, and one row more than there are tokens, the last: the second one's
    summary of the text, zeros behind it. So mixtures of embeddings mix summaries as well; `parted` takes them apart.
    empty_is_zero: whether the unconditional embedding is zeros, not that of "".
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        model: CLIPTextModel,
        second_tokenizer: PreTrainedTokenizerBase,
        second: CLIPTextModelWithProjection,
        empty_is_zero: bool,
    ) -> None:
        super().__init__(tokenizer, model)
        self._second_tokenizer = second_tokenizer
        self._second: CLIPTextModelWithProjection | None = second
        self._empty_is_zero = empty_is_zero

    def drop(self) -> None:
        """Free both models."""
        super().drop()
        self._second = None

    def _embedded(self, texts: Sequence[str]) -> Float[Tensor, "n L D"]:
        if self._model is None or self._second is None:
            raise RuntimeError("the text encoder was dropped")
        readers = ((self._tokenizer, self._model), (self._second_tokenizer, self._second))
        said = [
            model(self._padded(tokenizer, texts).input_ids.to(model.device), output_hidden_states=True)
            for tokenizer, model in readers
        ]
        # What comes out of the last block but one, without the norm after the last.
        rows = torch.cat([each.hidden_states[-2] for each in said], dim=-1).float()
        summary = said[1].text_embeds.float()
        last = torch.nn.functional.pad(summary, (0, rows.shape[-1] - summary.shape[-1]))
        packed = torch.cat([rows, last[:, None]], dim=1)
        if self._empty_is_zero:
            packed[[not text for text in texts]] = 0.0
        return packed


def parted(packed: Float[Tensor, "n L D"], width: int) -> tuple[Float[Tensor, "n l D"], Float[Tensor, "n d"]]:
    """The rows of the tokens and the summary, `width` wide, of what a `PairedTextEncoder` makes."""
    return packed[:, :-1], packed[:, -1, :width]
