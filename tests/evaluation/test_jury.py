"""Who judges what."""

import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from backend.errors import UserError
from backend.evaluation.clip import Clip
from backend.evaluation.jury import Jury
from backend.evaluation.measures import nothing_pictured
from backend.guidance import library
from backend.prior import judge


class Half(Clip):
    """Takes every other picture for what it is asked about."""

    def __init__(self) -> None:
        pass

    def precision(self, pictures: Float[Tensor, "V 3 H W"], prompt: str) -> float:
        return 0.5


CLIP = Half()


@pytest.fixture(scope="module")
def net() -> judge.Judge:
    return judge.load(library.builtin().folder)


def test_of_what_the_judge_does_not_know_clip_alone_says_something(net: judge.Judge) -> None:
    jury, pictures = Jury(net, CLIP, None), nothing_pictured()
    assert jury.of_object(pictures, None, "a xylophone from Mars") == {"clip": 0.5}
    assert jury.of_object(pictures, None, "an astronaut riding a horse") == {"clip": 0.5}, "it would look for a horse"
    assert jury.of_image(pictures.textured[:1], "a xylophone from Mars") == {"clip": 0.5}
    known = jury.of_object(pictures, None, "a blue mug")
    assert {"clip", "r_precision", "grey", "colour"} <= known.keys()
    assert torch.tensor(jury.features(pictures.textured)).norm() == pytest.approx(1)


def test_what_nobody_can_judge_is_refused(net: judge.Judge) -> None:
    with pytest.raises(UserError, match=r'the judge does not know what "a xylophone from Mars" is.*--clip'):
        Jury(net, None, None).check("a xylophone from Mars")
    Jury(net, None, None).check("a red fox")
    Jury(net, CLIP, None).check("a xylophone from Mars")
