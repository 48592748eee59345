"""The mesh that is painted: where rays meet it, what colours it has, and its texture when it is done.

Letters: R rays, F triangles, T texels per side, n places.
"""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from backend.engine.painting import Places, Sight
from backend.mesh.asset import Asset
from backend.mesh.raycast import Hits, RayCaster, sampled
from backend.mesh.texels import Texels, nearest_used, rasterised

_AT_ONCE = 1 << 18  # texels that are painted together


class MeshCanvas:
    """An `engine.painting.Canvas`: `asset`, inside the unit sphere. free: the triangles that may be painted."""

    def __init__(self, asset: Asset, free: Bool[np.ndarray, " F"], device: torch.device) -> None:
        self._asset, self._free, self._device = asset, free, device
        self._caster = RayCaster(asset.mesh)
        self._corners = torch.from_numpy(asset.mesh.vertices[asset.mesh.triangles])
        self._uvs, self._normals = torch.from_numpy(asset.uvs), torch.from_numpy(asset.normals)
        self._texture = torch.tensor(asset.texture).permute(2, 0, 1).float() / 255

    def sight(self, origins: Float[Tensor, "R 3"], directions: Float[Tensor, "R 3"]) -> Sight:
        """The first place that each ray meets. Traced on the CPU, wherever the rays are."""
        hits = self._caster.first_hits(origins.cpu().contiguous(), directions.cpu().contiguous())
        return Sight(hits.ray.to(self._device), hits.distance.to(self._device), self._places(hits))

    def painted(self, colours: Callable[[Places], Tensor], size: int) -> UInt8[np.ndarray, "T T 3"]:
        """The texture with what `colours` says of the places that its texels show, size x size texels.

        Where not all triangles are free, the texture keeps its size, and its texels theirs that show others.
        """
        if self._free.all():
            texels = rasterised(self._asset.uvs, size)
            return texels.painted(self._looked_up(texels, colours), size)
        size = len(self._asset.texture)
        # Of triangles on one texel the last one has it: those that keep their colours.
        order = np.argsort(~self._free, kind="stable")
        texels = rasterised(self._asset.uvs[order], size)
        texels = Texels(texels.row, texels.column, order[texels.triangle], texels.weights)
        texture = texels.painted(self._looked_up(texels, colours), size)
        kept = nearest_used(texels.row, texels.column, ~self._free[texels.triangle], size)
        return np.where(kept[..., None], self._asset.texture, texture)

    def samples(self, size: int) -> Places:
        """Places all over the surface: those of the texels of a size x size texture."""
        return self._places(rasterised(self._asset.uvs, size).hits)

    def _looked_up(self, texels: Texels, colours: Callable[[Places], Tensor]) -> Float[Tensor, "n 3"]:
        hits = texels.hits
        with torch.no_grad():
            found = [colours(self._places(hits.part(some))).cpu() for some in hits.ray.split(_AT_ONCE)]
        return torch.cat(found).clamp(0, 1)

    def _places(self, hits: Hits) -> Places:
        return Places(
            points=hits.interpolated(self._corners).to(self._device),
            normals=torch.nn.functional.normalize(hits.interpolated(self._normals), dim=-1).to(self._device),
            before=sampled(self._texture, hits.interpolated(self._uvs)).to(self._device),
            free=torch.from_numpy(self._free)[hits.triangle].to(self._device),
        )
