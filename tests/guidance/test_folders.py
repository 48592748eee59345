"""Everything that must not be loaded."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from backend.errors import UserError
from backend.guidance.folders import check, is_latent


@pytest.fixture
def folder(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the Stable Diffusion 1.x folder that a test may spoil."""
    return Path(shutil.copytree(folders["sd1"], tmp_path / "sd1"))


def change(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


@pytest.mark.parametrize("where", ["unet/diffusion_pytorch_model.bin", "safety_checker/model.CKPT", "x.pkl"])
def test_a_pickle_anywhere_is_refused_by_name(folder: Path, where: str) -> None:
    (folder / where).parent.mkdir(exist_ok=True)
    (folder / where).touch()
    with pytest.raises(UserError, match=f"{where} is a pickle.*safetensors"):
        check(folder)


def test_folders_that_hold_no_model_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model_index\.json is missing"):
        check(tmp_path / "nothing")
    (folder / "model_index.json").write_text("{")
    with pytest.raises(UserError, match="cannot read"):
        check(folder)
    (folder / "model_index.json").write_text("[]")
    with pytest.raises(UserError, match="not what diffusers writes"):
        check(folder)


@pytest.mark.parametrize("part", ["unet", "text_encoder", "tokenizer", "scheduler"])
def test_a_missing_part_is_named(folder: Path, part: str) -> None:
    shutil.rmtree(folder / part)
    with pytest.raises(UserError, match=f"lacks the part {part}/"):
        check(folder)


@pytest.mark.parametrize("part", ["unet", "text_encoder", "vae"])
def test_a_part_without_safetensors_is_refused(folder: Path, part: str) -> None:
    for path in (folder / part).glob("*.safetensors"):
        path.unlink()
    with pytest.raises(UserError, match=f"{part} has no safetensors"):
        check(folder)


def test_models_of_other_kinds_are_refused_with_what_they_are(folder: Path) -> None:
    unet, index = folder / "unet" / "config.json", folder / "model_index.json"
    before = unet.read_text(), index.read_text()
    for path, settings, reason in (
        (index, {"_class_name": "FluxPipeline", "transformer": ["diffusers", "X"]}, "transformer model"),
        (unet, {"addition_embed_type": "text_time"}, "SDXL"),
        (unet, {"in_channels": 9}, "inpainting"),
        (unet, {"class_embed_type": "timestep"}, "upscaling"),
        (unet, {"_class_name": "UNetMotionModel"}, "UNetMotionModel"),
    ):
        change(path, **settings)
        with pytest.raises(UserError, match=reason):
            check(folder)
        unet.write_text(before[0])
        index.write_text(before[1])
    check(folder)


def test_other_text_encoders_noise_schedules_and_predictions_are_refused(folder: Path) -> None:
    scheduler = folder / "scheduler" / "scheduler_config.json"
    change(scheduler, prediction_type="flow")
    with pytest.raises(UserError, match="predicts 'flow'"):
        check(folder)
    scheduler.write_text(json.dumps({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}))
    with pytest.raises(UserError, match="no noise schedule of the DDPM kind"):
        check(folder)
    change(folder / "text_encoder" / "config.json", model_type="llama")
    with pytest.raises(UserError, match="only CLIP and T5"):
        check(folder)


def test_models_are_told_apart_by_their_parts(folders: dict[str, Path]) -> None:
    for folder in folders.values():
        check(folder)
    assert {kind: is_latent(folder) for kind, folder in folders.items()} == {
        "sd1": True,
        "sd2": True,
        "if": False,
        "prior": False,
    }
