"""Real folders, as diffusers writes them."""

import gc
import json
import logging
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from backend.engine.cameras import ring
from backend.errors import UserError
from backend.guidance.loading import load, noise_schedule
from backend.guidance.views import Views, shown
from backend.prior import model

CPU = torch.device("cpu")
VIEW = Views.unlit(ring(1, 20))


@pytest.fixture
def folder(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the Stable Diffusion 1.x folder that a test may spoil."""
    return Path(shutil.copytree(folders["sd1"], tmp_path / "sd1"))


def change(path: Path, **settings: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


def test_the_built_in_model_loads_like_any_other() -> None:
    guidance = load(model.BUILTIN, CPU, "fp32")
    assert (guidance.channels, guidance.size, guidance.device) == (3, 64, CPU)
    prior, t = model.load(model.BUILTIN), 300
    noisy = torch.ones(1, 12, 32, 32)
    text = guidance.encode(["a red mug"])
    torch.testing.assert_close(text, prior.encode(["a red mug"]))
    with torch.no_grad():
        seen = shown(noisy, VIEW.features, prior.unet.config.in_channels)
        v = prior.unet(seen, t, text, class_labels=VIEW.features).sample
    abar = float(prior.scheduler.alphas_cumprod[t])
    expected = abar**0.5 * v + (1 - abar) ** 0.5 * noisy
    said = guidance.predict(noisy, t, [text], VIEW)
    torch.testing.assert_close(said.eps(said.outputs[0]), expected, atol=1e-5, rtol=0)


def test_loading_says_nothing(
    folder: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.WARNING):
        load(folder, CPU, "fp32")
        load(model.BUILTIN, CPU, "bf16")
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_stored_in_half_precision_only_are_found(
    precision: Any, pipelines: dict[str, StableDiffusionPipeline], tmp_path: Path
) -> None:
    pipelines["sd1"].save_pretrained(tmp_path / "half", variant="fp16")
    shutil.copytree(tmp_path / "half" / "scheduler", tmp_path / "half" / "unrelated")
    guidance = load(tmp_path / "half", CPU, precision)
    text = guidance.encode(["a mug"])
    noisy = torch.ones(1, 4, 8, 8)
    with torch.no_grad():
        reference = pipelines["sd1"].unet(noisy, 10, text).sample
    (found,) = guidance.predict(noisy, 10, [text], VIEW).outputs
    torch.testing.assert_close(found, reference, atol=1e-5 if precision == "fp32" else 0.05, rtol=0)


def bf16_only(pipeline: Any, folder: Path) -> None:
    pipeline.save_pretrained(folder, variant="bf16")


def shards(pipeline: Any, folder: Path) -> None:
    pipeline.save_pretrained(folder, max_shard_size="200KB")


def shards_of_a_variant(pipeline: Any, folder: Path) -> None:
    pipeline.save_pretrained(folder, max_shard_size="200KB", variant="fp16")


def shards_of_a_variant_as_named_before(pipeline: Any, folder: Path) -> None:
    shards_of_a_variant(pipeline, folder)
    for path in (folder / "unet").glob("*.fp16-*"):
        path.rename(path.with_name(path.name.replace(".fp16-", "-").replace(".safetensors", ".fp16.safetensors")))
    (index,) = (folder / "unet").glob("*.index.fp16.json")
    content = index.read_text().replace(".fp16-", "-").replace('.safetensors"', '.fp16.safetensors"')
    index.write_text(content)


def half_beside_unsmoothed(pipeline: Any, folder: Path) -> None:
    pipeline.save_pretrained(folder, variant="fp16")
    (weights,) = (folder / "unet").glob("*.safetensors")
    save_file({"other": torch.zeros(1)}, weights.with_name("diffusion_pytorch_model.non_ema.safetensors"))


def unsmoothed_only(pipeline: Any, folder: Path) -> None:
    pipeline.save_pretrained(folder)
    (weights,) = (folder / "unet").glob("*.safetensors")
    weights.rename(weights.with_name("diffusion_pytorch_model.non_ema.safetensors"))


def each_part_otherwise(pipeline: Any, folder: Path) -> None:
    pipeline.save_pretrained(folder, variant="bf16")
    for part in ("unet", "vae"):
        shutil.rmtree(folder / part)
    pipeline.unet.save_pretrained(folder / "unet", max_shard_size="200KB")
    pipeline.vae.save_pretrained(folder / "vae", variant="fp16")


def pickles_beside(pipeline: Any, folder: Path) -> None:
    pipeline.save_pretrained(folder)
    for name in ("unet/diffusion_pytorch_model.bin", "text_encoder/pytorch_model.bin", "whole.ckpt"):
        (folder / name).write_bytes(b"no pickle")


@pytest.mark.parametrize(
    "written",
    [
        bf16_only,
        shards,
        shards_of_a_variant,
        shards_of_a_variant_as_named_before,
        half_beside_unsmoothed,
        unsmoothed_only,
        each_part_otherwise,
        pickles_beside,
    ],
)
def test_whatever_weights_are_accepted_load(
    written: Callable[[Any, Path], None], pipelines: dict[str, StableDiffusionPipeline], tmp_path: Path
) -> None:
    written(pipelines["sd1"], tmp_path / "model")
    guidance = load(tmp_path / "model", CPU, "fp32")
    text = guidance.encode(["a mug"])
    noisy = torch.ones(1, 4, 8, 8)
    with torch.no_grad():
        reference = pipelines["sd1"].unet(noisy, 10, text).sample
    (found,) = guidance.predict(noisy, 10, [text], VIEW).outputs
    torch.testing.assert_close(found, reference, atol=1e-5, rtol=0)


def test_the_noise_schedule_does_not_depend_on_the_sampler_that_the_folder_names(folder: Path) -> None:
    abar, prediction = noise_schedule(folder)
    change(folder / "scheduler" / "scheduler_config.json", _class_name="PNDMScheduler", skip_prk_steps=True)
    again, _ = noise_schedule(folder)
    assert torch.equal(abar, again)
    assert prediction == "epsilon"
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    torch.testing.assert_close(abar, torch.cumprod(1 - betas, 0), atol=1e-6, rtol=1e-5)


def test_damaged_weights_are_one_line(folder: Path) -> None:
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"cannot load the model") as caught:
        load(folder, CPU, "fp32")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("installed", "lacking"),
    [
        ([], "sentencepiece protobuf"),
        (["sentencepiece"], "protobuf"),
        (["google"], "sentencepiece protobuf"),
    ],
)
def test_a_tokenizer_that_needs_other_packages_says_which(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: list[str], lacking: str
) -> None:
    folder = shutil.copytree(folders["if"], tmp_path / "if")
    (folder / "tokenizer" / "tokenizer.json").rename(folder / "tokenizer" / "spiece.model")

    def found(name: str) -> object:
        if name == "google.protobuf" and "google" not in installed:
            raise ModuleNotFoundError  # as find_spec does where the parent is not there
        return name if name in installed else None

    monkeypatch.setattr("backend.guidance.folders.find_spec", found)
    with pytest.raises(UserError, match=f"pip install {lacking}$"):
        load(folder, CPU, "fp32")


def test_the_text_encoder_stays_off_the_gpu_and_only_t5_in_half_precision(folders: dict[str, Path]) -> None:
    for kind, precision, dtype in (
        ("sd1", "bf16", torch.float32),
        ("if", "bf16", torch.bfloat16),
        ("if", "fp32", torch.float32),
    ):
        text = load(folders[kind], torch.device("meta"), precision)._parts.text._model
        assert text is not None
        assert (text.device, text.dtype) == (CPU, dtype)


@pytest.mark.parametrize(("upcast", "dtype"), [(True, torch.float32), (False, torch.float16), (None, torch.float32)])
def test_the_vae_of_xl_overflows_in_fp16_unless_it_says_otherwise(
    upcast: bool | None, dtype: torch.dtype, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(folders["sdxl"], tmp_path / "xl")
    path = folder / "vae" / "config.json"
    config = {name: value for name, value in json.loads(path.read_text()).items() if name != "force_upcast"}
    path.write_text(json.dumps(config if upcast is None else config | {"force_upcast": upcast}))
    parts = load(folder, torch.device("meta"), "fp16").parts  # which has no bf16 of its own
    assert (parts.unet.dtype, parts.vae.dtype) == (torch.float16, dtype)
    assert load(folders["sd1"], torch.device("meta"), "fp16").parts.vae.dtype == torch.float16


def test_without_its_text_encoder_guidance_encodes_no_more_and_predicts_as_before(folders: dict[str, Path]) -> None:
    guidance, noisy = load(folders["sd1"], CPU, "fp32"), torch.ones(1, 4, 8, 8)
    text = guidance.encode(["a mug"])
    before = guidance.predict(noisy, 10, [text], VIEW).outputs
    model = weakref.ref(guidance._parts.text._model)
    guidance.drop_text_encoder()
    gc.collect()
    assert model() is None
    assert torch.equal(guidance.predict(noisy, 10, [text], VIEW).outputs, before)
    with pytest.raises(RuntimeError, match="the text encoder was dropped"):
        guidance.encode(["a mug"])


def test_what_the_machine_or_the_model_cannot_do_is_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="fp16 needs a GPU"):
        load(folders["sd1"], CPU, "fp16")
    with pytest.raises(UserError, match="pixel-space"):
        load(folders["prior"], CPU, "fp32", latent_field=True)


def test_both_text_encoders_of_xl_are_dropped(folders: dict[str, Path]) -> None:
    guidance = load(folders["sdxl"], CPU, "fp32")
    text = guidance.parts.text
    models = [weakref.ref(model) for model in (text._model, text._second)]
    guidance.drop_text_encoder()
    gc.collect()
    assert [model() for model in models] == [None, None]
    with pytest.raises(RuntimeError, match="the text encoder was dropped"):
        guidance.encode(["a mug"])


@pytest.mark.parametrize("part", ["unet", "text_encoder", "vae"])
def test_weights_that_are_not_whole_are_refused(folder: Path, part: str) -> None:
    (path,) = (folder / part).glob("*.safetensors")
    tensors = load_file(path)
    name = sorted(tensors)[0]
    save_file({key: tensor for key, tensor in tensors.items() if key != name}, path, metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"not whole.*fetch its files again"):
        load(folder, CPU, "fp32")


@pytest.mark.parametrize("part", ["unet", "text_encoder", "vae"])
def test_a_truncated_file_is_refused(folder: Path, part: str) -> None:
    (path,) = (folder / part).glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"cannot load the model.*fetch its files again"):
        load(folder, CPU, "fp32")
