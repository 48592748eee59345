"""What an optimisation is asked for: every number that its result depends on, but for the prompt and the seed."""

from dataclasses import dataclass, field

from backend.engine.cameras import CameraDistribution, EvenRigs
from backend.engine.distillation import WeightName
from backend.engine.names import RuleName, ScheduleName
from backend.engine.regularisers import Ramp
from backend.engine.schedules import TimePrior, TimePriorDdpm
from backend.engine.shading import BackgroundDistribution, LightDistribution


@dataclass(frozen=True)
class Shading:
    """How the views of a step are drawn: in plain colours, lit, or lit without their colours.

    lambertian, textureless: the share of views drawn so from progress `begin` on; the others are plain.
    """

    lambertian: float = 0.0
    textureless: float = 0.0
    begin: float = 0.2

    def __post_init__(self) -> None:
        if min(self.lambertian, self.textureless) < 0 or self.lambertian + self.textureless > 1:
            raise ValueError("the shares of lambertian and textureless views are at least 0 and at most 1 together")

    def active(self, progress: float) -> bool:
        """Whether any view may be lit at `progress` in [0, 1]."""
        return progress >= self.begin and self.lambertian + self.textureless > 0


@dataclass(frozen=True)
class Regularisation:
    """Weights of the regularisers over the run; see `regularisers` and `surface_terms` for what each one asks.

    eikonal: of an sdf alone.
    """

    opacity: Ramp = field(default_factory=Ramp)
    entropy: Ramp = field(default_factory=Ramp)
    orientation: Ramp = field(default_factory=Ramp)
    bending: Ramp = field(default_factory=Ramp)
    patches: Ramp = field(default_factory=Ramp)
    eikonal: Ramp = field(default_factory=Ramp)

    def of_surface(self, progress: float) -> bool:
        """Whether anything is asked of the visible surface at `progress` in [0, 1]."""
        return any(ramp.at(progress) for ramp in (self.orientation, self.bending, self.patches))


_LATER = Ramp(0.0, 1.0, begin=0.3, finish=0.6)


# Of six kinds of objects as four boxes each (Draft, strength 0.5, seed 0), all were named among the first five with
# solid = 1000 and inside = 0.02, four of them first, as many as from nothing. With 2000 and 1, of four of them, none
# was among the first five; with 200 and 1 three of the six were first; with 200 and 0.1, of five, four were, but hardly
# more of the boxes was left than from nothing.
@dataclass(frozen=True)
class Likeness:
    """Weights of what is given besides words: a picture, see `reference`, or a solid, see `scene.Volume`.

    silhouette, colour: of a picture, both times `growth`: the words come first, see `Portrait`. inside: what a point
    within the solid weighs, where one outside weighs 1: of a blockout may be carved away what is too much. pixels: the
    side at which a picture is looked at, at least: thin parts vanish from one as small as a model's.
    """

    silhouette: float = 100.0
    colour: float = 30.0
    growth: Ramp = _LATER
    solid: float = 1000.0
    inside: float = 0.02
    pixels: int = 128


_WHOLE = Ramp(1.0, 1.0)


@dataclass(frozen=True)
class Detail:
    """How finely a run looks, each a share of what it is without it: coarse and small first, then sharp.

    size: of the sides of the pictures that the model is shown, to which others are scaled. spacing: of the metres
    between samples. frame: of what cameras see; of less than 1, it is the middle, as in a close-up.
    """

    size: Ramp = _WHOLE
    spacing: Ramp = _WHOLE
    frame: Ramp = _WHOLE

    def __post_init__(self) -> None:
        if min(end for ramp in (self.size, self.spacing, self.frame) for end in (ramp.start, ramp.end)) <= 0:
            raise ValueError("shares of size, spacing and frame are positive")

    def pixels(self, native: int, progress: float) -> int:
        """The side of what is rendered at `progress` in [0, 1], for a model of pictures of `native` pixels a side."""
        return max(1, round(native * self.size.at(progress)))


@dataclass(frozen=True)
class Settings:
    """One optimisation.

    steps: N. strength: the share in (0, 1] of the timesteps, counted from below, that is gone through; with less than
    all of them, more of what there is at the start is kept. rule: how the gradient is made, see `rules`. weight, cfg:
    see `distillation`. views: B per step. rig: whether they go around the object in nearly equal turns, or stand
    anywhere. joint_views: how many of a rig see each other, in a model that was taught rigs; 1: none. learning_rate:
    Adam's, falling exponentially to its `final_rate`th part. spacing: metres between samples on a ray. detail: how
    finely a run looks, and when. occupancy_every: steps between looks at where something is; occupancy_resolution
    cells per axis, occupied from occupancy_threshold per metre. depth: of a voxel field, see there. rival_rate: the
    learning rate of the model that is trained beside the field, where the rule is vsd; ProlificDreamer's.
    """

    steps: int = 120
    schedule: ScheduleName = "time_prior"
    strength: float = 1.0
    time_prior: TimePrior = field(default_factory=TimePrior)
    time_prior_ddpm: TimePriorDdpm = field(default_factory=TimePriorDdpm)
    rule: RuleName = "sds"
    weight: WeightName = "sds"
    cfg: float = 7.5
    views: int = 4
    rig: bool = False
    joint_views: int = 1
    learning_rate: float = 0.2
    final_rate: float = 0.1
    spacing: float = 0.05
    detail: Detail = field(default_factory=Detail)
    occupancy_every: int = 5
    occupancy_resolution: int = 32
    occupancy_threshold: float = 0.5
    depth: Ramp | None = None
    rival_rate: float = 1e-4
    shading: Shading = field(default_factory=Shading)
    regularisation: Regularisation = field(default_factory=Regularisation)
    likeness: Likeness = field(default_factory=Likeness)
    cameras: CameraDistribution | EvenRigs = field(default_factory=CameraDistribution)
    lights: LightDistribution = field(default_factory=LightDistribution)
    backgrounds: BackgroundDistribution = field(default_factory=BackgroundDistribution)

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "views",
            "joint_views",
            "learning_rate",
            "final_rate",
            "rival_rate",
            "spacing",
            "occupancy_every",
        ):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if not 0 < self.strength <= 1:
            raise ValueError(f"strength is a share in (0, 1], not {self.strength}")
        if self.joint_views > 1 and not self.rig:
            raise ValueError("views can see each other in a rig only")
        if self.views % self.joint_views:
            raise ValueError(f"{self.views} views are no whole groups of {self.joint_views}")

    def spacing_at(self, progress: float) -> float:
        """Metres between samples at `progress` in [0, 1]."""
        return self.spacing * self.detail.spacing.at(progress)

    def finest(self, native: int) -> tuple[int, float]:
        """The most pixels a side and the fewest metres between samples, over the run; see `Detail.pixels`."""
        ends = (0.0, 1.0)
        pixels = max(self.detail.pixels(native, progress) for progress in ends)
        return pixels, min(self.spacing_at(progress) for progress in ends)
