"""MVDream's original weights -> a folder of diffusers' classes (see `mvdream`).

The UNet is Stable Diffusion's; what is MVDream's own is a perceptron for the camera, added to the embedding of the
timestep: the "projection" class embedding of diffusers.
"""

import json
import shutil
from pathlib import Path

from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor

from backend.errors import UserError
from backend.guidance import clip_tokenizer, folders, ldm
from backend.guidance.folders import CAMERA_NUMBERS
from backend.guidance.quiet import quiet

_TEXT = "cond_stage_model.model."
_LATENT_SIZE, _PICTURE_SIZE = 32, 256
_FIRST = "input_blocks.0.0.weight"

_INDEX = {
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "DDIMScheduler"],
}


def convert(source: Path, target: Path) -> None:
    """Write the model in `source`, a checkpoint or a folder, into the new folder `target`, as far as it comes.

    Raises UserError if it is not whole, or cannot be written.
    """
    with ldm.explained(source, "MVDream model"):
        with quiet():
            (_convert_checkpoint if source.is_file() else _convert_folder)(source, target)
        (target / "model_index.json").write_text(json.dumps(_INDEX, indent=2) + "\n", "utf-8")


def _convert_checkpoint(path: Path, target: Path) -> None:
    state = load_file(path)
    text, vae = ldm.without(_TEXT, state), ldm.without(ldm.VAE, state)
    if not text:
        raise UserError(
            f"{path} has no OpenCLIP text encoder, which MVDream of Stable Diffusion 2.1 has; take "
            "sd-v2.1-base-4view, or a folder with all parts"
        )
    vae_settings = {"sample_size": _PICTURE_SIZE, "scaling_factor": ldm.LATENT_SCALE, **ldm.vae_settings(vae)}
    parts = {
        "unet": _unet(ldm.without(ldm.UNET, state), path),
        "vae": ldm.vae(vae, vae_settings),
        "text_encoder": ldm.open_clip(text, ldm.open_clip_settings(text)),
    }
    for part, model in parts.items():
        model.save_pretrained(target / part)
    clip_tokenizer.write(target / "tokenizer", clip_tokenizer.OPEN_CLIP_PAD)
    ldm.noise("epsilon").save_pretrained(target / "scheduler")


def _convert_folder(folder: Path, target: Path) -> None:
    folders.check_parts(folder)
    state: dict[str, Tensor] = {}
    for path in folders.weight_files(folder / "unet"):
        state |= load_file(path)
    before = next((name.removesuffix(_FIRST) for name in state if name.endswith(_FIRST)), "")
    _unet(ldm.without(before, state), folder).save_pretrained(target / "unet")
    for part in folders.PARTS:
        if part != "unet" and (folder / part).is_dir():
            shutil.copytree(folder / part, target / part)


def _unet(state: ldm.State, path: Path) -> UNet2DConditionModel:
    told = {"class_embed_type": "projection", "projection_class_embeddings_input_dim": CAMERA_NUMBERS}
    settings = {"sample_size": _LATENT_SIZE, **ldm.unet_settings(state), **told}
    # What diffusers converts into a class embedding is a perceptron like that for the camera.
    named = {name.replace("camera_embed.", "label_emb.0."): tensor for name, tensor in state.items()}
    try:
        return ldm.unet(named, settings)
    except ldm.Unread as error:
        raise UserError(
            f"{path} has what MVDream lacks ({error.name}), as ImageDream does; only MVDream is supported"
        ) from error
