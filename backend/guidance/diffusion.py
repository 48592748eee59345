"""A diffusers model as guidance: pixel-space ones (no VAE) and latent ones (with a VAE).

Letters: see `interface`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from backend.guidance.combination import as_eps, classifier_free, perp_neg
from backend.guidance.folders import Prediction
from backend.guidance.interface import Conditioning
from backend.guidance.text import TextEncoder


@dataclass(frozen=True)
class Parts:
    """What a model consists of. prediction: what the UNet's output means. vae: None in pixel space.

    abar: (T,) in double precision, on the CPU. The modules stand on their device, in their precision.
    """

    unet: UNet2DConditionModel
    text: TextEncoder
    abar: Float[Tensor, " T"]
    prediction: Prediction
    vae: AutoencoderKL | None = None


class DiffusionGuidance:
    """The `Guidance` of a diffusers model.

    latent_field: the field renders the VAE's latents, as Latent-NeRF does, instead of colours. views_at_once: how
    many views the networks are shown at a time, or None for all; see `lean`.
    """

    def __init__(self, parts: Parts, latent_field: bool = False, views_at_once: int | None = None) -> None:
        if latent_field and parts.vae is None:
            raise ValueError("a pixel-space model has no latents for a field to render")
        self._parts, self._latent_field, self._views_at_once = parts, latent_field, views_at_once
        self._native = int(parts.unet.config.sample_size)
        # Asked once: diffusers looks through all modules for either of them, 2 ms each time.
        self._device, self._dtype = parts.unet.device, parts.unet.dtype
        for module in (parts.unet, parts.vae):
            if module is not None:
                module.eval().requires_grad_(False)

    def lean(self, views_at_once: int) -> "DiffusionGuidance":
        """The same guidance in less memory and more time: a few views at once, and the encoder's work done twice."""
        return DiffusionGuidance(self._parts, self._latent_field, views_at_once)

    @property
    def abar(self) -> Float[Tensor, " T"]:
        """The noise schedule, in double precision, on the CPU."""
        return self._parts.abar

    @property
    def channels(self) -> int:
        """Channels of the rendered images."""
        return int(self._parts.unet.config.in_channels) if self._latent_field else 3

    @property
    def size(self) -> int:
        """The size to render at: the UNet's own. `model_space` enlarges colours for a VAE, as the SDS papers do."""
        return self._native

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._device

    def encode(self, prompts: Sequence[str]) -> Float[Tensor, "n L D"]:
        """Embeddings of prompts; that of "" is the unconditional one."""
        return self._parts.text.encode(prompts).to(self.device)

    def model_space(self, images: Float[Tensor, "B c H W"]) -> Float[Tensor, "B C h w"]:
        """What the model diffuses: images in [-1, 1], or the mean of their latents. Differentiable."""
        vae = self._parts.vae
        if self._latent_field:
            return _resized(images, self._native)
        if vae is None:
            return _resized(images, self._native) * 2 - 1
        if self._views_at_once is None:
            return self._latents(vae, images)
        # What the encoder keeps for its gradient is most of a step's memory: it is made anew for a few views at a time.
        parts = images.split(self._views_at_once)
        return torch.cat([checkpoint(self._latents, vae, part, use_reentrant=False) for part in parts])

    def _latents(self, vae: AutoencoderKL, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        pixels = _resized(images, self._native * _pixels_per_latent(vae)) * 2 - 1
        return vae.encode(pixels.to(vae.dtype)).latent_dist.mode().float() * vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, images: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        """Display colours in [0, 1] of what the model diffuses: for previews, and to fit a latent field's colours."""
        vae = self._parts.vae
        if vae is not None:
            images = vae.decode((images / vae.config.scaling_factor).to(vae.dtype)).sample.float()
        return ((images + 1) / 2).clamp(0, 1)

    @torch.no_grad()
    def eps(
        self, noisy: Float[Tensor, "B C h w"], t: int, conditioning: Conditioning, cfg: float
    ) -> Float[Tensor, "B C h w"]:
        """eps_cfg, or Perp-Neg's, at timestep t in single precision; all prompts in one call of the UNet.

        All views, too, unless there is to be little memory; see `lean`.
        """
        if self._views_at_once is None:
            return self._eps(noisy, t, conditioning, cfg)
        parts = zip(noisy.split(self._views_at_once), conditioning.split(self._views_at_once), strict=True)
        return torch.cat([self._eps(part, t, asked, cfg) for part, asked in parts])

    def _eps(self, noisy: Tensor, t: int, conditioning: Conditioning, cfg: float) -> Tensor:
        if conditioning.against is not None and conditioning.against_weights is not None:
            text = [conditioning.negative, conditioning.positive, *conditioning.against.unbind(1)]
            unconditional, conditional, *against = self._predict(noisy, t, text)
            output = perp_neg(unconditional, conditional, torch.stack(against, 1), conditioning.against_weights, cfg)
        elif cfg == 1:
            (output,) = self._predict(noisy, t, [conditioning.positive])
        else:
            unconditional, conditional = self._predict(noisy, t, [conditioning.negative, conditioning.positive])
            output = classifier_free(unconditional, conditional, cfg)
        return as_eps(output, noisy, float(self.abar[t]), self._parts.prediction)

    def _predict(self, noisy: Tensor, t: int, text: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The UNet's output for each of the texts, in single precision."""
        unet = self._parts.unet
        batch = noisy.to(self._dtype).repeat(len(text), 1, 1, 1)
        if self._device.type == "cuda":
            batch = batch.contiguous(memory_format=torch.channels_last)
        output = unet(batch, t, torch.cat(list(text)).to(self._dtype)).sample
        # DeepFloyd IF predicts a variance too, in further channels.
        return output[:, : noisy.shape[1]].float().chunk(len(text))


def _pixels_per_latent(vae: AutoencoderKL) -> int:
    return int(2 ** (len(vae.config.block_out_channels) - 1))


def _resized(images: Tensor, size: int) -> Tensor:
    if images.shape[-2:] == (size, size):
        return images
    return torch.nn.functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
