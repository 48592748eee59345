"""Who judges what comes of a run: the judge, where it knows the object asked for, CLIP and true shapes, where given.

Letters: V views, H x W pixels.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from backend.errors import UserError
from backend.evaluation import measures
from backend.evaluation.clip import Clip
from backend.evaluation.measures import Pictures
from backend.evaluation.references import References
from backend.mesh.asset import TriangleMesh
from backend.prior.judge import Judge
from backend.prior.lexicon import Understanding, UnknownObjectError


@dataclass(frozen=True)
class Jury:
    """clip: None if CLIP is not to judge as well. references: None if shapes are not to be measured."""

    net: Judge
    clip: Clip | None
    references: References | None

    def understands(self, prompt: str) -> Understanding | None:
        """What `prompt` asks for, if the judge knows every word of it; otherwise it might look for another object."""
        try:
            asked = self.net.lexicon.knows(prompt)
        except UnknownObjectError:
            return None
        return None if asked.unknown else asked

    def check(self, prompt: str) -> None:
        """Raise UserError if nobody can judge whether an object is what `prompt` asks for."""
        if self.clip is None and self.understands(prompt) is None:
            unknown = ", ".join(self.net.lexicon.unknown(prompt)) or "an object"
            raise UserError(
                f'the judge does not know what "{prompt}" is (unknown: {unknown}): say it otherwise, or name a CLIP '
                "model that judges with --clip"
            )

    def of_image(self, image: Float[Tensor, "1 3 H W"], prompt: str) -> dict[str, float]:
        """The measures of one picture, by name; see `measures.judged`."""
        asked = self.understands(prompt)
        found = measures.judged(self.net, image, asked) if asked else {}
        return {**found, **self._by_clip(image, prompt)}

    def of_object(self, pictures: Pictures, mesh: TriangleMesh | None, prompt: str) -> dict[str, float]:
        """The measures of an object, by name; see `measures.of_object`."""
        asked = self.understands(prompt)
        found = measures.of_object(self.net, pictures, mesh, asked, self.references) if asked else {}
        return {**found, **self._by_clip(pictures.textured, prompt)}

    def of_mesh(self, pictures: Pictures, mesh: TriangleMesh, prompt: str) -> dict[str, float]:
        """The measures of an exported mesh, by name; see `measures.of_mesh`."""
        asked = self.understands(prompt)
        found = measures.of_mesh(self.net, pictures, mesh, asked, self.references) if asked else {}
        return {**found, **self._by_clip(pictures.textured, prompt)}

    def features(self, textured: Float[Tensor, "V 3 H W"]) -> tuple[float, ...]:
        """How the judge sees an object, whatever it is."""
        return tuple(measures.features(self.net, textured).tolist())

    def _by_clip(self, textured: Float[Tensor, "V 3 H W"], prompt: str) -> dict[str, float]:
        return {} if self.clip is None else {"clip": self.clip.precision(textured, prompt)}
