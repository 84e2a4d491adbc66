"""What the simulated species do: postures, gaits and jaws, in the units of a field guide.

The figures are plausible for the species and tuned so that behaviours overlap as they do on real collars; they are
not measurements of any animal.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Gait:
    """A periodic acceleration of the trunk, one period a stride."""

    stride_hz: float
    amplitude: float
    """g, of the vertical axis at the animal's usual speed."""
    vertical: tuple[float, ...]
    """Shares of the harmonics 1, 2, 3, ... of the stride in the vertical acceleration."""
    sway: float
    """Lateral amplitude at the stride frequency, as a share of `amplitude`."""
    surge: float
    """Forward amplitude at twice the stride frequency, as a share of `amplitude`."""
    spread: float = 0.35
    """Deviation of the logarithm of the amplitude from bout to bout: speed differs."""


@dataclass(frozen=True)
class Motion:
    """One behaviour."""

    share: float
    """Of the animal's time."""
    bout_seconds: float
    """Mean length of a bout."""
    pitch: float
    """Degrees that the head hangs below level, mean over bouts."""
    pitch_spread: float
    """Its deviation from bout to bout, degrees."""
    restlessness: float
    """Deviation of the head's slow movements within a bout, degrees."""
    gait: Gait | None = None
    bites_hz: float = 0.0
    """Bites a second, at irregular intervals."""
    chewing: float = 0.0
    """Share of the bouts with chewing (rumination), or, where there are bites, of the time with the head up."""
    steps_hz: float = 0.0
    """Single steps or shifts of weight a second, at random."""
    shakes_hz: float = 0.0
    """Ear flicks and head shakes a second, at random."""
    roll_spread: float = 4.0
    """Deviation of the trunk's lean from bout to bout, degrees."""


@dataclass(frozen=True)
class Species:
    """A species' behaviours and its collar."""

    rate_hz: float
    chew_hz: float
    motions: dict[str, Motion]


WALK = (0.35, 1.0, 0.25, 0.15)
TROT = (0.2, 1.0, 0.1, 0.3)
GALLOP = (1.0, 0.5, 0.3, 0.15)

GOAT = Species(
    rate_hz=100.0,
    chew_hz=1.4,
    motions={
        "standing": Motion(0.4315, 60, 12, 22, 9, chewing=0.5, steps_hz=0.12, shakes_hz=0.06),
        "grazing": Motion(0.3535, 80, 48, 16, 9, bites_hz=1.3, chewing=0.25, steps_hz=0.35, shakes_hz=0.04),
        "walking": Motion(
            0.2019, 25, 24, 16, 7, Gait(1.15, 0.15, WALK, 0.6, 0.5), steps_hz=0.1, shakes_hz=0.03, bites_hz=0.12
        ),
        "trotting": Motion(0.0044, 6, 12, 9, 5, Gait(1.75, 0.55, TROT, 0.35, 0.45)),
        "running": Motion(0.0087, 8, 10, 9, 5, Gait(2.1, 0.85, GALLOP, 0.4, 0.6)),
    },
)
CATTLE = Species(
    rate_hz=25.0,
    chew_hz=1.1,
    motions={
        "lying": Motion(0.34, 600, 8, 12, 5, chewing=0.6, shakes_hz=0.05, roll_spread=14),
        "standing": Motion(0.22, 120, 10, 15, 7, chewing=0.4, steps_hz=0.06, shakes_hz=0.08),
        "grazing": Motion(0.36, 240, 55, 10, 7, bites_hz=1.0, chewing=0.15, steps_hz=0.2, shakes_hz=0.05),
        "walking": Motion(0.08, 30, 18, 12, 6, Gait(0.85, 0.14, WALK, 0.7, 0.5), shakes_hz=0.03),
    },
)
SHEEP = Species(
    rate_hz=12.5,
    chew_hz=1.5,
    motions={
        "grazing": Motion(0.50, 150, 55, 12, 9, bites_hz=1.5, chewing=0.2, steps_hz=0.35, shakes_hz=0.04),
        "lying": Motion(0.22, 400, 5, 14, 5, chewing=0.6, shakes_hz=0.04, roll_spread=12),
        "standing": Motion(0.18, 60, 8, 18, 8, chewing=0.4, steps_hz=0.1, shakes_hz=0.05),
        "walking": Motion(0.09, 20, 18, 14, 7, Gait(1.25, 0.17, WALK, 0.6, 0.5)),
        "running": Motion(0.01, 8, 5, 8, 5, Gait(2.3, 0.8, GALLOP, 0.4, 0.6)),
    },
)
HORSE = Species(
    rate_hz=100.0,
    chew_hz=1.2,
    motions={
        "grazing": Motion(0.46, 180, 60, 10, 6, bites_hz=1.2, chewing=0.1, steps_hz=0.2, shakes_hz=0.05),
        "standing": Motion(0.26, 120, 5, 15, 6, steps_hz=0.08, shakes_hz=0.08),
        "walking": Motion(0.18, 60, 10, 10, 5, Gait(0.9, 0.16, WALK, 0.6, 0.5)),
        "trotting": Motion(0.07, 40, 0, 8, 4, Gait(1.4, 0.6, TROT, 0.3, 0.4)),
        "running": Motion(0.03, 25, 0, 8, 4, Gait(1.75, 0.9, GALLOP, 0.35, 0.6)),
    },
)
SPECIES = {"goat": GOAT, "cattle": CATTLE, "sheep": SHEEP, "horse": HORSE}
