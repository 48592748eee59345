"""From what an artist says to a job, and the sentence for everything that cannot be done."""

import json
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from backend.errors import UserError
from backend.guidance.library import builtin
from backend.pipeline.job import Job, planned
from backend.pipeline.presets import PRESETS
from backend.pipeline.request import Request

MUG = Request("a red mug", device="cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": ""}, 'the prompt is empty; try "a red mug"'),
        ({"prompt": " \n\t "}, "the prompt is empty"),
        ({"prompt": "mug " * 80}, "319 characters; shorten it to 300"),
        ({"negative": "x" * 301}, "negative prompt has 301 characters"),
        ({"prompt": "a mug\x00"}, r"the prompt holds the control character U\+0000 \(NULL\); type it anew"),
        ({"prompt": "a \udcff mug"}, "letters that this locale does not know; type it anew"),
        ({"prompt": "a dragon"}, "knows no object.*try one of"),
        ({"prompt": "a red mugg"}, "try one of: mug"),
        ({"preset": "best"}, 'no preset "best"; choose one of draft, standard, high'),
        ({"schedule": "cosine"}, 'no schedule "cosine"; choose one of time_prior'),
        ({"rule": "nfsd"}, 'no rule "nfsd"; choose one of sds, csd, asd, sdi, bridge, x0, vsd'),
        ({"rule": "bridge"}, "builtin was taught no words for good and bad pictures; choose another rule"),
        ({"field": "mesh"}, 'no field "mesh"; choose one of voxel, hashgrid, sdf'),
        ({"device": "tpu"}, 'no device "tpu"; choose one of auto'),
        ({"guidance": "bultin"}, "nearest: builtin"),
        ({"steps": -5}, "steps is -5; give a number from 1 to"),
        ({"steps": 0}, "steps is 0"),
        ({"seed": -1}, "seed is -1; give a number from 0"),
        ({"cfg": -0.5}, "cfg is -0.5"),
        ({"cfg": float("nan")}, "cfg is nan"),
        ({"faces": 3}, "faces is 3; give a number from 100"),
        ({"shading": "shiny"}, 'there is no shading "shiny"; choose one of auto, smooth, flat'),
        ({"latent_field": True}, "has no latents; leave out the latent field"),
        ({"texture": 100_000}, "texture is 100000; give a number from 64 to 8,192"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as raised:
        planned(replace(MUG, **changes))
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what the test needs to be missing")
def test_a_missing_gpu_is_named() -> None:
    with pytest.raises(UserError, match="no CUDA device here; use --device cpu"):
        planned(replace(MUG, device="cuda"))


def test_words_without_effect_are_named() -> None:
    _, warnings = planned(replace(MUG, prompt="a glittering red mug"))
    assert len(warnings) == 1
    assert "'glittering'" in warnings[0]
    assert planned(MUG)[1] == []


def test_a_negative_prompt_without_effect_is_named() -> None:
    _, warnings = planned(replace(MUG, negative="blurry blue"))
    assert warnings == ["the negative prompt's 'blurry' will have no effect"]


def test_a_copy_of_the_builtin_model_is_treated_as_one(tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(builtin().folder, folder)
    copied, _ = planned(replace(MUG, guidance=str(folder)))
    assert (copied.model.name, copied.model.folder) == ("copy", folder)
    assert copied.optimisation == planned(MUG)[0].optimisation
    with pytest.raises(UserError, match="knows no object"):
        planned(replace(MUG, guidance=str(folder), prompt="a dragon"))


def test_a_model_that_is_told_of_views_gets_no_words_for_them() -> None:
    job, _ = planned(MUG)
    assert (job.view_mode, job.perp_neg, job.optimisation.rig) == ("off", False, True)


def test_a_rule_is_a_part_of_the_recipe() -> None:
    assert planned(MUG)[0].optimisation.rule == "sds"
    chosen, _ = planned(replace(MUG, rule="csd"))
    assert chosen.recipe()["optimisation"]["rule"] == "csd"


def test_how_the_mesh_is_shaded_is_a_part_of_the_recipe() -> None:
    assert planned(MUG)[0].mesh.shading == "auto"
    assert planned(replace(MUG, shading="flat"))[0].recipe()["mesh"]["shading"] == "flat"


def test_options_override_the_preset_and_nothing_else() -> None:
    plain, _ = planned(MUG)
    changed, _ = planned(replace(MUG, steps=7, cfg=3.5, schedule="sqrt", faces=900, texture=256, seed=5))
    assert (changed.optimisation.steps, changed.optimisation.cfg, changed.optimisation.schedule) == (7, 3.5, "sqrt")
    assert (changed.mesh.faces, changed.mesh.texture, changed.seed) == (900, 256, 5)
    back = replace(
        changed,
        seed=0,
        mesh=plain.mesh,
        optimisation=replace(
            changed.optimisation,
            steps=plain.optimisation.steps,
            cfg=plain.optimisation.cfg,
            schedule=plain.optimisation.schedule,
        ),
    )
    assert back == plain


def test_presets_ask_for_more_and_more() -> None:
    jobs: list[Job] = [planned(replace(MUG, preset=name))[0] for name in PRESETS]
    for lesser, greater in pairwise(jobs):
        assert lesser.optimisation.steps < greater.optimisation.steps
        assert lesser.mesh.faces < greater.mesh.faces
        assert lesser.mesh.texture < greater.mesh.texture


def test_a_recipe_is_json_and_holds_what_the_result_depends_on() -> None:
    recipe = json.loads(json.dumps(planned(replace(MUG, seed=9))[0].recipe()))
    assert (recipe["prompt"], recipe["seed"], recipe["model"]["name"]) == ("a red mug", 9, "builtin")
    assert recipe["model"]["revision"].startswith("sha256:")
    assert "folder" not in recipe["model"]  # no path of this machine travels
    assert recipe["optimisation"]["schedule"] == "time_prior"
    assert recipe["versions"]["torch"] == torch.__version__


def test_spaces_and_line_breaks_in_a_prompt_do_not_matter() -> None:
    assert planned(replace(MUG, prompt="  a red\n mug "))[0] == planned(MUG)[0]


def test_numerics_are_taken_over_from_a_recipe() -> None:
    job, _ = planned(MUG)
    recipe = {**job.recipe(), "precision": "fp32", "threads": 17}
    assert job.with_numerics_of(recipe) == replace(job, precision="fp32", threads=17)


def test_the_default_guidance_is_that_of_the_kind_of_model(tmp_path: Path) -> None:
    """A large model is one without a vocabulary of its own; with a VAE it diffuses latents."""
    folder = Path(shutil.copytree(builtin().folder, tmp_path / "large"))
    (folder / "lexicon.json").unlink()
    job, _ = planned(replace(MUG, guidance=str(folder)))
    assert job.optimisation.cfg == 20
