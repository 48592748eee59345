"""How OpenMP's threads wait for each other. Nothing here imports torch: it has to be said before torch loads OpenMP."""

SPINS = ("GOMP_SPINCOUNT", "5000")
"""A variable of the environment, for `os.environ.setdefault`: what the user has set stays."""

# Threads that spin while they wait starve each other where other programs, such as Blender, use the cores too; those
# that sleep at once are slow to wake. Guidance calls on two cores, quiet and with two busy programs beside it: 48 and
# 183 ms with this count, 91 and 112 ms with none, 56 ms and up to 630 ms with OpenMP's own.
