"""Views that see each other: self-attention over all views of a rig at once.

MVDream (arXiv 2308.16512, section 3.1) turns a model's self-attention over the positions of one picture into one over
the positions of all views of an object. The weights stay as they are.

Letters: B pictures, V views of a rig, L positions, C channels.
"""

from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor


class RigAttention(AttnProcessor2_0):  # type: ignore[misc]  # diffusers is untyped
    """Attends over `views` consecutive pictures of a batch together; over each by itself where `views` is 1."""

    def __init__(self) -> None:
        super().__init__()
        self.views = 1

    def __call__(self, attn: Attention, hidden_states: Tensor, *args: Tensor | None, **kwargs: Tensor | None) -> Tensor:
        count, positions, _ = hidden_states.shape
        together = hidden_states.reshape(count // self.views, self.views * positions, -1)
        return super().__call__(attn, together, *args, **kwargs).reshape(count, positions, -1)


def join_views(unet: UNet2DConditionModel) -> RigAttention:
    """Let all self-attention of `unet` see whole rigs. How many views a rig has is set on what is returned."""
    joint = RigAttention()
    unet.set_attn_processor({name: joint if ".attn1." in name else AttnProcessor2_0() for name in unet.attn_processors})
    return joint
