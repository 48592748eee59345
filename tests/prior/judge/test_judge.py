import math
from pathlib import Path

import pytest
import torch

from backend.errors import UserError
from backend.prior import judge
from backend.prior.judge import SECTORS, Judge, Verdict, judging_views, off_course, ranks, right_answers
from backend.prior.lexicon import Lexicon


@pytest.fixture
def net(lexicon: Lexicon) -> Judge:
    torch.manual_seed(0)
    return Judge(lexicon).eval()


def sectors(*chosen: int) -> torch.Tensor:
    """Verdicts that are nearly sure of a sector."""
    return torch.full((len(chosen), SECTORS), 0.01).scatter_(1, torch.tensor(chosen)[:, None], 1).log_softmax(-1)


@pytest.mark.parametrize("size", [32, 64, 96])
def test_an_answer_is_a_distribution_over_nouns_and_sectors(net: Judge, size: int, generator: torch.Generator) -> None:
    verdict = net(torch.rand(5, 3, size, size, generator=generator))
    assert verdict.nouns.shape == (5, 3)
    for row in (verdict.nouns, verdict.sectors):
        torch.testing.assert_close(row.exp().sum(-1), torch.ones(5))


def test_large_images_are_judged_as_small_ones(net: Judge, generator: torch.Generator) -> None:
    small = torch.rand(2, 3, 8, 8, generator=generator).repeat_interleave(8, dim=2).repeat_interleave(8, dim=3)
    large = small.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    torch.testing.assert_close(net(small).nouns, net(large).nouns, atol=0.05, rtol=0)


def test_the_azimuth_is_where_most_of_the_sectors_lie() -> None:
    sure = torch.full((3, SECTORS), -30.0)
    sure[0, 0] = sure[1, 2] = 0
    sure[2, 3] = sure[2, 4] = math.log(0.5)
    turns = torch.tensor([0, 90, 157.5]).deg2rad()
    torch.testing.assert_close(Verdict(torch.zeros(3, 1), sure).azimuth, turns, atol=1e-4, rtol=0)


def test_views_of_one_object_are_judged_together() -> None:
    nouns = torch.tensor([[0.0, -2.0]] * 4 + [[-1.0, 0.0]] * 4)
    seen_rightly = sectors(*range(SECTORS))
    turned = sectors(*(sector + 2 for sector in range(SECTORS - 2)), 0, 1)
    for rows, azimuth in ((seen_rightly, 0.0), (turned, 90.0)):
        together = Verdict(nouns, rows).together()
        torch.testing.assert_close(together.nouns, torch.tensor([[-0.5, -1.0]]))
        assert math.degrees(together.azimuth.item()) == pytest.approx(azimuth, abs=0.1)


def test_the_judging_views_are_one_in_the_middle_of_each_sector() -> None:
    azimuth = judging_views().azimuth
    torch.testing.assert_close(azimuth, 2 * math.pi / SECTORS * torch.arange(SECTORS))


def test_a_rank_counts_the_wrong_nouns_before_the_best_right_one() -> None:
    nouns = torch.tensor([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    right = torch.tensor([[True, False, True], [False, True, False], [True, True, False]])
    assert ranks(nouns, right).tolist() == [0, 1, 1]


def test_what_may_be_called_the_same_is_right(lexicon: Lexicon) -> None:
    assert [noun.noun for noun in lexicon.nouns] == ["bar", "plate", "post"]
    assert torch.equal(right_answers(lexicon), torch.eye(3, dtype=torch.bool))  # two are rods


def test_azimuths_are_compared_around_the_circle() -> None:
    seen, asked = torch.tensor([179.0, -90, 10]).deg2rad(), torch.tensor([-179.0, 90, 40]).deg2rad()
    torch.testing.assert_close(off_course(seen, asked), torch.tensor([2.0, 180, 30]).deg2rad(), atol=1e-5, rtol=0)


def test_it_is_kept_in_half_precision_and_says_the_same(net: Judge, tmp_path: Path, generator: torch.Generator) -> None:
    net.train()(torch.rand(8, 3, 32, 32, generator=generator))  # so that what it normalises by is its own
    judge.save(net.eval(), tmp_path)
    images = torch.rand(4, 3, 64, 64, generator=generator)
    again = judge.load(tmp_path)
    assert again.lexicon == net.lexicon
    torch.testing.assert_close(again(images).nouns, net(images).nouns, atol=0.01, rtol=0)


def test_a_judge_of_a_thousand_nouns_fits_into_five_megabytes(lexicon: Lexicon, tmp_path: Path) -> None:
    many = Lexicon(lexicon.nouns[:1] * 1100, (), ())
    judge.save(Judge(many), tmp_path)
    assert (tmp_path / "judge.safetensors").stat().st_size < 5_000_000


def test_one_that_is_damaged_or_of_other_nouns_is_named(lexicon: Lexicon, tmp_path: Path) -> None:
    judge.save(Judge(lexicon), tmp_path)
    Lexicon(lexicon.nouns[:2], (), ()).save(tmp_path)
    with pytest.raises(UserError, match="of other objects"):
        judge.load(tmp_path)
    lexicon.save(tmp_path)
    (tmp_path / "judge.safetensors").write_bytes(b"not weights")
    with pytest.raises(UserError, match="is damaged"):
        judge.load(tmp_path)


def test_a_folder_without_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no judge"):
        judge.load(tmp_path)
