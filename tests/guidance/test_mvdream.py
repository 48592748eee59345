"""MVDream: what is published is converted, and what comes of it computes what `mvdream_shaped` writes out."""

import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from huggingface_hub import ModelInfo
from safetensors.torch import load_file, save_file
from torch import Tensor

from backend.cli import main
from backend.engine.cameras import Cameras, EvenRigs
from backend.engine.fields import VoxelField
from backend.engine.optimise import optimise
from backend.errors import UserError
from backend.guidance import folders as folder_facts
from backend.guidance import hub, library
from backend.guidance.diffusion import DiffusionGuidance
from backend.guidance.loading import load
from backend.guidance.prompts import encode
from backend.guidance.views import Views
from backend.pipeline.presets import preset
from backend.pipeline.tuning import tuned
from tests.guidance import mvdream_shaped as shaped

CPU = torch.device("cpu")
T = 600
TEXTS = ("", "a photo of a cat", "a dog")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DREAMTIME_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed."""
    return shaped.save(tmp_path_factory.mktemp("checkpoint") / "tiny-4view.safetensors")


@pytest.fixture(scope="session")
def converted(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the checkpoint became when it was added. Not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DREAMTIME_HOME", str(tmp_path_factory.mktemp("converted")))
        return library.add(checkpoint).folder


@pytest.fixture(scope="session")
def guidance(converted: Path) -> DiffusionGuidance:
    return load(converted, CPU, "fp32")


@pytest.fixture
def folder(converted: Path, tmp_path: Path) -> Path:
    """The same model in a folder, but with the UNet's original names, as others publish it."""
    folder = tmp_path / "mvdream-sd2.1-diffusers"
    shutil.copytree(converted, folder)
    shutil.rmtree(folder / "unet")
    (folder / "unet").mkdir()
    write_unet(folder, shaped.unet_weights())
    return folder


def write_unet(folder: Path, weights: dict[str, Tensor], kind: str = "MultiViewUNetModel") -> None:
    save_file(weights, folder / "unet" / "diffusion_pytorch_model.safetensors")
    (folder / "unet" / "config.json").write_text(json.dumps({"_class_name": kind, "camera_dim": 16}))


def rigs(count: int = 1, joint: int = 4) -> Views:
    return replace(Views.unlit(EvenRigs().rigs(count, 4, torch.Generator().manual_seed(3))), joint=joint)


def texts(guidance: DiffusionGuidance, views: int) -> list[Tensor]:
    return [text.expand(views, -1, -1) for text in guidance.encode(TEXTS).split(1)]


def images(count: int) -> Tensor:
    return torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(4))


def outputs(guidance: DiffusionGuidance, noisy: Tensor, views: Views) -> Tensor:
    return guidance.predict(noisy, T, texts(guidance, len(noisy)), views).outputs


@pytest.mark.parametrize("t", [20, T, 980])
def test_a_prediction_is_the_forward_pass_of_the_original_weights(guidance: DiffusionGuidance, t: int) -> None:
    weights, views, asked = shaped.unet_weights(), rigs(2), texts(guidance, 8)
    said = guidance.predict(images(8), t, asked, views)
    assert said.kind == "epsilon"
    for output, text in zip(said.outputs, asked, strict=True):
        expected = shaped.eps(weights, images(8), t, text, views.camera_matrices, 4)
        torch.testing.assert_close(output, expected, atol=2e-5, rtol=1e-4)
        assert 0.3 < expected.std() < 3


def test_an_embedding_is_that_of_openclips_last_block_but_one(guidance: DiffusionGuidance) -> None:
    tokens = torch.zeros(1, 77, dtype=torch.long)
    tokens[0, :7] = torch.tensor([49406, 320, 1125, 539, 320, 2368, 49407])  # as OpenCLIP numbers "a photo of a cat"
    expected = shaped.encoded(shaped.text_weights(), tokens)
    torch.testing.assert_close(guidance.encode(["a photo of a cat"]), expected, atol=1e-5, rtol=1e-4)


def test_latents_are_those_of_the_original_encoder(guidance: DiffusionGuidance, generator: torch.Generator) -> None:
    pictures = torch.rand(2, 3, 64, 64, generator=generator)
    expected = shaped.latents(shaped.vae_weights(), pictures)
    assert expected.shape == (2, 4, 32, 32)
    torch.testing.assert_close(guidance.model_space(pictures), expected, atol=1e-5, rtol=1e-4)


def test_pictures_are_rendered_at_two_pixels_to_a_latent(guidance: DiffusionGuidance, converted: Path) -> None:
    assert (guidance.channels, guidance.size) == (3, 64)
    assert load(converted, CPU, "fp32", latent_field=True).size == 32


def test_the_noise_schedule_is_stable_diffusions(guidance: DiffusionGuidance) -> None:
    kept = shaped.checkpoint()["alphas_cumprod"]
    torch.testing.assert_close(guidance.abar.float(), kept, atol=1e-6, rtol=1e-4)


def swapped(views: Views, order: list[int]) -> Views:
    return replace(views, cameras=Cameras(*(column[order] for column in views.cameras.columns)))


def test_views_swapped_with_their_cameras_are_the_same_pictures_in_another_order(guidance: DiffusionGuidance) -> None:
    order = [2, 1, 0, 3]
    before = outputs(guidance, images(4), rigs())
    after = outputs(guidance, images(4)[order], swapped(rigs(), order))
    torch.testing.assert_close(after, before[:, order], atol=1e-5, rtol=1e-4)


def test_two_cameras_swapped_change_their_own_views_and_reach_the_others_through_attention_alone(
    guidance: DiffusionGuidance,
) -> None:
    def changed(joint: int) -> Tensor:
        views = rigs(joint=joint)
        before, after = (outputs(guidance, images(4), each) for each in (views, swapped(views, [2, 1, 0, 3])))
        return (after - before).abs().amax((0, 2, 3, 4))

    apart, together = changed(1), changed(4)
    assert apart[[0, 2]].min() > 0.05
    assert apart[[1, 3]].max() < 1e-6
    assert together[[0, 2]].min() > 0.05
    assert together[[1, 3]].min() > 1e-3
    assert together[[1, 3]].max() < together[[0, 2]].min()


def test_one_rig_of_a_batch_does_not_reach_another_whatever_the_words(guidance: DiffusionGuidance) -> None:
    views, noisy = rigs(2), images(8)
    before = outputs(guidance, noisy, views)
    assert len(before) == 3  # one call for all conditionings
    noisy[1] += 1
    after = outputs(guidance, noisy, views)
    assert (after - before)[:, :4].abs().amax((2, 3, 4)).min() > 1e-3
    assert torch.equal(after[:, 4:], before[:, 4:])
    alone = replace(views, cameras=Cameras(*(column[4:] for column in views.cameras.columns)))
    torch.testing.assert_close(outputs(guidance, noisy[4:], alone), before[:, 4:], atol=1e-5, rtol=1e-4)


def test_a_rig_stays_together_in_little_memory(guidance: DiffusionGuidance) -> None:
    expected = outputs(guidance, images(8), rigs(2))
    for at_once in (1, 2, 4):
        torch.testing.assert_close(outputs(guidance.lean(at_once), images(8), rigs(2)), expected, atol=1e-5, rtol=1e-4)


def test_the_folder_is_read_by_plain_diffusers_and_says_that_it_is_multi_view(converted: Path) -> None:
    assert folder_facts.is_multi_view(converted)
    assert not folder_facts.takes_views(converted)
    unet = UNet2DConditionModel.from_pretrained(converted / "unet", low_cpu_mem_usage=False)
    assert unet.config.sample_size == 32
    assert unet.config.attention_head_dim == [1, 1, 2]
    assert unet.config.class_embed_type == "projection"


def test_a_checkpoint_is_added_under_its_name_and_removed_with_its_folder(checkpoint: Path, home: Path) -> None:
    looked = library.offered(checkpoint)
    assert (looked.name, looked.size) == ("tiny-4view", checkpoint.stat().st_size)
    assert not home.exists()
    added = library.add(checkpoint)
    assert (added.name, added.origin) == ("tiny-4view", str(checkpoint))
    assert sorted(path.name for path in (home / "models").iterdir()) == ["tiny-4view", "tiny-4view.json"]
    assert library.resolve("tiny-4view") == added
    with pytest.raises(UserError, match='was added already, as "tiny-4view"'):
        library.add(checkpoint, "again")
    library.remove("tiny-4view")
    assert list((home / "models").iterdir()) == []
    assert checkpoint.is_file()


@pytest.mark.parametrize("before", ["", "unet."])
def test_a_published_folder_becomes_the_same_model(
    before: str, folder: Path, guidance: DiffusionGuidance, home: Path
) -> None:
    kind = "MultiViewUNetWrapperModel" if before else "MultiViewUNetModel"
    write_unet(folder, {before + name: tensor for name, tensor in shaped.unet_weights().items()}, kind)
    files = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    added = library.add(folder)
    assert added.folder == home / "models" / folder.name
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == files
    again = load(added.folder, CPU, "fp32")
    assert torch.equal(outputs(again, images(4), rigs()), outputs(guidance, images(4), rigs()))
    assert torch.equal(again.encode(["a dog"]), guidance.encode(["a dog"]))


def test_one_of_stable_diffusion_1_has_convolutions_around_attention_and_eight_heads(folder: Path) -> None:
    weights, views = shaped.unet_weights(linear=False), rigs()
    write_unet(folder, weights)
    first = load(library.add(folder).folder, CPU, "fp32")
    text = texts(first, 4)[1]
    expected = shaped.eps(weights, images(4), T, text, views.camera_matrices, 4)
    torch.testing.assert_close(first.predict(images(4), T, [text], views).outputs[0], expected, atol=2e-5, rtol=1e-4)


def test_half_precision_weights_stay_so(folder: Path) -> None:
    write_unet(folder, {name: tensor.half() for name, tensor in shaped.unet_weights().items()})
    kept = load_file(library.add(folder).folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in kept.values()} == {torch.float16}


class Hub:
    """A hub that has one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def model_info(self, repo_id: str, *, files_metadata: bool) -> ModelInfo:
        names = [path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file()]
        return ModelInfo(id=repo_id, sha="0" * 40, siblings=[{"rfilename": name, "size": 1} for name in names])

    def snapshot_download(self, repo_id: str, *, revision: str, allow_patterns: list[str], local_dir: Path) -> None:
        for name in allow_patterns:
            (local_dir / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.folder / name, local_dir / name)


def test_one_from_the_hub_is_converted_after_the_download(
    folder: Path, guidance: DiffusionGuidance, home: Path
) -> None:
    api = Hub(folder)
    hub.fetch(api, hub.look_up(api, "owner/mvdream"))
    assert sorted(path.name for path in (home / "models").iterdir()) == ["owner%2Fmvdream", "owner%2Fmvdream.json"]
    again = load(library.resolve("owner/mvdream").folder, CPU, "fp32")
    assert torch.equal(outputs(again, images(4), rigs()), outputs(guidance, images(4), rigs()))


def test_what_is_published_has_to_be_added_before_it_is_used(folder: Path, checkpoint: Path) -> None:
    for path in (folder, checkpoint):
        with pytest.raises(UserError, match=f"add it first: dreamtime models add {path}"):
            library.resolve(str(path))


UNET, TEXT = "model.diffusion_model.", "cond_stage_model.model."
CAMERA = f"{UNET}camera_embed.0"


@pytest.mark.parametrize(
    ("instead", "says"),
    [
        ({f"{UNET}out.0.bias": None}, r"is no whole MVDream model \(conv_norm_out\.bias is missing\)"),
        ({f"{UNET}input_blocks.0.0.weight": None}, r"\(input_blocks\.0\.0\.weight is missing\)"),
        ({f"{UNET}middle_block.0.in_layers.2.weight": torch.zeros(3, 3)}, r"mid_block.* has the shape \(3, 3\), not"),
        ({f"{CAMERA}.weight": torch.zeros(256, 12)}, r"class_embedding.* has the shape \(256, 12\), not \(256, 16\)"),
        ({f"{UNET}image_embed.proj_in.weight": torch.zeros(4, 4)}, r"lacks \(image_embed.*as ImageDream does"),
        ({"first_stage_model.post_quant_conv.weight": None}, r"\(post_quant_conv\.weight is missing\)"),
        ({f"{TEXT}token_embedding.weight": None}, r"\(token_embedding\.weight is missing\)"),
        ({f"{TEXT}transformer.resblocks.1.ln_2.bias": None}, r"\(.*layers\.1\.layer_norm2\.bias is missing\)"),
    ],
)
def test_a_checkpoint_that_is_not_what_it_should_be_is_refused_and_nothing_is_left(
    instead: dict[str, Tensor | None], says: str, tmp_path: Path, home: Path
) -> None:
    path = shaped.save(tmp_path / "odd.safetensors", **instead)
    with pytest.raises(UserError, match=says) as refused:
        library.add(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert list((home / "models").iterdir()) == []


def test_a_checkpoint_with_another_text_encoder_is_refused(tmp_path: Path) -> None:
    others = {name: None for name in shaped.checkpoint() if name.startswith(TEXT)}
    path = shaped.save(tmp_path / "sd-v1.5-4view.safetensors", **others)
    with pytest.raises(UserError, match=r"has no OpenCLIP text encoder.*; take sd-v2\.1-base-4view, or a folder"):
        library.add(path)


def test_a_checkpoint_whose_end_is_missing_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "half.safetensors"
    path.write_bytes(checkpoint.read_bytes()[:-1000])
    with pytest.raises(UserError, match=r"cannot read .*half\.safetensors \(.*\); fetch it again"):
        library.add(path)


def test_a_pickle_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "sd-v2.1-base-4view.pt"
    path.write_bytes(b"PK")
    with pytest.raises(UserError, match="is a pickle, which can run code when opened; take a safetensors copy of it"):
        library.add(path)


def test_a_folder_that_lacks_a_part_is_refused_by_its_own_name(folder: Path, home: Path) -> None:
    shutil.rmtree(folder / "tokenizer")
    with pytest.raises(UserError, match=f"{folder} lacks the part tokenizer/"):
        library.add(folder)
    assert list((home / "models").iterdir()) == []


def test_a_folder_with_a_part_of_another_kind_is_refused_by_its_own_name(folder: Path, home: Path) -> None:
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    with pytest.raises(UserError, match=f"{folder} has no noise schedule of the DDPM kind"):
        library.add(folder)
    assert list((home / "models").iterdir()) == []


def failing(*given: Any, **settings: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def interrupted(*given: Any, **settings: Any) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("fails", "error", "says"),
    [
        (failing, UserError, "No space left on device.*mend that and add it again"),
        (interrupted, KeyboardInterrupt, None),
    ],
)
def test_a_conversion_that_ends_early_leaves_nothing(
    fails: Callable[..., None],
    error: type[BaseException],
    says: str | None,
    checkpoint: Path,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("backend.guidance.conversion.clip_tokenizer.write", fails)
        with pytest.raises(error, match=says):
            library.add(checkpoint)
    assert list((home / "models").iterdir()) == []
    assert library.add(checkpoint).name == "tiny-4view"


def test_a_full_disk_is_seen_before_the_conversion(
    checkpoint: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 5))  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="make room"):
        library.add(checkpoint)
    assert list((home / "models").iterdir()) == []


def test_a_step_by_its_own_tuning_moves_a_field(guidance: DiffusionGuidance) -> None:
    tuning = tuned(preset("draft", small=False, device="cpu", multi_view=True), small=False, multi_view=True)
    field = VoxelField(3, (6,))
    texts = encode(guidance, "a mug", mode=tuning.view_mode)
    settings = replace(tuning.optimisation, spacing=0.2, occupancy_resolution=8)
    assert next(optimise(field, guidance, texts, settings, seed=0)).t == 980
    moved = field.levels[0].abs().sum((0, 2, 3, 4))
    assert (moved > 0).all()


def test_a_whole_job_by_the_command_line(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "add", str(checkpoint)]) == 0
    assert capsys.readouterr().out == "added tiny-4view (39.6 MB); use it with --guidance tiny-4view\n"
    arguments = ("--guidance", "tiny-4view", "--preset", "draft", "--steps", "2", "--faces", "500", "--texture", "64")
    assert main(["generate", "a mug", *arguments, "--device", "cpu", "--out", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["iterations"], report["watertight"]) == (2, True)
    settings = report["recipe"]["optimisation"]
    assert (settings["rule"], settings["schedule"], settings["cfg"]) == ("x0", "window", 50.0)
    assert (settings["views"], settings["joint_views"]) == (4, 4)
    assert report["recipe"]["view_mode"] == "off"
    assert (tmp_path / "out" / "mesh.glb").read_bytes().startswith(b"glTF")
