"""The tokenizer that checkpoints in one file come without, against what open_clip_torch 3.3 makes of phrases."""

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from backend.guidance import clip_tokenizer
from backend.guidance.clip_tokenizer import CLIP_PAD, OPEN_CLIP_PAD

BEGIN, END = 49_406, 49_407
PHRASES = {
    "": [],
    "a photo of a cat": [320, 1125, 539, 320, 2368],
    "a red mug, back view": [320, 736, 9722, 267, 893, 1093],
    "A DSLR photo of a  pirate ship": [320, 33740, 1125, 539, 320, 13592, 1158],
    "it's the artist's 3d-printed café; 12345": [
        *(585, 568, 518, 2456, 568, 274, 323, 268, 7978, 15304, 282, 272, 273, 274, 275, 276),
    ],
    "zombie & crème brûlée, naïve": [11819, 261, 1075, 12138, 614, 711, 127, 119, 75, 13489, 267, 1097, 35689, 563],
    "日本の家 🏠": [39121, 44353, 21575, 27047, 370, 33727],
    "hello\nworld don't they'll we've": [3306, 1002, 847, 713, 889, 1342, 649, 1200],
}


@pytest.mark.parametrize(("pad", "filler"), [(CLIP_PAD, END), (OPEN_CLIP_PAD, 0)])
def test_phrases_have_the_numbers_that_open_clip_gives_them(pad: str, filler: int, tmp_path: Path) -> None:
    clip_tokenizer.write(tmp_path / "tokenizer", pad)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tokenizer", local_files_only=True)
    for phrase, numbers in PHRASES.items():
        found = tokenizer(phrase, padding="max_length", max_length=77, truncation=True).input_ids
        assert found == [BEGIN, *numbers, END, *[filler] * (75 - len(numbers))], phrase


def test_a_mark_that_fills_the_room_for_one_encoder_is_a_mark_like_others_for_the_other(tmp_path: Path) -> None:
    clip_tokenizer.write(tmp_path / "tokenizer", CLIP_PAD)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tokenizer", local_files_only=True)
    assert tokenizer("a pirate ship!").input_ids == [BEGIN, 320, 13592, 1158, 256, END]
