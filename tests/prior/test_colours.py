import pytest
import torch

from backend.prior.colours import MainColour, from_oklab, near, oklab, repainted
from backend.prior.materials import COLOURS


@pytest.mark.parametrize(
    ("display", "lab"),
    [
        # The values of CSS Color 4 (section 9 and its conversion tables).
        ((1, 1, 1), (1, 0, 0)),
        ((0, 0, 0), (0, 0, 0)),
        ((1, 0, 0), (0.62796, 0.22486, 0.12585)),
        ((0, 1, 0), (0.86644, -0.23389, 0.17950)),
        ((0, 0, 1), (0.45201, -0.03246, -0.31153)),
    ],
)
def test_oklab_is_the_published_one(display: tuple[float, ...], lab: tuple[float, ...]) -> None:
    found = oklab(torch.tensor(display, dtype=torch.float32))
    torch.testing.assert_close(found, torch.tensor(lab, dtype=torch.float32), atol=1e-4, rtol=0)


def test_there_and_back_is_the_same_colour(generator: torch.Generator) -> None:
    display = torch.rand(500, 3, generator=generator)
    torch.testing.assert_close(from_oklab(oklab(display)), display, atol=1e-4, rtol=0)


def test_what_no_display_shows_is_cut_to_what_it_can() -> None:
    shown = from_oklab(torch.tensor([[0.9, 0.4, 0.0], [-0.1, 0.0, 0.0], [1.2, 0.0, 0.0]]))
    assert shown.min() >= 0
    assert shown.max() <= 1
    assert shown.isfinite().all()


def shades_of(name: str, count: int, generator: torch.Generator, spread: float = 0.01) -> torch.Tensor:
    return oklab(torch.tensor(COLOURS[name])) + spread * torch.randn(count, 3, generator=generator)


def test_the_main_colour_of_a_mixture_is_its_commonest(generator: torch.Generator) -> None:
    shares = (("blue", 600), ("white", 300), ("red", 100))
    main = MainColour.of(torch.cat([shades_of(name, count, generator) for name, count in shares]))
    assert (main.lab - oklab(torch.tensor(COLOURS["blue"]))).norm() < 0.01
    assert main.share == pytest.approx(0.6, abs=0.01)


def test_shades_of_one_colour_are_one_colour(generator: torch.Generator) -> None:
    textured = shades_of("green", 500, generator)
    textured[:, 0] += 0.1 * (torch.rand(500, generator=generator) - 0.5)
    main = MainColour.of(torch.cat([textured, shades_of("white", 400, generator)]))
    assert main.share == pytest.approx(500 / 900, abs=0.03)


def test_a_single_colour_is_all_of_it() -> None:
    main = MainColour.of(torch.full((7, 3), 0.5))
    torch.testing.assert_close(main.lab, torch.full((3,), 0.5))
    assert main.share == 1


def test_nearness_falls_from_one_to_nothing_and_counts_lightness_half() -> None:
    apart = torch.tensor([[0, 0, 0], [0, 0.1, 0], [0, 0, 0.14], [0, 0.18, 0], [0.28, 0, 0], [0.4, 0, 0]])
    found = near(apart, torch.zeros(3))
    torch.testing.assert_close(found, torch.tensor([1, 1, 0.5, 0, 0.5, 0]), atol=1e-5, rtol=0)


def test_paint_goes_where_the_main_colour_is_and_keeps_its_shades() -> None:
    gray, pink, red = (torch.tensor(COLOURS[name]) for name in ("gray", "pink", "red"))
    dark = from_oklab(oklab(gray) - torch.tensor([0.1, 0, 0]))
    albedo = torch.stack([gray, dark, red])[None, None]  # one row of three pixels
    new = repainted(albedo, oklab(gray)[None], oklab(pink)[None])[0, 0]
    torch.testing.assert_close(new[0], pink, atol=1e-3, rtol=0)
    torch.testing.assert_close(new[2], red, atol=1e-4, rtol=0)
    torch.testing.assert_close(oklab(new[0]) - oklab(new[1]), torch.tensor([0.1, 0, 0]), atol=2e-3, rtol=0)


def test_each_picture_gets_its_own_paint() -> None:
    red, blue, green = (torch.tensor(COLOURS[name]) for name in ("red", "blue", "green"))
    albedo = torch.stack([red, blue]).reshape(2, 1, 1, 3)
    new = repainted(albedo, oklab(torch.stack([red, blue])), oklab(torch.stack([green, red])))
    torch.testing.assert_close(new.reshape(2, 3), torch.stack([green, red]), atol=1e-3, rtol=0)
