"""A canary: these tests fail if shapes and types are not checked while the others run."""

import pytest
import torch
from jaxtyping import TypeCheckError

from backend.engine.shading import over


def test_a_wrong_shape_is_refused() -> None:
    image = torch.zeros(2, 3, 4, 4)
    with pytest.raises(TypeCheckError):
        over(image, torch.zeros(2, 4, 5), torch.zeros(2, 3))


def test_a_wrong_type_is_refused() -> None:
    image = torch.zeros(2, 3, 4, 4)
    with pytest.raises(TypeCheckError):
        over(image, torch.zeros(2, 4, 4, dtype=torch.long), torch.zeros(2, 3))
