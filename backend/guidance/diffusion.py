"""A diffusers model as guidance: pixel-space ones (no VAE), whole or folded, and latent ones (with a VAE).

A folded one diffuses 32 x 32 x 12 where pictures have 64 x 64 x 3 (pixel unshuffle): nothing is lost, and noise is the
same in both. Letters: see `interface`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from backend.engine.schedules import REFERENCE_SIZE
from backend.guidance import folders
from backend.guidance.folders import Prediction
from backend.guidance.memory import NETWORK_BYTES, encoder_bytes
from backend.guidance.predictions import Predictions
from backend.guidance.rigs import RigAttention
from backend.guidance.text import TextEncoder, parted
from backend.guidance.views import Views, shown

_PLAIN_LATENTS = 8
"""Latents per side of a plain picture, whose mean is taken: enough that its edges count little."""


@dataclass(frozen=True)
class Parts:
    """What a model consists of. prediction: what the UNet's output means. vae: None in pixel space.

    rigs: the UNet's own, by which views see each other, or None for a model that is not told of views. abar: (T,) in
    double precision, on the CPU. The modules stand on their device, in their precision; `text` may stand elsewhere.
    """

    unet: UNet2DConditionModel
    text: TextEncoder
    abar: Float[Tensor, " T"]
    prediction: Prediction
    vae: AutoencoderKL | None = None
    rigs: RigAttention | None = None


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
        self._fold = folders.fold(parts.unet.config.in_channels) if parts.vae is None else 1
        # Asked once: diffusers looks through all modules for either of them, 2 ms each time.
        self._device, self._dtype = parts.unet.device, parts.unet.dtype
        side = self._native * _pixels_per_latent(parts.vae) if parts.vae else self._native
        # Height and width before it was cropped, the corner that is left, height and width.
        self._whole = torch.tensor([side, side, 0, 0, side, side], device=self._device, dtype=self._dtype)
        for module in (parts.unet, parts.vae):
            if module is not None:
                module.eval().requires_grad_(False)

    def lean(self, views_at_once: int) -> "DiffusionGuidance":
        """The same guidance in less memory, a few views at once.

        Of more images the encoder's work is done twice; of one at once, that of each of its blocks, too. Views that see
        each other stay together; the model is asked for fewer conditionings at once instead.
        """
        return DiffusionGuidance(self._parts, self._latent_field, views_at_once)

    @property
    def parts(self) -> Parts:
        """What the model consists of."""
        return self._parts

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
        """The size to render at: the UNet's, unfolded. `model_space` enlarges colours for a VAE, as SDS papers do.

        A multi-view model's latents are half as large as others', so it gets two pixels for each, as MVDream does.
        """
        both = self._parts.vae is not None and self._parts.rigs is not None and not self._latent_field
        return self._native * self._fold * (2 if both else 1)

    @property
    def schedule_size(self) -> int:
        """The size that timesteps are translated by. Latents of all sizes were taught with one noise schedule."""
        return self.size if self._parts.vae is None else REFERENCE_SIZE

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self._device

    def view_bytes(self, conditionings: int) -> tuple[float, float]:
        """About what encoding a view keeps for its gradient, and what predictions for it take meanwhile."""
        unet, vae = self._parts.unet, self._parts.vae
        network = NETWORK_BYTES * self._native**2 * unet.config.block_out_channels[0] * self._dtype.itemsize
        if vae is None or self._latent_field:
            return 0.0, conditionings * network
        latents = self._native**2
        pixels = latents * _pixels_per_latent(vae) ** 2
        encoder = encoder_bytes(pixels, latents, vae.config.block_out_channels[0], vae.dtype.itemsize)
        return encoder, conditionings * network

    def encode(self, prompts: Sequence[str], endings: Sequence[str] | None = None) -> Float[Tensor, "n L D"]:
        """Embeddings of prompts; that of "" is the unconditional one. endings: see `TextEncoder.encode`."""
        return self._parts.text.encode(prompts, endings).to(self.device)

    def drop_text_encoder(self) -> None:
        """Free the memory of what is needed for `encode` alone, which cannot be called afterwards."""
        self._parts.text.drop()

    @torch.no_grad()
    def plain(self, colours: Float[Tensor, "B 3"]) -> Float[Tensor, "B c"]:
        """What a picture of one display colour is in the channels that are rendered: the colour, or its latent."""
        vae = self._parts.vae
        if vae is None or not self._latent_field:
            return colours
        pixels = _PLAIN_LATENTS * _pixels_per_latent(vae)
        return self._encoded(vae, colours[:, :, None, None].expand(-1, -1, pixels, pixels)).mean((2, 3))

    def model_space(self, images: Float[Tensor, "B c H W"]) -> Float[Tensor, "B C h w"]:
        """What the model diffuses: images in [-1, 1], or the mean of their latents. Differentiable."""
        vae = self._parts.vae
        if self._latent_field:
            return _resized(images, self._native)
        if vae is None:
            return torch.nn.functional.pixel_unshuffle(_resized(images, self.size) * 2 - 1, self._fold)
        if self._views_at_once is None or len(images) <= self._views_at_once:
            return self._latents(vae, images)
        # What the encoder keeps for its gradient is most of a step's memory: it is made anew for a few views at a time.
        parts = images.split(self._views_at_once)
        return torch.cat([checkpoint(self._latents, vae, part, use_reentrant=False) for part in parts])

    def _latents(self, vae: AutoencoderKL, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        if self._views_at_once == 1:
            vae.enable_gradient_checkpointing()
        else:  # the VAE is shared with guidance that is not lean
            vae.disable_gradient_checkpointing()
        return self._encoded(vae, _resized(images, self._native * _pixels_per_latent(vae)))

    def _encoded(self, vae: AutoencoderKL, images: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        pixels = (images * 2 - 1).to(vae.dtype)
        return vae.encode(pixels).latent_dist.mode().float() * vae.config.scaling_factor

    @torch.no_grad()
    def decode(self, images: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        """Display colours in [0, 1] of what the model diffuses: for previews, and to fit a latent field's colours."""
        vae = self._parts.vae
        if vae is None:
            images = torch.nn.functional.pixel_shuffle(images, self._fold)
        else:
            images = vae.decode((images / vae.config.scaling_factor).to(vae.dtype)).sample.float()
        return ((images + 1) / 2).clamp(0, 1)

    @torch.no_grad()
    def predict(
        self, noisy: Float[Tensor, "B C h w"], t: int, conditionings: Sequence[Float[Tensor, "B L D"]], views: Views
    ) -> Predictions:
        """What the model says at timestep t: all views and conditionings in one call of the UNet.

        Unless there is to be little memory; see `lean`.
        """
        timesteps = torch.full((len(noisy),), t, device=self._device)
        outputs = torch.cat([some for _, some in self.outputs(noisy, timesteps, conditionings, views)], dim=1)
        return Predictions(outputs, noisy.detach(), float(self.abar[t]), self._parts.prediction)

    def outputs(
        self,
        noisy: Float[Tensor, "B C h w"],
        t: Int[Tensor, " B"],
        conditionings: Sequence[Float[Tensor, "B L D"]],
        views: Views,
    ) -> Iterator[tuple[slice, Float[Tensor, "K b C h w"]]]:
        """What the UNet puts out for as many views as it is shown at a time, and which those are.

        Differentiable by the parameters that want a gradient; a frozen model has none.
        """
        unet, joint = self._parts.unet, 1
        if self._parts.rigs is not None:
            joint = self._parts.rigs.views = views.joint
        numbers = unet.config.projection_class_embeddings_input_dim
        told = None if unet.class_embedding is None else views.told(numbers).to(self._device, self._dtype)
        at_once, texts = self._at_once(len(noisy), len(conditionings), joint)
        for first in range(0, len(noisy), at_once):
            part = slice(first, first + at_once)
            text = [conditioning[part] for conditioning in conditionings]
            some = (text[start : start + texts] for start in range(0, len(text), texts))
            labels = None if told is None else told[part]
            yield part, torch.cat([self._outputs(noisy[part], t[part], asked, labels) for asked in some])

    def _at_once(self, views: int, texts: int, joint: int) -> tuple[int, int]:
        """How many views, and how many conditionings of them, the UNet is shown in one call."""
        if self._views_at_once is None:
            return views, texts
        whole_rigs = -(-self._views_at_once // joint) * joint
        return whole_rigs, max(1, self._views_at_once * texts // whole_rigs)

    def _outputs(
        self, noisy: Tensor, t: Tensor, text: Sequence[Tensor], told: Tensor | None
    ) -> Float[Tensor, "K B C h w"]:
        """The UNet's output for each of the texts, in single precision."""
        unet, count = self._parts.unet, len(text)
        labels = None if told is None else told.repeat(count, 1)
        batch = shown(noisy.to(self._dtype).repeat(count, 1, 1, 1), labels, unet.config.in_channels)
        if self._device.type == "cuda":
            batch = batch.contiguous(memory_format=torch.channels_last)
        words, besides = torch.cat(list(text)).to(self._dtype), None
        if unet.config.addition_embed_type == "text_time":
            words, besides = self._parted(words)
        output = unet(batch, t.repeat(count), words, class_labels=labels, added_cond_kwargs=besides).sample
        # DeepFloyd IF predicts a variance too, in further channels.
        return output[:, : noisy.shape[1]].float().unflatten(0, (count, len(noisy)))

    def _parted(self, packed: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What XL is told: the words, and besides, their summary and that pictures are whole and of its native size."""
        told = self._parts.unet.config
        width = told.projection_class_embeddings_input_dim - len(self._whole) * told.addition_time_embed_dim
        words, summary = parted(packed, width)
        return words, {"text_embeds": summary, "time_ids": self._whole.expand(len(packed), -1)}


def _pixels_per_latent(vae: AutoencoderKL) -> int:
    return int(2 ** (len(vae.config.block_out_channels) - 1))


def _resized(images: Tensor, size: int) -> Tensor:
    if images.shape[-2:] == (size, size):
        return images
    return torch.nn.functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
