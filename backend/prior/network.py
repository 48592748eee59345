"""The network of a model that is told how each picture is taken, before it has learnt anything.

Pictures of 64 x 64 x 3 go through it as 32 x 32 x 12: folded (pixel unshuffle by 2), which loses nothing and costs as
little as a quarter of the pixels would.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import NFD, Lowercase, Replace, StripAccents
from tokenizers.normalizers import Sequence as Normalizers
from tokenizers.pre_tokenizers import Punctuation, Whitespace
from tokenizers.pre_tokenizers import Sequence as PreTokenizers
from tokenizers.processors import TemplateProcessing
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerFast

from backend.guidance.folders import PLACE_CHANNELS
from backend.guidance.views import FEATURES
from backend.prior.model import Prior, noise_schedule

FOLD = 2
"""Pixels per axis that are one position of the network."""

TOKENS = 24
"""Length of every prompt, padded, begin and end marks included."""


@dataclass(frozen=True)
class Architecture:
    """Sizes of a network. channels: from the finest level to the coarsest; words count at the last two."""

    channels: tuple[int, ...] = (64, 128, 160, 192)
    layers: int = 1
    heads: int = 4
    text_width: int = 192
    text_layers: int = 2


def build(size: int, words: Sequence[str], architecture: Architecture, seed: int) -> Prior:
    """An untrained prior for images of `size` x `size` and captions of `words`, initialised by `seed` alone."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tokenizer = _tokenizer(words)
        return Prior(
            _unet(size // FOLD, architecture), _text_encoder(tokenizer, architecture), tokenizer, noise_schedule()
        )


def _unet(size: int, architecture: Architecture) -> UNet2DConditionModel:
    plain = len(architecture.channels) - 2
    return UNet2DConditionModel(
        sample_size=size,
        in_channels=3 * FOLD**2 + PLACE_CHANNELS,
        out_channels=3 * FOLD**2,
        block_out_channels=architecture.channels,
        layers_per_block=architecture.layers,
        # Words matter where a position sees a good part of the object: at the two lowest resolutions.
        down_block_types=("DownBlock2D",) * plain + ("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2 + ("UpBlock2D",) * plain,
        cross_attention_dim=architecture.text_width,
        attention_head_dim=architecture.heads,  # diffusers' name for how many there are
        norm_num_groups=16,
        # What is told of the whole picture, the words among it, scales what is known of its places: a horse has its
        # front on the left from one side, and on the right from the other.
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text",
        addition_embed_type_num_heads=architecture.heads,
        class_embed_type="projection",
        projection_class_embeddings_input_dim=FEATURES,
    )


def _text_encoder(tokenizer: PreTrainedTokenizerFast, architecture: Architecture) -> CLIPTextModel:
    width = architecture.text_width
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=architecture.text_layers,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            projection_dim=width,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )


def _tokenizer(words: Sequence[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words, as `wording.words_of` finds them; any other becomes [UNK]."""
    special = ["[PAD]", "[UNK]", "[BOS]", "[EOS]"]
    vocabulary = {word: index for index, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = Normalizers(
        [NFD(), StripAccents(), Lowercase(), Replace("'", ""), Replace("\u2019", ""), Replace("-", " ")]
    )
    tokenizer.pre_tokenizer = PreTokenizers([Whitespace(), Punctuation()])
    tokenizer.post_processor = TemplateProcessing(
        single="[BOS] $A [EOS]", special_tokens=[("[BOS]", vocabulary["[BOS]"]), ("[EOS]", vocabulary["[EOS]"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        bos_token="[BOS]",
        eos_token="[EOS]",
        model_max_length=TOKENS,
    )
