"""What lies in the model folders of other programs, told by the names of tensors alone."""

import os
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file

from backend.commands.models import models
from backend.errors import UserError
from backend.guidance import library, single_file
from backend.guidance.scan import Found, scan
from tests.guidance import models_in_one_file as files
from tests.guidance import mvdream_shaped


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DREAMTIME_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


UNET = "model.diffusion_model."
OTHERS: dict[str, tuple[dict[str, tuple[int, ...]], str]] = {
    "loras/add_detail.safetensors": (
        {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": (4, 4), "lora_te_text_model.alpha": ()},
        "a LoRA",
    ),
    "loras/xl_by_peft.safetensors": ({"unet.down_blocks.1.attentions.0.to_k.lora_A.weight": (4, 4)}, "a LoRA"),
    "loras/lycoris.safetensors": ({"lora_unet_mid_block_attentions_0.hada_w1_a": (4, 4)}, "a LoRA"),
    "vae/vae-ft-mse-840000-ema-pruned.safetensors": (
        {"decoder.conv_in.weight": (4, 4, 3, 3), "encoder.down.0.block.0.conv1.weight": (4, 4, 3, 3)},
        "a VAE alone",
    ),
    "vae/diffusers.safetensors": ({"encoder.down_blocks.0.resnets.0.conv1.weight": (4, 4, 3, 3)}, "a VAE alone"),
    "controlnet/control_v11p_sd15_canny.safetensors": ({"control_model.time_embed.0.weight": (4, 4)}, "a ControlNet"),
    "controlnet/xl.safetensors": (
        {
            "controlnet_cond_embedding.conv_in.weight": (4, 3, 3, 3),
            "down_blocks.0.resnets.0.conv1.weight": (4, 4, 3, 3),
        },
        "a ControlNet",
    ),
    "embeddings/easynegative.safetensors": ({"emb_params": (2, 768)}, "a textual inversion"),
    "embeddings/xl.safetensors": ({"clip_g": (2, 1280), "clip_l": (2, 768)}, "a textual inversion"),
    "unet/flux1-dev.safetensors": ({"double_blocks.0.img_attn.proj.weight": (4, 4)}, "Flux or its like, a transformer"),
    "checkpoints/flux-fp8.safetensors": ({f"{UNET}double_blocks.0.img_attn.qkv.weight": (4, 4)}, "Flux or its like"),
    "checkpoints/sd3_medium.safetensors": (
        {
            f"{UNET}joint_blocks.0.context_block.mlp.fc1.weight": (4, 4),
            "first_stage_model.encoder.conv_in.weight": (4,),
        },
        "Stable Diffusion 3",
    ),
    "checkpoints/wan.safetensors": ({f"{UNET}blocks.0.self_attn.q.weight": (4, 4)}, "a transformer"),
    "checkpoints/xl_refiner.safetensors": (
        {
            f"{UNET}input_blocks.0.0.weight": (384, 4, 3, 3),
            "conditioner.embedders.0.model.transformer.resblocks.9.mlp.c_proj.bias": (4,),
        },
        "the refiner of XL",
    ),
    "checkpoints/inpainting.safetensors": ({f"{UNET}input_blocks.0.0.weight": (320, 9, 3, 3)}, "an inpainting model"),
    "checkpoints/pix2pix.safetensors": ({f"{UNET}input_blocks.0.0.weight": (320, 8, 3, 3)}, "a model that edits"),
    "checkpoints/depth.safetensors": ({f"{UNET}input_blocks.0.0.weight": (320, 5, 3, 3)}, "told of depth"),
    "checkpoints/x4.safetensors": ({f"{UNET}input_blocks.0.0.weight": (256, 7, 3, 3)}, "an upscaler"),
    "checkpoints/svd.safetensors": (
        {f"{UNET}input_blocks.0.0.weight": (320, 8, 3, 3), f"{UNET}input_blocks.1.0.time_stack.x.weight": (4,)},
        "a model of videos",
    ),
    "checkpoints/playground.safetensors": ({"edm_mean": (4,)}, "Playground 2.5"),
    "unet/only.safetensors": ({f"{UNET}input_blocks.0.0.weight": (320, 4, 3, 3)}, "without its text encoder"),
    "checkpoints/no_vae.safetensors": (
        {f"{UNET}input_blocks.0.0.weight": (320, 4, 3, 3), "cond_stage_model.model.ln_final.bias": (4,)},
        "without its VAE",
    ),
    "unet/diffusers.safetensors": ({"down_blocks.0.resnets.0.conv1.weight": (4, 4, 3, 3)}, "in diffusers' layout"),
    "clip/clip_l.safetensors": ({"text_model.encoder.layers.0.mlp.fc1.weight": (4, 4)}, "a text encoder alone"),
    "clip/t5xxl.safetensors": ({"encoder.block.0.layer.0.SelfAttention.k.weight": (4, 4)}, "a text encoder alone"),
    "upscale_models/4x.safetensors": ({"conv_first.weight": (64, 3, 3, 3)}, "an upscaler of pictures"),
    "ipadapter/plus.safetensors": ({"image_proj.latents": (1, 4)}, "an IP-Adapter"),
    "animatediff/mm.safetensors": ({"down_blocks.0.motion_modules.0.norm.weight": (4,)}, "a motion module"),
    "checkpoints/other.safetensors": ({"something.else": (4,)}, "of a kind that is not known here"),
}


def write(path: Path, shapes: dict[str, tuple[int, ...]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: torch.zeros(shape) for name, shape in shapes.items()}, path)
    return path


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_checkpoint_of_a_kind_that_is_understood_is_refused_with_a_word(name: str, tmp_path: Path) -> None:
    shapes, what = OTHERS[name]
    path = write(tmp_path / name, shapes)
    with pytest.raises(UserError) as refused:
        single_file.kind_of(path)
    assert str(refused.value).startswith(f"{path} is {what}" if not what.startswith(("told", "in diff")) else str(path))
    assert what in str(refused.value)
    assert str(refused.value).endswith("; take a whole checkpoint of Stable Diffusion 1.x, 2.x or XL")


@pytest.fixture
def comfy(tmp_path: Path, folders: dict[str, Path]) -> Path:
    """A made-up ComfyUI with twelve files that could be models, a folder of diffusers', and what is none of its own."""
    root = tmp_path / "ComfyUI"
    for kind, name in (("sd1", "dreamshaper_8"), ("sd2", "v2-1_512"), ("sdxl", "xl/juggernaut")):
        files.save(root / f"models/checkpoints/{name}.safetensors", files.checkpoint(kind, files.made(kind)))
    mvdream_shaped.save(root / "models/checkpoints/sd-v2.1-base-4view.safetensors")
    for name in (
        "loras/add_detail.safetensors",
        "vae/vae-ft-mse-840000-ema-pruned.safetensors",
        "checkpoints/inpainting.safetensors",
        "checkpoints/xl_refiner.safetensors",
        "unet/flux1-dev.safetensors",
        "upscale_models/4x.safetensors",
    ):
        write(root / "models" / name, OTHERS[name][0])
    (root / "models/checkpoints/old.ckpt").write_bytes(b"PK")
    (root / "models/checkpoints/half.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    (root / "models/checkpoints/put_checkpoints_here").touch()
    (root / "models/diffusers").mkdir()
    (root / "models/diffusers/two").symlink_to(folders["sd2"])
    (root / "models/loras/round").symlink_to(root / "models")
    write(root / "custom_nodes/some/test.safetensors", {"x": (1,)})
    return root


EXPECTED = {
    "checkpoints/dreamshaper_8.safetensors": "Stable Diffusion 1.x",
    "checkpoints/v2-1_512.safetensors": "Stable Diffusion 2.x",
    "checkpoints/xl/juggernaut.safetensors": "Stable Diffusion XL",
    "checkpoints/sd-v2.1-base-4view.safetensors": "MVDream",
    "diffusers/two": "diffusers folder",
    "checkpoints/old.ckpt": "a pickle, which can run code when opened",
    "checkpoints/half.safetensors": "cannot read",
    "checkpoints/inpainting.safetensors": "an inpainting model",
    "checkpoints/xl_refiner.safetensors": "the refiner of XL, which needs pictures to begin with",
    "loras/add_detail.safetensors": "a LoRA, which only changes a model",
    "unet/flux1-dev.safetensors": "Flux or its like, a transformer",
    "upscale_models/4x.safetensors": "an upscaler of pictures",
    "vae/vae-ft-mse-840000-ema-pruned.safetensors": "a VAE alone",
}


def test_a_scan_of_comfyui_tells_the_kinds_and_names_what_is_none(comfy: Path) -> None:
    found = {os.path.relpath(one.path, comfy / "models"): one for one in scan(comfy)}
    assert {
        name: one.kind or one.refused.split(" (")[0].split(f" {one.path}")[0] for name, one in found.items()
    } == EXPECTED
    assert list(scan(comfy / "models")) == list(found.values())


def test_a_scan_reads_no_weights(comfy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr("hashlib.file_digest", refuse)
    monkeypatch.setattr("backend.guidance.linked.load_file", refuse)
    assert len(list(scan(comfy))) == len(EXPECTED)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(models, arguments)


def test_all_that_a_scan_finds_is_added_at_once(comfy: Path) -> None:
    looked = run("scan", str(comfy))
    assert looked.exit_code == 0
    lines = looked.stdout.splitlines()
    assert lines[0] == "Stable Diffusion 1.x  models/checkpoints/dreamshaper_8.safetensors"
    assert "-                     models/loras/add_detail.safetensors: a LoRA, which only changes a model" in lines
    assert lines[-1] == f"to add them: dreamtime models scan --add {comfy}"
    assert [model.name for model in library.listed()] == ["builtin"]
    added = run("scan", "--add", str(comfy))
    assert added.exit_code == 0, added.output
    names = ["dreamshaper_8", "juggernaut", "sd-v2.1-base-4view", "sd2", "v2-1_512"]
    assert [model.name for model in library.usable()] == ["builtin", *names]
    again = run("scan", "--add", str(comfy))
    assert isinstance(again.exception, UserError)
    assert 'models/checkpoints/v2-1_512.safetensors: added already, as "v2-1_512"' in again.stdout
    assert "no model that could be added" in str(again.exception)


def test_one_that_is_not_whole_does_not_keep_the_others_from_being_added(tmp_path: Path) -> None:
    weights = files.checkpoint("sd1", files.made("sd1"))
    files.save(tmp_path / "b.safetensors", weights)
    del weights[f"{UNET}out.0.bias"]
    files.save(tmp_path / "a.safetensors", weights)
    added = run("scan", "--add", str(tmp_path))
    assert added.exit_code == 0
    assert added.stderr.startswith(f"not added: {tmp_path}/a.safetensors is no whole Stable Diffusion 1.x model")
    assert [model.name for model in library.listed()] == ["builtin", "b"]


def test_a_folder_without_models_and_what_is_no_folder_are_one_line(tmp_path: Path) -> None:
    none = run("scan", str(tmp_path))
    assert isinstance(none.exception, UserError)
    assert (
        str(none.exception) == f"{tmp_path} has no model that could be added; name the folder that has the checkpoints"
    )
    gone = run("scan", str(tmp_path / "gone"))
    assert isinstance(gone.exception, UserError)
    assert "is no folder" in str(gone.exception)


def test_a_folder_of_diffusers_is_one_model_and_not_its_parts(folders: dict[str, Path]) -> None:
    assert list(scan(folders["sd1"])) == [Found(folders["sd1"], "diffusers folder")]
