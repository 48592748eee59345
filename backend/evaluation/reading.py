"""How to read the report: what its words and figures mean."""

from backend.evaluation import statistics
from backend.evaluation.claims import COST, DIVERSE
from backend.evaluation.references import F_LOOSE, F_THRESHOLD
from backend.prior.judge import FEW

READING = f"""## How to read this

- TP-SDS, the paper's method, is score distillation (SDS) whose timesteps t never increase. Schedules: uniform draws
  every t anew, as SDS does; the others go from large t to small. time_prior is the paper's, by the weight W_p: it
  dwells from m1 = 800 to m2 = 500 and hurries, over s1 = 300 and s2 = 100, through what is above and below.
  time_prior_ddpm is by W_d * W_p, as in the paper's later version, whose W_p is one bell of its own: m = 500 and
  s = 125 are what others say, not checked. "W_d * time_prior" in the ablations multiplies by time_prior's W_p instead.
  linear goes at an even pace, sqrt (HiFA) fast at first and ends at t = 300.
- Prompts name objects drawn from all that the built-in model knows, every other one in a colour, if they were not given
  in a file: then the judge speaks of those alone of which it knows every word. R-precision: of all
  objects that the judge knows, the one asked for scores highest, eight views together; what it may be called as well
  counts as right, a synonym or a more general word. Right among the first five: it is one of the {FEW} highest. The
  judge took no part in guidance, but learnt from most of the same objects.
- R-precision by CLIP: the share of views that it takes for the right one of the prompts. Of few prompts it may guess.
- Confidence: the probability that the judge gives to right answers, in the mean over views. Grey: it names the object
  from renders without colours. Facing right: of objects that have a front, it is less than 45 degrees off. A front on
  both sides: of these, the view opposite the most front-like one looks like one, too. CIEDE2000: how far the main
  colour, without light, is from the one that was asked for, where one was; 10 is another shade, and less is better.
- F-score, where true shapes were given: precision and recall of the surface within {F_THRESHOLD} m of the best of them
  that is called the same; objects are about 1.6 m across. One that has a front is taken as it stands, any other in the
  best of four turns. That is little more than a pixel of the built-in model, 0.035 m, so it tells how true to
  proportion a shape is, and within {F_LOOSE} m whether it lacks parts or has too many.
- Detail finer than 8 pixels of 64, of meshes, where true objects were given: the variance of grey values by so short
  waves, in doublings of that of the objects called the same. 0 is as much, -1 half of it; outlines count as well.
- What an object begins from is made of the first true one that is called so; nothing of it has a colour word. CIEDE2000
  from its colours: over all pixels of the judging views where both are seen, without light; of their mean, as if all
  of the object had that one colour. PSNR: over the pixels that either shows, on gray. F-score against the object: both
  as large as the unit sphere, in the best of four turns where it has no front.
- Diversity: how far the seeds of a prompt lie apart, in pairs, where two or more are right by R-precision. How the
  judge sees them: 1 - cosine of its features. Their shapes: 1 - intersection over union. 0 is the same.
- Differences are paired by prompt, seed and budget; brackets hold {statistics.CONFIDENCE:.0%} bootstrap intervals
  over prompts. Better, "not reproduced": the interval excludes a gain of {statistics.RELEVANT}, or of {DIVERSE:.0%} in
  diversity; otherwise "reproduced" if it is above 0. As good in half the steps, "reproduced": it excludes a loss
  of {statistics.RELEVANT}; "not reproduced": it is below 0. No extra cost: it is below {COST:.0%}, or above.
  Otherwise, or where fewer than {statistics.FEWEST} prompts differ at all, "undecided" at this sample size. Many
  claims are tested at once, each by itself: one in twenty intervals misses.
- The defaults were chosen on time_prior before, on other prompts, some for the same objects; whatever favour that is,
  it is time_prior's. What rules and parts say is of the prompts of 3d: a default that follows from it is to be tried on
  those of the presets.
- Better, worse: the interval excludes 0. No difference that matters: it excludes {statistics.RELEVANT} either way.
- Seconds are of machines that others may share; only their ratios within pairs are used."""
