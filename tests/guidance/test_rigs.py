import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0

from backend.guidance.rigs import RigAttention, join_views


def attention() -> Attention:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Attention(query_dim=8, heads=2, dim_head=4)


def attended(views: int, states: torch.Tensor) -> torch.Tensor:
    module, joint = attention(), RigAttention()
    joint.views = views
    module.set_processor(joint)
    with torch.no_grad():
        return module(states)


@pytest.fixture
def states(generator: torch.Generator) -> torch.Tensor:
    """Two rigs of four pictures with five positions."""
    return torch.randn(8, 5, 8, generator=generator)


def test_over_one_view_it_is_plain_attention(states: torch.Tensor) -> None:
    plain = attention()
    plain.set_processor(AttnProcessor2_0())
    with torch.no_grad():
        torch.testing.assert_close(attended(1, states), plain(states))


def test_over_a_rig_it_is_plain_attention_over_all_positions_of_the_rig(states: torch.Tensor) -> None:
    plain = attention()
    plain.set_processor(AttnProcessor2_0())
    with torch.no_grad():
        expected = plain(states.reshape(2, 20, 8)).reshape(8, 5, 8)
    torch.testing.assert_close(attended(4, states), expected)


def test_a_view_is_seen_by_its_own_rig_alone(states: torch.Tensor) -> None:
    before = attended(4, states)
    changed = states.clone()
    changed[1] += 1
    difference = (attended(4, changed) - before).abs().amax((1, 2))
    assert difference[:4].min() > 1e-3
    assert difference[4:].max() == 0
    apart = (attended(1, changed) - attended(1, states)).abs().amax((1, 2))
    assert apart[[0, 2, 3, 4, 5, 6, 7]].max() == 0


@pytest.fixture
def unet() -> UNet2DConditionModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(16, 16),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            cross_attention_dim=8,
            attention_head_dim=2,
            norm_num_groups=8,
        )


def test_self_attention_is_joined_and_attention_to_words_is_not(unet: UNet2DConditionModel) -> None:
    names = set(unet.attn_processors)
    joint = join_views(unet)
    assert set(unet.attn_processors) == names
    for name, processor in unet.attn_processors.items():
        assert (processor is joint) == (".attn1." in name)
    assert sum(processor is joint for processor in unet.attn_processors.values()) == len(names) / 2


def test_words_of_one_picture_reach_the_others_through_self_attention_alone(unet: UNet2DConditionModel) -> None:
    generator = torch.Generator().manual_seed(1)
    images, words = torch.randn(4, 4, 8, 8, generator=generator), torch.randn(4, 3, 8, generator=generator)
    others = words.clone()
    others[1] += 1

    def difference() -> torch.Tensor:
        with torch.no_grad():
            first, second = (unet(images, 500, text).sample for text in (words, others))
        return (first - second).abs().amax((1, 2, 3))

    plain = difference()
    joint = join_views(unet)
    torch.testing.assert_close(difference(), plain)
    assert plain[[0, 2, 3]].max() == 0
    joint.views = 2
    seen = difference()
    assert seen[0] > 1e-5
    assert seen[2:].max() == 0


def test_joining_leaves_the_weights_as_they_are(unet: UNet2DConditionModel) -> None:
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    join_views(unet)
    assert unet.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in unet.state_dict().items())
