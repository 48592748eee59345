"""CLIP's tokenizer as a folder: a checkpoint in one file comes without it."""

import gzip
import json
from pathlib import Path

_MERGES = Path(__file__).parent / "clip" / "merges.txt.gz"
_BEGIN, _END = "<|startoftext|>", "<|endoftext|>"
_TOKENS = 77

CLIP_PAD, OPEN_CLIP_PAD = _END, "!"
"""What fills the room after a text: for Stable Diffusion 1.x and XL's first encoder; for 2.x and XL's second one."""


def write(folder: Path, pad: str) -> None:
    """Write the tokenizer's files. pad: the token that fills the room after a text."""
    merges = gzip.decompress(_MERGES.read_bytes()).decode().splitlines()
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": _TOKENS,
        "bos_token": _BEGIN,
        "eos_token": _END,
        "unk_token": _END,
        "pad_token": pad,
    }
    folder.mkdir(parents=True)
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), "utf-8")
    (folder / "vocab.json").write_text(json.dumps(vocabulary(merges), ensure_ascii=False), "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n", "utf-8")


def vocabulary(merges: list[str]) -> dict[str, int]:
    """Token numbers: letters for all bytes, the same as ends of words, what merges make of them, and the two marks."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = [*map(chr, shown), *(chr(256 + hidden) for hidden in range(256 - len(shown)))]
    ends = [f"{letter}</w>" for letter in letters]
    words = [*letters, *ends, *(merge.replace(" ", "") for merge in merges), _BEGIN, _END]
    return {word: number for number, word in enumerate(words)}
