"""Checkpoints in one file: what is read where it lies is what the same weights are in diffusers' layout."""

import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import infer_diffusers_model_type
from torch import Tensor

from backend.benches import random_models
from backend.cli import main
from backend.engine.cameras import ring
from backend.errors import UserError
from backend.guidance import folders, library, linked, parameterisation, single_file
from backend.guidance.folders import Prediction
from backend.guidance.loading import load
from backend.guidance.views import Views
from backend.pipeline.asking import asked, load_guidance
from backend.pipeline.job import planned
from backend.pipeline.request import Request
from backend.pipeline.shape import Shape
from tests.guidance import models_in_one_file as files
from tests.guidance.ldm_layout import sparse

CPU = torch.device("cpu")
VIEW = Views.unlit(ring(1, 20))
KINDS = sorted(files.KINDS)
EPSILON = {"modelspec.prediction_type": "epsilon"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DREAMTIME_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small ones by kind. Not to be changed."""
    root = tmp_path_factory.mktemp("checkpoints")
    return {
        kind: files.save(root / f"{kind}.safetensors", files.checkpoint(kind, files.made(kind)), EPSILON)
        for kind in KINDS
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_says_what_the_same_weights_say_in_diffusers_layout(
    kind: str, checkpoints: dict[str, Path], tmp_path: Path
) -> None:
    modules = files.made(kind)
    ours = load(library.add(checkpoints[kind]).folder, CPU, "fp32")
    theirs = load(random_models.save_folder(tmp_path / "diffusers", kind, modules, "epsilon"), CPU, "fp32")
    assert (ours.size, ours.channels) == (theirs.size, theirs.channels)
    assert torch.equal(ours.abar, theirs.abar)
    texts = [guidance.encode(["a photo of a cat", ""], [", back view", ""]) for guidance in (ours, theirs)]
    assert torch.equal(*texts)
    noisy = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    said = [guidance.predict(noisy, 300, list(texts[0].split(1)), VIEW) for guidance in (ours, theirs)]
    assert said[0].kind == said[1].kind == "epsilon"
    assert torch.equal(said[0].outputs, said[1].outputs)
    assert said[0].outputs.std() > 0.01
    pictures = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(2)) * 2 - 1
    vaes = [guidance.parts.vae for guidance in (ours, theirs)]
    assert torch.equal(*(vae.encode(pictures).latent_dist.mode() for vae in vaes))
    assert torch.equal(*(vae.decode(torch.ones(1, 4, 4, 4)).sample for vae in vaes))
    assert vaes[0].config.scaling_factor == vaes[1].config.scaling_factor
    assert vaes[0].config.sample_size == vaes[1].config.sample_size


@pytest.mark.parametrize("kind", KINDS)
def test_the_true_names_and_sizes_are_understood(kind: str, tmp_path: Path) -> None:
    modules = files.true_sized(kind)
    weights = files.checkpoint(kind, modules)
    # Theirs knows the names of the published files.
    assert infer_diffusers_model_type(weights) == {"sd1": "v1", "sd2": "v2", "sdxl": "xl_base"}[kind]
    path = sparse(tmp_path / "true.safetensors", ((name, tensor.shape) for name, tensor in weights.items()))
    assert path.stat().st_size > 1.9e9
    assert single_file.kind_of(path) == files.KINDS[kind]
    state = linked.load_file(path)
    found = linked._modules(single_file.kind_of(path), state, linked._settings(single_file.kind_of(path), state))
    for part, module in modules.items():
        ours = {name: tensor.shape for name, tensor in found[part].state_dict().items()}
        assert ours == {name: tensor.shape for name, tensor in module.state_dict().items()}
        names = ("attention_head_dim", "hidden_act", "num_attention_heads", "transformer_layers_per_block")
        for name in (name for name in names if hasattr(module.config, name)):
            assert _listed(getattr(found[part].config, name)) == _listed(getattr(module.config, name)), name
    if kind == "sd1":
        assert sum(parameter.numel() for parameter in found["unet"].parameters()) == 859_520_964
    if kind == "sdxl":
        assert sum(parameter.numel() for parameter in found["unet"].parameters()) == 2_567_463_684


def _listed(value: Any) -> Any:
    """A list that says the same everywhere, as the one thing that it says."""
    return value[0] if isinstance(value, list | tuple) and len(set(value)) == 1 else value


def test_the_file_is_linked_and_stays_when_the_model_is_removed(checkpoints: dict[str, Path], home: Path) -> None:
    path = checkpoints["sd1"]
    looked = library.offered(path)
    assert (looked.name, looked.size) == ("sd1", path.stat().st_size)
    assert not home.exists()
    added = library.add(path)
    assert (added.folder / folders.CHECKPOINT).samefile(path)
    assert sum(file.stat().st_size for file in added.folder.rglob("*") if not file.samefile(path)) < 3e6
    assert added.origin == str(path)
    assert library.resolve("sd1") == added
    assert [model.name for model in library.usable()] == ["builtin", "sd1"]
    with pytest.raises(UserError, match='was added already, as "sd1"'):
        library.add(path, "again")
    library.remove("sd1")
    assert list((home / "models").iterdir()) == []
    assert path.is_file()


def no_link(self: Path, target: Path) -> None:
    raise PermissionError


def test_where_no_second_name_can_be_made_it_is_a_link_and_where_none_a_copy(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copy(checkpoints["sd1"], tmp_path / "mine.safetensors"))
    monkeypatch.setattr(Path, "hardlink_to", no_link)
    by_link = library.add(path)
    assert (by_link.folder / folders.CHECKPOINT).is_symlink()
    load(by_link.folder, CPU, "fp32")
    path.rename(tmp_path / "elsewhere.safetensors")
    with pytest.raises(UserError, match=rf"{path}, which this model is read from, is gone; bring it back"):
        library.resolve("mine")
    assert [model.name for model in library.usable()] == ["builtin"]
    library.remove("mine")
    monkeypatch.setattr(Path, "symlink_to", no_link)
    copy = library.add(tmp_path / "elsewhere.safetensors").folder / folders.CHECKPOINT
    assert copy.stat().st_nlink == 1
    assert not copy.is_symlink()
    assert copy.read_bytes() == checkpoints["sd1"].read_bytes()


def test_a_checkpoint_that_changed_after_it_was_added_is_noticed(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    path = Path(shutil.copy(checkpoints["sd1"], tmp_path / "mine.safetensors"))
    library.add(path)
    with path.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write(b"\1\2\3\4")
    with pytest.raises(UserError, match="have changed"):
        library.resolve("mine")


@pytest.mark.parametrize(
    ("metadata", "beside", "mark", "expected"),
    [
        ({"modelspec.prediction_type": "v"}, "", False, "v_prediction"),
        ({"modelspec.prediction_type": "epsilon"}, 'parameterization: "v"', False, "epsilon"),
        (None, 'model:\n  params:\n    parameterization: "v"\n', False, "v_prediction"),
        (None, "model:\n  params:\n    parameterization: eps\n", False, "epsilon"),
        (None, "", True, "v_prediction"),
    ],
)
def test_what_a_checkpoint_says_of_its_prediction_is_believed(
    metadata: dict[str, str] | None, beside: str, mark: bool, expected: Prediction, tmp_path: Path
) -> None:
    weights = files.checkpoint("sd2", files.made("sd2")) | ({"v_pred": torch.zeros(0)} if mark else {})
    path = files.save(tmp_path / "two.safetensors", weights, metadata)
    if beside:
        path.with_suffix(".yaml").write_text(beside)
    folder = library.add(path).folder
    guidance = load(folder, CPU, "fp32")
    assert guidance.parts.prediction == expected
    # Those of 2.x that predict v were taught pictures of 768 pixels, the others of 512.
    assert guidance.size == (96 if expected == "v_prediction" else 64)
    assert guidance.parts.vae.config.sample_size == 8 * guidance.size


def test_a_model_of_xl_that_predicts_v_without_signal_at_the_end_says_so_in_its_file(tmp_path: Path) -> None:
    marks = {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}
    path = files.save(tmp_path / "v.safetensors", files.checkpoint("sdxl", files.made("sdxl")) | marks)
    guidance = load(library.add(path).folder, CPU, "fp32")
    assert guidance.parts.prediction == "v_prediction"
    assert guidance.abar[-1] < 1e-6


class Says:
    """Stands in for a UNet: what it predicts at the last timestep of noise and a grey picture behind it."""

    config = SimpleNamespace(in_channels=4)

    def __init__(self, prediction: Prediction) -> None:
        self.prediction = prediction

    def __call__(self, noisy: Tensor, t: int, text: Tensor) -> SimpleNamespace:
        assert (t, tuple(text.shape)) == (999, (1, 2, 16))
        error = 0.3 * torch.randn(noisy.shape, generator=torch.Generator().manual_seed(9))
        signal = 0.068  # the root of abar there
        return SimpleNamespace(sample=error + (noisy if self.prediction == "epsilon" else signal * noisy - 0.2))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_what_says_nothing_is_tried(prediction: Prediction) -> None:
    assert parameterisation.tried(Says(prediction), torch.zeros(1, 2, 16)) == prediction


def test_only_one_of_2_that_says_nothing_has_to_be_tried(
    checkpoints: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, ...]] = []

    def tried(unet: UNet2DConditionModel, text: Tensor) -> Prediction:
        asked.append(tuple(text.shape))
        return "v_prediction"

    monkeypatch.setattr(parameterisation, "tried", tried)
    for kind in KINDS:
        files.save(tmp_path / f"{kind}.safetensors", linked.load_file(checkpoints[kind]))
        library.add(tmp_path / f"{kind}.safetensors")
    assert asked == [(1, 77, 64)]


UNET = "model.diffusion_model."


@pytest.mark.parametrize(
    ("kind", "instead", "says"),
    [
        (
            "sd1",
            {f"{UNET}out.0.bias": None},
            r"no whole Stable Diffusion 1\.x model \(conv_norm_out\.bias is missing",
        ),
        ("sd2", {"cond_stage_model.model.ln_final.bias": None}, r"\(.*final_layer_norm\.bias is missing\); fetch it"),
        ("sdxl", {f"{UNET}middle_block.0.in_layers.2.weight": torch.zeros(3, 3)}, r"has the shape \(3, 3\), not"),
        ("sd1", {f"{UNET}more.weight": torch.zeros(3)}, "nothing reads"),
        ("sdxl", {"first_stage_model.post_quant_conv.weight": None}, r"\(post_quant_conv\.weight is missing\)"),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused_and_nothing_is_left(
    kind: str, instead: dict[str, Tensor | None], says: str, tmp_path: Path, home: Path
) -> None:
    weights = files.checkpoint(kind, files.made(kind)) | instead
    path = files.save(tmp_path / "odd.safetensors", {name: one for name, one in weights.items() if one is not None})
    with pytest.raises(UserError, match=says) as refused:
        library.add(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert list((home / "models").iterdir()) == []


def test_old_names_of_the_text_encoder_are_understood(checkpoints: dict[str, Path], tmp_path: Path) -> None:
    weights = linked.load_file(checkpoints["sd1"])
    renamed = {name.replace("transformer.text_model.", "transformer."): tensor for name, tensor in weights.items()}
    path = files.save(tmp_path / "old.safetensors", renamed)
    old, new = (load(library.add(each).folder, CPU, "fp32") for each in (path, checkpoints["sd1"]))
    assert torch.equal(old.encode(["a mug"]), new.encode(["a mug"]))


@pytest.fixture
def small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of their own size would take minutes on a CPU."""
    for kind in files.KINDS.values():
        monkeypatch.setitem(linked._SIZES, (kind, "epsilon"), 8)


@pytest.mark.parametrize("kind", KINDS)
def test_one_of_each_kind_takes_ten_steps_of_a_job(
    kind: str, checkpoints: dict[str, Path], small_pictures: None
) -> None:
    library.add(checkpoints[kind])
    job, _ = planned(Request("a mug", preset="draft", guidance=kind, steps=10, device="cpu"))
    guidance = load_guidance(job)
    *_, last = Shape(job, guidance, asked(job, guidance)).begin().steps
    assert (last.step, last.left_out) == (10, 0)


def test_a_whole_job_by_the_command_line(
    checkpoints: dict[str, Path], small_pictures: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = Path(shutil.copy(checkpoints["sdxl"], tmp_path / "juggernaut.safetensors"))
    assert main(["generate", "a mug", "--guidance", str(path)]) == 2
    said = f"is a checkpoint of Stable Diffusion XL; add it first: dreamtime models add {path}"
    assert said in capsys.readouterr().err
    assert main(["models", "add", str(path)]) == 0
    assert "use it with --guidance juggernaut" in capsys.readouterr().out
    arguments = ("--guidance", "juggernaut", "--preset", "draft", "--steps", "2", "--faces", "500", "--texture", "64")
    assert main(["generate", "a mug", *arguments, "--device", "cpu", "--out", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["iterations"] == 2
    assert (tmp_path / "out" / "mesh.glb").read_bytes().startswith(b"glTF")
