"""Everything that must not be loaded."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from diffusers import UNet2DConditionModel

from backend.errors import UserError
from backend.guidance.folders import check, files, fold, is_latent, is_paired, pickles, takes_views


@pytest.fixture
def folder(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the Stable Diffusion 1.x folder that a test may spoil."""
    return Path(shutil.copytree(folders["sd1"], tmp_path / "sd1"))


def change(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


@pytest.mark.parametrize("part", ["unet", "text_encoder", "vae"])
def test_a_pickle_in_place_of_safetensors_is_refused_by_name(folder: Path, part: str) -> None:
    (weights,) = (folder / part).glob("*.safetensors")
    weights.rename(weights.with_suffix(".bin"))
    with pytest.raises(UserError, match=f"{part}/{weights.stem}.bin is a pickle.*safetensors"):
        check(folder)


def test_pickles_beside_safetensors_are_passed_over(folder: Path) -> None:
    before = files(folder)
    names = ("safety_checker/model.CKPT", "unet/diffusion_pytorch_model.bin", "x.pkl")
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    check(folder)
    assert files(folder) == before
    assert [path.relative_to(folder).as_posix() for path in pickles(folder)] == [*names]


@pytest.mark.parametrize(
    "name", ["unet/diffusion_pytorch_model.safetensors", "tokenizer/tokenizer.json", "model_index.json"]
)
def test_a_file_that_git_lfs_did_not_fetch_is_named(folder: Path, name: str) -> None:
    assert (folder / name).is_file()
    (folder / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 3438167540\n")
    with pytest.raises(UserError, match=f"{name} only says where .* run git lfs pull in {folder}"):
        check(folder)


def sharded(folder: Path) -> Path:
    """The UNet of a folder, in shards."""
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    shutil.rmtree(folder / "unet")
    unet.save_pretrained(folder / "unet", max_shard_size="200KB")
    assert len(list((folder / "unet").glob("*.safetensors"))) > 1
    return folder / "unet"


def test_a_shard_that_is_missing_is_named(folder: Path) -> None:
    unet = sharded(folder)
    check(folder)
    sorted(unet.glob("*.safetensors"))[1].unlink()
    with pytest.raises(UserError, match=r"lacks diffusion_pytorch_model-00002-of-.* fetch the whole model"):
        check(folder)


def test_shards_without_a_sound_index_are_refused(folder: Path) -> None:
    unet = sharded(folder)
    (index,) = unet.glob("*.index.json")
    for content in ("{}", json.dumps({"weight_map": 5, "metadata": {}})):
        index.write_text(content)
        with pytest.raises(UserError, match="not what diffusers writes"):
            check(folder)
    index.unlink()
    with pytest.raises(UserError, match="unet has no safetensors"):
        check(folder)


def test_weights_by_a_name_that_is_never_looked_for_are_refused(folder: Path) -> None:
    (weights,) = (folder / "unet").glob("*.safetensors")
    weights.rename(weights.with_name("model.safetensors"))
    with pytest.raises(UserError, match=r"unet has no safetensors.*\(diffusion_pytorch_model\)"):
        check(folder)


def test_a_single_file_that_is_no_checkpoint_is_refused_as_what_it_is(tmp_path: Path) -> None:
    for name, says in (
        ("v1-5.safetensors", "cannot read .*; fetch it again"),
        ("v1-5.ckpt", "is a pickle, which can run"),
    ):
        (tmp_path / name).touch()
        with pytest.raises(UserError, match=says):
            check(tmp_path / name)


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
        (unet, {"addition_embed_type": "text_time"}, "lacks the part text_encoder_2/"),
        (unet, {"addition_embed_type": "text_image"}, "inpainting, editing"),
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
        "sdxl": True,
        "if": False,
        "prior": False,
        "told": False,
    }
    assert [kind for kind, folder in folders.items() if takes_views(folder)] == ["told"]
    assert [kind for kind, folder in folders.items() if is_paired(folder)] == ["sdxl"]


def test_a_refiner_is_refused_as_what_it_is(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["sdxl"], tmp_path / "refiner"))
    shutil.rmtree(folder / "text_encoder")
    with pytest.raises(UserError, match="is a refiner, which needs pictures to begin with; take the base model"):
        check(folder)


@pytest.mark.parametrize("part", ["text_encoder_2", "tokenizer_2", "vae"])
def test_a_missing_part_of_xl_is_named(folders: dict[str, Path], tmp_path: Path, part: str) -> None:
    folder = Path(shutil.copytree(folders["sdxl"], tmp_path / "xl"))
    shutil.rmtree(folder / part)
    with pytest.raises(UserError, match=f"lacks the part {part}/"):
        check(folder)


def test_colours_of_folded_pixels_are_the_channels() -> None:
    assert [fold(channels) for channels in (3, 12, 27)] == [1, 2, 3]


def test_a_model_that_is_told_something_else_is_refused(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["told"], tmp_path / "told"))
    change(folder / "unet" / "config.json", projection_class_embeddings_input_dim=16)
    with pytest.raises(UserError, match="take a plain text-to-image one"):
        check(folder)
    change(folder / "unet" / "config.json", projection_class_embeddings_input_dim=12, in_channels=10)
    with pytest.raises(UserError, match="takes 10 channels where 3 are diffused"):
        check(folder)


def test_a_model_of_an_older_version_is_refused_with_the_remedy(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders["prior"], tmp_path / "old"))
    (folder / "vocabulary.json").write_text('{"objects": ["mug"]}')
    with pytest.raises(
        UserError, match=r"older version trained .* python -m backend\.prior\.train --objects"
    ) as refused:
        check(folder)
    assert "\n" not in str(refused.value)
    (folder / "lexicon.json").write_text("{}")
    check(folder)
