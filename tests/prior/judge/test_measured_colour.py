import numpy as np
import pytest
import torch
from skimage.color import lab2rgb

from backend.prior.materials import COLOURS
from backend.prior.measured_colour import difference, foreground, shown


def picture(background: tuple[float, float, float], colour: tuple[float, float, float]) -> torch.Tensor:
    """A square of one colour, a tenth of it shaded and a corner of it of another."""
    image = torch.tensor(background)[:, None, None].repeat(1, 32, 32)
    image[:, 8:24, 8:24] = torch.tensor(colour)[:, None, None]
    image[:, 8:24, 8:10] *= 0.9
    image[:, 20:24, 20:24] = torch.tensor((0.1, 0.9, 0.2))[:, None, None]
    return image


@pytest.mark.parametrize("background", [(0.9, 0.9, 0.9), (0.1, 0.12, 0.1), (0.5, 0.5, 0.55)])
def test_the_object_is_what_its_background_is_not(background: tuple[float, float, float]) -> None:
    where = foreground(picture(background, (0.85, 0.08, 0.08)))
    assert where.sum() == 16 * 16
    assert where[8:24, 8:24].all()


def test_the_colour_shown_is_the_main_one() -> None:
    image = picture((0.9, 0.9, 0.9), (0.85, 0.08, 0.08))
    torch.testing.assert_close(shown(image, foreground(image)), torch.tensor((0.85, 0.08, 0.08)), atol=0.02, rtol=0)


def test_a_picture_of_nothing_shows_its_background() -> None:
    image = torch.full((3, 8, 8), 0.4)
    assert not foreground(image).any()
    torch.testing.assert_close(shown(image, foreground(image)), torch.full((3,), 0.4), atol=1e-3, rtol=0)


def test_a_colour_is_as_far_from_its_word_as_ciede2000_says() -> None:
    for word, colour in COLOURS.items():
        assert difference(torch.tensor(colour), word) == pytest.approx(0, abs=0.01)
    # Between greys it is the step in lightness over 1 + 0.015 (L - 50)^2 / sqrt(20 + (L - 50)^2), L their mean.
    grey = torch.tensor(lab2rgb(np.array([70.0, 0, 0])))
    lightness = 53.39  # of 0.5, 0.5, 0.5
    offset = ((70 + lightness) / 2 - 50) ** 2
    assert difference(grey.float(), "gray") == pytest.approx(
        (70 - lightness) / (1 + 0.015 * offset / (20 + offset) ** 0.5), abs=0.1
    )
    assert difference(torch.tensor(COLOURS["red"]), "green") > 60
