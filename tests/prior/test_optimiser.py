import copy

import pytest
import torch
from torch import nn

from backend.prior.optimiser import Optimiser

DECAY = 0.1


def network() -> nn.Module:
    """Every kind of layer that there is, laid out as a training does; also as the last layers are called."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = {
            "conv_in": nn.Conv2d(3, 8, 3, padding=1),
            "conv": nn.Conv2d(8, 8, 3, padding=1),
            "narrow": nn.Conv2d(8, 6, 1),
            "norm": nn.GroupNorm(2, 6),
            "linear": nn.Linear(6, 4),
            "words": nn.Embedding(5, 4),
        }
        return nn.ModuleDict(parts).to(memory_format=torch.channels_last)


def set_gradients(module: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        # By way of autograd, which lays a gradient out as its parameter is: fused optimisers rely on it.
        (parameter * torch.randn(parameter.shape, generator=generator)).sum().backward()


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


def test_a_step_changes_every_parameter_where_it_lies_and_forgets_the_gradients() -> None:
    module = network()
    places = {name: parameter.data_ptr() for name, parameter in module.named_parameters()}
    optimiser, before = Optimiser(module, 0.01, 0.01, DECAY), weights(module)
    set_gradients(module, 1)
    optimiser.step(1.0)
    for name, parameter in module.named_parameters():
        assert not torch.equal(parameter, before[name]), name
        assert parameter.data_ptr() == places[name]
        assert parameter.grad is None


def test_weights_that_are_loaded_or_laid_out_again_are_still_those_that_are_stepped() -> None:
    module = network()
    optimiser = Optimiser(module, 0.01, 0.01, DECAY)
    other = {name: value + 1 for name, value in module.state_dict().items()}
    module.load_state_dict(other)
    module.to(memory_format=torch.channels_last)
    set_gradients(module, 1)
    optimiser.step(1.0)
    for name, parameter in module.named_parameters():
        assert not torch.equal(parameter, other[name]), name
        assert (parameter - other[name]).abs().max() < 0.5, name


def test_convolutions_in_another_layout_are_refused() -> None:
    with pytest.raises(ValueError, match="channels last"):
        Optimiser(nn.Sequential(nn.Conv2d(3, 8, 3)), 0.01, 0.01, DECAY)


def test_matrices_take_muons_steps_and_all_else_adams() -> None:
    module = network()
    optimiser, before = Optimiser(module, 0.02, 0.003, DECAY), weights(module)
    set_gradients(module, 1)
    gradients = {name: torch.as_tensor(parameter.grad).clone() for name, parameter in module.named_parameters()}
    optimiser.step(0.5)
    by_muon = {"conv.weight", "narrow.weight", "linear.weight"}
    for name, parameter in module.named_parameters():
        old = before[name]
        if name in by_muon:
            rows = old.permute(0, 2, 3, 1).flatten(1) if old.ndim == 4 else old
            slope = gradients[name].permute(0, 2, 3, 1).flatten(1) if old.ndim == 4 else gradients[name]
            matrix = nn.Parameter(rows.clone())
            matrix.grad = slope.clone()
            torch.optim.Muon([matrix], lr=0.01, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw").step()
            stepped = parameter.permute(0, 2, 3, 1).flatten(1) if old.ndim == 4 else parameter
            # Torch rounds to bf16 on the way.
            assert (stepped - matrix).norm() < 0.05 * (matrix - rows).norm()
        else:  # the first step of Adam is the rate, against the sign of the slope
            expected = old * (1 - 0.0015 * DECAY) - 0.0015 * gradients[name].sign()
            torch.testing.assert_close(parameter.detach(), expected, atol=1e-5, rtol=0)


def test_a_share_of_nothing_leaves_all_as_it_is() -> None:
    module = network()
    optimiser, before = Optimiser(module, 0.01, 0.01, DECAY), weights(module)
    set_gradients(module, 1)
    optimiser.step(0.0)
    assert all(torch.equal(parameter, before[name]) for name, parameter in module.named_parameters())


def test_a_layer_without_gradients_stays_as_it_is() -> None:
    module = network()
    optimiser, before = Optimiser(module, 0.01, 0.01, DECAY), weights(module)
    set_gradients(module, 1)
    unused = module.get_submodule("conv")
    for parameter in unused.parameters():
        parameter.grad = None
    optimiser.step(1.0)
    assert torch.equal(module.get_parameter("conv.weight"), before["conv.weight"])
    assert not torch.equal(module.get_parameter("linear.weight"), before["linear.weight"])


def test_a_restored_optimiser_takes_the_same_next_step() -> None:
    first = network()
    optimiser = Optimiser(first, 0.01, 0.01, DECAY)
    for seed in (1, 2):
        set_gradients(first, seed)
        optimiser.step(1.0)
    second = copy.deepcopy(first)
    # As a file keeps them: in one layout.
    kept = {name: value.clone(memory_format=torch.contiguous_format) for name, value in optimiser.state().items()}
    going_on = Optimiser(second, 0.01, 0.01, DECAY)
    going_on.restore(kept)
    forgetful = copy.deepcopy(first)
    anew = Optimiser(forgetful, 0.01, 0.01, DECAY)
    for module, own in ((first, optimiser), (second, going_on), (forgetful, anew)):
        set_gradients(module, 3)
        own.step(1.0)
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, second.get_parameter(name)), name
        assert not torch.equal(parameter, forgetful.get_parameter(name)), name
