"""How fast this machine is: a step and its parts, the mesh stage, and a whole object.

Ratios come from one run, with the two sides taking turns, so that another program's load falls on both.
"""

import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from string import ascii_lowercase

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from backend import program
from backend.engine.optimise import optimise
from backend.engine.rendering import Rendering
from backend.engine.schedules import stable_diffusion_abar
from backend.engine.shading import over
from backend.evaluation.measures import BACKGROUND
from backend.guidance import library
from backend.guidance.diffusion import DiffusionGuidance, Parts
from backend.guidance.precision import best_precision, dtype_of
from backend.guidance.predictions import Predictions
from backend.guidance.text import TextEncoder
from backend.guidance.views import Views
from backend.machine import peak_memory
from backend.mesh.asset import MeshSettings
from backend.pipeline.asking import asked
from backend.pipeline.generate import generate
from backend.pipeline.job import Job, planned
from backend.pipeline.meshing import Meshing
from backend.pipeline.presets import preset
from backend.pipeline.request import Request
from backend.pipeline.results import MESH
from backend.pipeline.shape import Shape, as_new
from backend.pipeline.tuning import tuned
from backend.prior import judge
from backend.prior.judge import judging_views, ranks, right_answers

PROMPT = "a red mug"
_LOOK_EVERY = 10
Row = tuple[str, str]


def step_rows(job: Job, guidance: DiffusionGuidance, steps: int = 40) -> list[Row]:
    """A whole step against the bare guidance call that it contains, taking turns."""
    heard = _Heard(guidance)
    settings = replace(job.optimisation, steps=steps)
    field = as_new(job.field, guidance.channels, job.seed, guidance.device)
    run = optimise(field, heard, asked(job, guidance), settings, job.seed)
    whole, bare = [], []
    for index in range(steps):
        seconds = _timed(lambda: next(run, None), guidance.device)
        call = _timed(heard.again, guidance.device)
        if index >= 5:  # the first calls choose kernels and fill caches
            whole.append(seconds)
            bare.append(call)
    ratio = statistics.median(whole) / statistics.median(bare)
    return [
        ("bare guidance call", f"{1e3 * statistics.median(bare):.1f} ms"),
        ("whole step", f"{1e3 * statistics.median(whole):.1f} ms, {1 / statistics.median(whole):.1f} it/s"),
        ("step / guidance call", f"{ratio:.2f}x"),
    ]


class _Heard:
    """Guidance that remembers what the last step asked of it, to be asked the same again."""

    def __init__(self, guidance: DiffusionGuidance) -> None:
        self._guidance = guidance
        self.abar, self.device, self.channels = guidance.abar, guidance.device, guidance.channels
        self.size, self.schedule_size = guidance.size, guidance.schedule_size
        self.encode, self.plain = guidance.encode, guidance.plain

    def model_space(self, images: torch.Tensor) -> torch.Tensor:
        self._images = images.detach()
        self._asked: list[tuple[torch.Tensor, int, Sequence[torch.Tensor], Views]] = []
        return self._guidance.model_space(images)

    def predict(self, noisy: torch.Tensor, t: int, conditionings: Sequence[torch.Tensor], views: Views) -> Predictions:
        self._asked.append((noisy, t, conditionings, views))
        return self._guidance.predict(noisy, t, conditionings, views)

    def again(self) -> None:
        """What no implementation can do without: into the model's space, the predictions, and the way back."""
        images = self._images.clone().requires_grad_()
        clean = self._guidance.model_space(images)
        *_, said = [self._guidance.predict(*asked) for asked in self._asked]
        torch.autograd.grad((clean * said.outputs[0]).sum(), images)


def _timed(work: Callable[[], object], device: torch.device) -> float:
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def object_rows(name: str, device: str) -> list[Row]:
    """One object by the preset `name` in this process, stage by stage."""
    job, _ = planned(Request(PROMPT, preset=name, device=device))
    with tempfile.TemporaryDirectory() as out:
        report = generate(job, Path(out), resume=False)
    parts = ", ".join(f"{part} {seconds:.1f}" for part, seconds in report.seconds.items())
    total = sum(report.seconds.values())
    return [(f"{name}: {job.optimisation.steps} steps, warm", f"{total:.1f} s with all pictures ({parts})")]


def cold_rows(name: str, device: str) -> list[Row]:
    """Seconds from starting the command to a whole mesh.glb."""
    with tempfile.TemporaryDirectory() as out:
        options = ["--preset", name, "--device", device, "--out", out]
        begun = time.perf_counter()
        command = [*program.command("backend"), "generate", PROMPT, *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603  # our own
        while not (Path(out) / MESH).exists() and process.poll() is None:
            time.sleep(0.02)
        seconds = time.perf_counter() - begun
        failed = process.wait() != 0
    return [(f"{name}: from cold command to mesh.glb", "failed" if failed else f"{seconds:.1f} s")]


def mesh_rows() -> list[Row]:
    """The mesh stage at full size on an optimised field, for two budgets of faces."""
    rows = []
    job, _ = planned(Request(PROMPT, preset="draft"))
    for faces in (20_000, 50_000):
        large = replace(job, mesh=MeshSettings(resolution=256, faces=faces, texture=1024))
        with tempfile.TemporaryDirectory() as out:
            report = generate(large, Path(out), resume=False)
        parts = {name: report.seconds[name] for name in Meshing.parts}
        detail = ", ".join(f"{name} {seconds:.1f}" for name, seconds in parts.items())
        rows.append((f"mesh stage, 256^3, {faces:,} faces, 1024^2", f"{sum(parts.values()):.1f} s ({detail} s)"))
    return rows


def recognition_row(job: Job, guidance: DiffusionGuidance) -> Row:
    """Seconds of optimisation until the judge names the object from eight views of the field."""
    net = judge.load(library.builtin().folder)
    right = right_answers(net.lexicon)[[net.lexicon.numbers[net.lexicon.knows(job.prompt).name]]]
    steps = Shape(job, guidance, asked(job, guidance)).begin().steps
    spent, begun = 0.0, time.perf_counter()
    for progress in steps:
        spent += time.perf_counter() - begun
        if progress.step % _LOOK_EVERY == 0:
            seen = net(_pictures(progress.render(judging_views(), judge.SIZE))).together()
            if ranks(seen.nouns, right).item() == 0:
                return (f"{job.prompt}: judged right", f"after {progress.step} steps, {spent:.1f} s")
        begun = time.perf_counter()
    return (f"{job.prompt}: judged right", f"not within {job.optimisation.steps} steps")


def _pictures(rendering: Rendering) -> torch.Tensor:
    background = torch.full((len(rendering.opacity), 3), BACKGROUND)
    return over(rendering.colour.cpu(), rendering.opacity.cpu(), background)


def memory_row() -> Row:
    """The most memory that this process has had so far."""
    return ("peak memory", f"{peak_memory() / 2**30:.2f} GiB")


def stable_diffusion_sized(device: torch.device, dtype: torch.dtype, latent_field: bool) -> DiffusionGuidance:
    """Guidance of Stable Diffusion 1.5's architecture with random weights: its speed is that of the real one."""
    unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768)
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        sample_size=512,
        scaling_factor=0.18215,
    )
    # The text model runs once per prompt and has no part in the speed of a step: a few letters will do.
    words = ["<|startoftext|>", "<|endoftext|>", *(f"{letter}</w>" for letter in ascii_lowercase)]
    tokenizer = CLIPTokenizer({word: index for index, word in enumerate(words)}, [], model_max_length=77)
    text = CLIPTextModel(CLIPTextConfig(vocab_size=len(words), hidden_size=768, num_hidden_layers=1))
    placed = [module.to(device, dtype, memory_format=torch.channels_last) for module in (unet, vae)]
    encoder = TextEncoder(tokenizer, text.to(device))
    return DiffusionGuidance(Parts(placed[0], encoder, stable_diffusion_abar(), "epsilon", placed[1]), latent_field)


def stable_diffusion_rows() -> list[Row]:
    """A step under guidance of Stable Diffusion 1.5's size, where there is a GPU."""
    names = ("SD-1.5-sized, renders encoded", "SD-1.5-sized, latent field")
    if not torch.cuda.is_available():
        return [(name, "not measured: no CUDA device") for name in names]
    device = torch.device("cuda")
    job, _ = planned(Request(PROMPT, device="cuda"))
    large = preset("standard", small=False, device="cuda")
    tuning = tuned(large, small=False)
    job = replace(
        job,
        field=large.field,
        optimisation=tuning.optimisation,
        view_mode=tuning.view_mode,
        perp_neg=tuning.perp_neg,
        above=tuning.above,
    )
    rows = []
    for name, latent_field in zip(names, (False, True), strict=True):
        guidance = stable_diffusion_sized(device, dtype_of(best_precision(device)), latent_field)
        torch.cuda.reset_peak_memory_stats()
        measured = step_rows(job, guidance)
        memory = f"{torch.cuda.max_memory_allocated() / 2**30:.1f} GiB"
        rows.append((name, ", ".join([*(f"{what} {value}" for what, value in measured), memory])))
    return rows
