"""Which folders hold a diffusers model that guidance understands: read off the parts, not off a class name.

Understood: a UNet2DConditionModel in pixel space (the built-in prior, DeepFloyd IF stage I), whole or folded
(see `fold`), or on the latents of an AutoencoderKL (Stable Diffusion 1.x and 2.x), with one CLIP or T5 text encoder, or
with two CLIPs (XL, see `is_paired`); it may have to be told how each picture is taken (see `takes_views` and
`is_multi_view`). Its weights lie in its parts, or all of them in one file (see `checkpoint`). Pickles are never read:
opening one can run whatever its author liked. Nothing here imports torch: the server lists models too.
"""

import json
import math
from collections.abc import Collection, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NoReturn, get_args

from backend.errors import UserError
from backend.guidance import mvdream, single_file, weights

Prediction = Literal["epsilon", "v_prediction", "sample"]
"""What a UNet's output stands for."""

TextKind = Literal["clip_text_model", "t5"]
"""The text encoders understood, as their configurations call them."""

_ALWAYS = ("unet", "text_encoder", "tokenizer", "scheduler")
SECOND = ("text_encoder_2", "tokenizer_2")
PARTS = (*_ALWAYS, "vae", *SECOND)
"""The sub-folders that matter; only a latent model has a VAE, and only XL a second text encoder."""

CHECKPOINT = "checkpoint.safetensors"
"""What the file with all weights is called, beside the index; see `linked`."""

WORDS = "lexicon.json"
"""The file of the words that a model knows, beside its index; only one that was taught few has it."""

VIEW_FEATURES, CAMERA_NUMBERS = 12, 16
"""Numbers that tell the built-in model how a picture is taken, and those that tell MVDream; see `views`."""

PLACE_CHANNELS = 6
"""What the built-in model is shown besides a picture: where its pixels lie; see `views.placed`."""

_PIECE_READERS = {"sentencepiece": "sentencepiece", "protobuf": "google.protobuf"}
"""What reads a tokenizer that is a file of sentence pieces alone, as pip calls it and as Python does."""

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_LFS_POINTER_BYTES = 1024


def check(folder: Path) -> None:
    """Raise UserError unless `folder` holds a model that `loading.load` understands. Reads no weights."""
    check_parts(folder)
    _check_unet(folder)


def check_parts(folder: Path) -> None:
    """Raise UserError unless `folder` has all parts, with their weights, and those but the UNet are understood."""
    if folder.is_file():
        _refuse_file(folder)
    if not (folder / "model_index.json").is_file():
        raise UserError(f"{folder} holds no diffusers model (model_index.json is missing); name the folder that has it")
    for path in files(folder):
        if path.stat().st_size < _LFS_POINTER_BYTES and path.read_bytes().startswith(_LFS_POINTER):
            raise UserError(f"{path} only says where Git LFS keeps the file; run git lfs pull in {folder}")
    index = _json(folder / "model_index.json")
    if "transformer" in index:
        raise UserError(
            f"{folder} is a transformer model ({index.get('_class_name')}); "
            "only UNet models such as Stable Diffusion 1.x, 2.x, XL and DeepFloyd IF stage I are supported"
        )
    if (folder / SECOND[0]).is_dir() and not (folder / _ALWAYS[1]).is_dir():
        raise UserError(f"{folder} is a refiner, which needs pictures to begin with; take the base model of XL")
    _check_there(folder, _ALWAYS)
    if checkpoint(folder) is None:
        for name in weights.STEMS:
            if (folder / name).is_dir():
                _check_weights(folder / name)
    if is_paired(folder):
        _check_there(folder, ("vae", *SECOND))
    check_tokenizer(_names(folder / "tokenizer"))
    text_kind(folder)
    scheduler_settings(folder)


def _check_there(folder: Path, parts: Sequence[str]) -> None:
    for name in parts:
        if not (folder / name).is_dir():
            raise UserError(f"{folder} lacks the part {name}/; fetch the whole model")


def _refuse_file(path: Path) -> NoReturn:
    kind = single_file.kind_of(path)
    raise UserError(f"{path} is a checkpoint of {kind}; add it first: dreamtime models add {path}")


def check_tokenizer(names: Collection[str]) -> None:
    """Raise UserError unless what reads a tokenizer with files of these names is installed."""
    if "spiece.model" not in names or "tokenizer.json" in names:
        return
    if lacking := [package for package, module in _PIECE_READERS.items() if not _installed(module)]:
        raise UserError(f"the tokenizer of this model needs more packages: pip install {' '.join(lacking)}")


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # not even the package that it is a part of
        return False


def files(folder: Path) -> list[Path]:
    """The files that make up a model: its index, its words and those of its parts, sorted, but for pickles."""
    beside = [folder / name for name in (WORDS, CHECKPOINT) if (folder / name).is_file()]
    inside = (path for part in PARTS for path in (folder / part).rglob("*") if path.is_file())
    return [folder / "model_index.json", *beside, *sorted(path for path in inside if not weights.is_pickle(path.name))]


def checkpoint(folder: Path) -> Path | None:
    """The file with all weights of the model in `folder`, or None if they lie in its parts.

    Raises UserError for a link whose file is gone.
    """
    path = folder / CHECKPOINT
    if path.is_symlink() and not path.exists():
        raise UserError(f"{path.readlink()}, which this model is read from, is gone; bring it back, or add it again")
    return path if path.is_file() else None


def pickles(folder: Path) -> list[Path]:
    """Files that are not read because they could run code."""
    return sorted(path for path in folder.rglob("*") if weights.is_pickle(path.name))


def variant(path: Path) -> str:
    """Which weights of the part in `path` are loaded; "" for the plain ones. Raises UserError if it has none."""
    found = weights.variants(path.name, _names(path))
    if not found:
        for pickle in pickles(path):
            raise UserError(
                f"{pickle} is a pickle, which can run code when opened; take a safetensors copy of the model"
            )
        stem = weights.STEMS[path.name]
        raise UserError(f"{path} has no safetensors file that can be loaded ({stem}); fetch a model that has them")
    return weights.preferred(found, weights.PLAIN_FIRST)


def weight_files(path: Path) -> list[Path]:
    """The weights of the part in `path` that are loaded: a file, or shards. Raises UserError if it has none."""
    found = weights.variants(path.name, _names(path))[variant(path)]
    return [path / name for name in found if not weights.is_index(name)]


def _check_weights(path: Path) -> None:
    """Raise UserError unless the weights that are loaded of the part in `path` are all there."""
    names = _names(path)
    for index in filter(weights.is_index, weights.variants(path.name, names)[variant(path)]):
        content = _json(path / index)
        if not isinstance(content.get("weight_map"), dict) or "metadata" not in content:
            raise UserError(f"{path / index} is not what diffusers writes there; fetch the model again")
        if lacking := set(content["weight_map"].values()) - set(names):
            raise UserError(f"{path} lacks {min(lacking)}; fetch the whole model")


def _names(path: Path) -> list[str]:
    return [file.name for file in path.iterdir() if file.is_file()]


def _check_unet(folder: Path) -> None:
    """Refuse UNets that want more than an image, a timestep, a text and a view, or that do not fit the VAE."""
    unet = _json(folder / "unet" / "config.json")
    if mvdream.has_published_unet(folder):
        raise UserError(f"{folder} is MVDream as it is published; add it first: dreamtime models add {folder}")
    if unet.get("_class_name") != "UNet2DConditionModel":
        raise UserError(f"{folder} has a {unet.get('_class_name')}; only UNet2DConditionModel is supported")
    channels = unet.get("in_channels", 4)
    latent = is_latent(folder)
    diffused = _json(folder / "vae" / "config.json").get("latent_channels", 4) if latent else 3 * fold(channels) ** 2
    told_more = unet.get("class_embed_type") and not (takes_views(folder) or is_multi_view(folder))
    shown_more = "image" in (unet.get("addition_embed_type") or "")
    places = PLACE_CHANNELS if takes_views(folder) and channels > diffused else 0
    if channels != diffused + places or told_more or shown_more:
        raise UserError(
            f"{folder} is an inpainting, editing or upscaling model (its UNet takes {channels} "
            f"channels where {diffused} are diffused); take a plain text-to-image one"
        )


def fold(channels: int) -> int:
    """Pixels per axis that are one position of a pixel-space UNet: their colours are its `channels`, or the first."""
    return max(1, math.isqrt(channels // 3))


def takes_views(folder: Path) -> bool:
    """Whether the model wants to be told how each picture is taken, as the built-in one does."""
    return _numbers_told(folder) == VIEW_FEATURES


def is_multi_view(folder: Path) -> bool:
    """Whether the model draws rigs of views that see each other, and is told where their cameras stand: MVDream."""
    return is_latent(folder) and _numbers_told(folder) == CAMERA_NUMBERS


def _numbers_told(folder: Path) -> Any:
    """How many numbers tell the model of each picture, or None for none."""
    unet = _json(folder / "unet" / "config.json")
    told = unet.get("class_embed_type") == "projection"
    return unet.get("projection_class_embeddings_input_dim") if told else None


def is_paired(folder: Path) -> bool:
    """Whether the model reads prompts by two text encoders, and is told the second one's summary: XL."""
    return _json(folder / "unet" / "config.json").get("addition_embed_type") == "text_time"


def empty_is_zero(folder: Path) -> bool:
    """Whether such a model's unconditional embedding is zeros, not that of ""."""
    return bool(_json(folder / "model_index.json").get("force_zeros_for_empty_prompt", True))


def overflows(folder: Path) -> bool:
    """Whether the model's VAE needs more range than fp16 has: XL's, unless it says that it was mended."""
    return is_paired(folder) and bool(_json(folder / "vae" / "config.json").get("force_upcast", True))


def is_latent(folder: Path) -> bool:
    """Whether the model diffuses latents of a VAE rather than pixels."""
    return (folder / "vae").is_dir()


def text_kind(folder: Path) -> TextKind:
    """Which text encoder a model has. Raises UserError for an unknown kind."""
    kind: Any = _json(folder / "text_encoder" / "config.json").get("model_type")
    if kind not in get_args(TextKind):
        raise UserError(f"{folder} has a text encoder of the kind {kind}; only CLIP and T5 are supported")
    return kind


def configuration(folder: Path, part: str) -> dict[str, Any]:
    """How a part is made. Raises UserError where that cannot be read."""
    return _json(folder / part / "config.json")


def scheduler_settings(folder: Path) -> dict[str, Any]:
    """The scheduler's configuration, known to describe a DDPM. Raises UserError for other kinds."""
    settings = _json(folder / "scheduler" / "scheduler_config.json")
    if "beta_schedule" not in settings:
        raise UserError(f"{folder} has no noise schedule of the DDPM kind (a flow model?), which is not supported")
    prediction = settings.setdefault("prediction_type", "epsilon")
    if prediction not in get_args(Prediction):
        raise UserError(f"{folder} predicts '{prediction}'; only {', '.join(get_args(Prediction))} are supported")
    return settings


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {path} ({error}); fetch the model again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} is not what diffusers writes there; fetch the model again")
    return content
