"""A simulated herd: raw recordings made from gravity, gait, jaw and collar. Never evidence about animals.

Each behaviour is made from what physically makes it. Gravity is turned by the head's posture; a gait adds a periodic
acceleration with the animal's own stride; grazing is a hanging head with irregular bites, chewing and steps; the
collar sits on each neck at its own angle and slips; the sensor adds noise and drift.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import lfilter
from scipy.spatial.transform import Rotation

from aar_ray.config import SimulatedSource
from aar_ray.corpus.herd import SPECIES, Motion, Species
from aar_ray.corpus.recording import Recording
from aar_ray.seeds import stream

Array = NDArray[np.float64]

SLOT_SECONDS = 2.0
"""Bouts last whole slots, the length of the paper's window, so that shares of time are shares of windows."""
SHORTEST_BOUT = 2
"""Slots."""
SESSION_SECONDS = 1200.0
"""A recording is made this much at a time, so that memory does not grow with its length; a multiple of a slot."""
SLOW_HZ = 5.0
"""Posture, speed and slip are drawn at this rate and interpolated."""


@dataclass(frozen=True)
class Body:
    """What one animal and its collar keep for life."""

    collar: Rotation
    size: float
    """Factor of all stride frequencies."""
    vigour: float
    """Factor of all dynamic accelerations."""
    posture: float
    """Degrees added to every pitch."""
    jaw: float
    """Factor of bite and chewing frequencies."""
    harmonics: Array
    """[5], factors of the harmonics."""
    phases: Array
    """[5], of the harmonics, radians."""
    offset: Array
    """[3], of the sensor, g."""
    noise: float
    """Of the sensor, g."""


@dataclass(frozen=True)
class Bouts:
    """A schedule: one row a bout."""

    behaviour: NDArray[np.int64]
    seconds: Array


def animal_names(source: SimulatedSource) -> tuple[str, ...]:
    """`<source>-1`, `<source>-2`, ...; also the subjects."""
    return tuple(f"{source.name}-{number + 1}" for number in range(source.animals))


def simulate(source: SimulatedSource, animal: int, seed: int, *, labelled: bool = True) -> Iterator[Recording]:
    """The recordings of one animal, sessions of 20 minutes that follow each other.

    Args:
        source: species, number of animals and minutes.
        animal: its number, from 0.
        seed: the study's; draws come from the streams ("simulated", source name, animal, ...).
        labelled: give each sample its behaviour; otherwise labels are None.
    """
    species = SPECIES[source.species]
    name = animal_names(source)[animal]
    draw = stream(seed, "simulated", source.name, animal)
    body = draw_body(draw)
    bouts = draw_bouts(draw, species, 60 * source.minutes_per_animal)
    behaviours = np.array([*species.motions], dtype=object)
    for session, (start, part) in enumerate(_sessions(bouts)):
        draw = stream(seed, "simulated", source.name, animal, "session", session)
        ends = np.rint(np.cumsum(part.seconds) * species.rate_hz).astype(np.int64)
        counts = ends - np.concatenate([[0], ends[:-1]])
        yield Recording(
            source=source.name,
            species=source.species,
            subject=name,
            name=name,
            rate_hz=species.rate_hz,
            samples=_session(draw, species, body, part.behaviour, counts),
            labels=np.repeat(behaviours[part.behaviour], counts) if labelled else None,
            start_seconds=start,
        )


def draw_body(draw: np.random.Generator) -> Body:
    """An animal: collars roll by tens of degrees, the rest differs as litter mates do."""
    return Body(
        collar=Rotation.from_euler("xyz", draw.normal(0, (32, 9, 12)), degrees=True),
        size=draw.lognormal(0, 0.10),
        vigour=draw.lognormal(0, 0.22),
        posture=draw.normal(0, 8),
        jaw=draw.lognormal(0, 0.12),
        harmonics=draw.lognormal(0, 0.35, 5),
        phases=draw.uniform(0, 2 * np.pi, 5),
        offset=draw.normal(0, 0.02, 3),
        noise=draw.uniform(0.008, 0.02),
    )


def draw_bouts(draw: np.random.Generator, species: Species, seconds: float) -> Bouts:
    """A schedule whose shares of time are the species' shares, rounded to slots by largest remainders."""
    motions = list(species.motions.values())
    slots = max(1, int(seconds / SLOT_SECONDS + 1e-9))
    exact = np.array([motion.share for motion in motions]) * slots
    counts = np.floor(exact).astype(np.int64)
    counts[np.argsort(counts - exact, kind="stable")[: slots - counts.sum()]] += 1
    behaviour, lengths = [], []
    for index, (motion, count) in enumerate(zip(motions, counts, strict=True)):
        bouts = int(np.clip(round(count * SLOT_SECONDS / motion.bout_seconds), min(count, 1), None))
        bouts = max(min(bouts, count // SHORTEST_BOUT), min(count, 1))
        if bouts:
            spare = count - bouts * min(SHORTEST_BOUT, count)
            drawn = min(SHORTEST_BOUT, count) + draw.multinomial(spare, draw.dirichlet(np.full(bouts, 1.5)))
            lengths += drawn.tolist()
            behaviour += [index] * bouts
    order = draw.permutation(len(lengths))
    return Bouts(np.array(behaviour)[order], np.array(lengths)[order] * SLOT_SECONDS)


def _sessions(bouts: Bouts) -> Iterator[tuple[float, Bouts]]:
    """Start in seconds and bouts of each session; a bout over its end is divided."""
    ends = np.cumsum(bouts.seconds)
    for start in np.arange(0.0, ends[-1], SESSION_SECONDS):
        begun, ended = np.clip(ends - bouts.seconds, start, None), np.clip(ends, None, start + SESSION_SECONDS)
        inside = ended > begun
        yield float(start), Bouts(bouts.behaviour[inside], (ended - begun)[inside])


def _session(
    draw: np.random.Generator, species: Species, body: Body, behaviour: NDArray[np.int64], counts: NDArray[np.int64]
) -> Array:
    """Acceleration in g that the sensor writes, [sum(counts), 3]; bout i shows behaviour[i] for counts[i] samples."""
    motions = [list(species.motions.values())[index] for index in behaviour]
    clock = Clock(draw, species.rate_hz, counts)
    grazing_up = clock.often(np.array([motion.chewing if motion.bites_hz > 0.5 else 0.0 for motion in motions]))
    moving = _gait(clock, body, motions)
    jaw = _jaw(clock, species, body, motions, grazing_up)
    jolts = _jolts(clock, body, motions)
    pitch, roll = _posture(clock, body, motions, grazing_up, moving[:, 2])
    gravity = np.stack([np.sin(pitch) * np.cos(roll), -np.sin(roll), np.cos(pitch) * np.cos(roll)], axis=1)
    return _worn(clock, body, gravity + moving + jaw + jolts)


class Clock:
    """The session's time: spreads what is drawn a bout over samples, and draws what changes slowly or suddenly."""

    def __init__(self, draw: np.random.Generator, rate_hz: float, counts: NDArray[np.int64]) -> None:
        self.draw, self.rate_hz, self.counts = draw, rate_hz, counts
        self.samples = int(counts.sum())

    def spread(self, each: Array | list[float]) -> Array:
        """One value a bout to one a sample."""
        return np.repeat(np.asarray(each, dtype=np.float64), self.counts)

    def slow(self, seconds: float) -> Array:
        """A wandering value of deviation 1 that forgets itself in about `seconds`."""
        knots = int(self.samples / self.rate_hz * SLOW_HZ) + 2
        keep = np.exp(-1 / (seconds * SLOW_HZ))
        noise = self.draw.normal(size=knots) * np.sqrt(1 - keep**2)
        noise[0] /= np.sqrt(1 - keep**2)
        wander = lfilter([1.0], [1.0, -keep], noise)
        moments = np.arange(self.samples) * (SLOW_HZ / self.rate_hz)
        return np.asarray(np.interp(moments, np.arange(knots), wander), dtype=np.float64)

    def often(self, share: Array) -> Array:
        """1 for about this share of each bout's time, in spells of some seconds, else 0."""
        ranks = np.argsort(np.argsort(self.slow(4.0))) / max(self.samples - 1, 1)
        return (ranks < self.spread(share)).astype(np.float64)

    def events(self, per_second: Array) -> NDArray[np.int64]:
        """Samples at which random events of this rate happen."""
        return np.flatnonzero(self.draw.random(self.samples) < per_second / self.rate_hz)

    def ring(self, at: NDArray[np.int64], sizes: Array, hz: float, seconds: float) -> Array:
        """[T, 3]: a damped oscillation from each event; `sizes` is [events, 3], in g."""
        hz = min(hz, 0.4 * self.rate_hz)
        pole = np.exp((-1 / seconds + 2j * np.pi * hz) / self.rate_hz)
        kicks = np.zeros((self.samples, 3))
        np.add.at(kicks, at, sizes)
        return np.asarray(lfilter([1.0, -pole.real], [1.0, -2 * pole.real, abs(pole) ** 2], kicks, axis=0))


def _posture(clock: Clock, body: Body, motions: list[Motion], head_up: Array, vertical: Array) -> tuple[Array, Array]:
    """Pitch (down is positive) and roll of the head, radians."""
    draw = clock.draw
    pitch = [draw.normal(motion.pitch + body.posture, motion.pitch_spread) for motion in motions]
    roll = [draw.normal(0, motion.roll_spread) for motion in motions]
    restless = clock.spread([motion.restlessness * draw.lognormal(0, 0.4) for motion in motions])
    # a head takes about half a second to reach a new posture
    settled = [
        gaussian_filter1d(values, 0.25 * clock.rate_hz, truncate=3)
        for values in (clock.spread(pitch) * (1 - 0.7 * head_up), clock.spread(roll))
    ]
    nod = 12 * vertical
    pitch_degrees = settled[0] + restless * clock.slow(2.5) + nod
    roll_degrees = settled[1] + 0.6 * restless * clock.slow(3.0)
    return np.radians(pitch_degrees), np.radians(roll_degrees)


def _gait(clock: Clock, body: Body, motions: list[Motion]) -> Array:
    """[T, 3]: forward, lateral and vertical acceleration of the trunk while it walks, trots or runs."""
    draw = clock.draw
    found = np.zeros((clock.samples, 3))
    speed = np.exp(0.2 * clock.slow(3.0))
    for gait in {motion.gait for motion in motions if motion.gait}:
        mine = clock.spread([float(motion.gait == gait) for motion in motions]) > 0
        bout = [draw.normal(size=2) if motion.gait == gait else np.zeros(2) for motion in motions]
        hz = gait.stride_hz * body.size * clock.spread(np.exp([0.08 * one for one, _ in bout]))[mine]
        size = gait.amplitude * body.vigour * clock.spread(np.exp([gait.spread * two for _, two in bout]))[mine]
        size = size * speed[mine]
        jitter = 1 + 0.25 * draw.normal(size=len(hz)) * np.sqrt(clock.rate_hz / 100)
        phase = np.cumsum(2 * np.pi * hz * np.sqrt(speed[mine]) * jitter / clock.rate_hz)
        shares = np.array(gait.vertical) * body.harmonics[: len(gait.vertical)]
        shares = shares / np.sqrt((shares**2).sum())
        # harmonics over the sensor's band are left out, as its own filter would
        audible = [order for order in range(len(shares)) if (order + 1) * gait.stride_hz < 0.4 * clock.rate_hz]
        found[mine, 2] = size * sum(
            shares[order] * np.cos((order + 1) * phase + body.phases[order]) for order in audible
        )
        found[mine, 1] = gait.sway * size * np.sin(phase + body.phases[4])
        found[mine, 0] = gait.surge * size * np.sin(2 * phase + body.phases[3])
    return found


def _jaw(clock: Clock, species: Species, body: Body, motions: list[Motion], head_up: Array) -> Array:
    """[T, 3]: bites, at irregular intervals and of irregular size, and the even rhythm of chewing."""
    draw = clock.draw
    bites_hz = clock.spread([motion.bites_hz * body.jaw * draw.lognormal(0, 0.25) for motion in motions])
    pace = np.maximum(0, 1 + 0.5 * clock.slow(1.5)) * (1 - head_up)
    counted = np.floor(np.cumsum(bites_hz * pace / clock.rate_hz))
    at = np.flatnonzero(np.diff(counted, prepend=0.0) > 0)
    sizes = (
        body.vigour * draw.lognormal(np.log(0.11), 0.7, (len(at), 1)) * draw.normal((1.0, 0.2, -0.7), 0.5, (len(at), 3))
    )
    ruminates = clock.spread([float(motion.bites_hz == 0 and draw.random() < motion.chewing) for motion in motions])
    # a cud is swallowed now and then, and the jaw rests for some seconds
    chews = (head_up + ruminates * (clock.slow(6.0) > -1)) * 0.035 * body.vigour
    phase = np.cumsum(2 * np.pi * species.chew_hz * body.jaw * np.exp(0.08 * clock.slow(4.0)) / clock.rate_hz)
    chewing = (chews * np.cos(phase))[:, None] * (0.6, 0.5, 1.0)
    return clock.ring(at, sizes, hz=2.6, seconds=0.16) + chewing


def _jolts(clock: Clock, body: Body, motions: list[Motion]) -> Array:
    """[T, 3]: single steps and shifts of weight, ear flicks and head shakes."""
    draw = clock.draw
    found = np.zeros((clock.samples, 3))
    for rates, hz, seconds, size, axes in (
        ([motion.steps_hz for motion in motions], 1.9, 0.3, 0.12, (0.6, 0.7, 1.0)),
        ([motion.shakes_hz for motion in motions], 5.5, 0.25, 0.25, (0.3, 1.0, 0.5)),
    ):
        at = clock.events(clock.spread([rate * draw.lognormal(0, 0.5) for rate in rates]))
        sizes = draw.lognormal(np.log(size * body.vigour), 0.6, (len(at), 1)) * draw.normal(0, axes, (len(at), 3))
        found += clock.ring(at, sizes, hz, seconds)
    return found


def _worn(clock: Clock, body: Body, acceleration: Array) -> Array:
    """What a sensor on the animal's collar writes: turned by the collar, slipping, with noise and drift."""
    draw = clock.draw
    slip = np.radians(draw.normal(0, 8) + 5 * clock.slow(120.0))
    cosine, sine = np.cos(slip), np.sin(slip)
    forward, lateral, vertical = acceleration.T
    slipped = np.stack([forward, cosine * lateral - sine * vertical, sine * lateral + cosine * vertical], axis=1)
    worn = slipped @ body.collar.as_matrix().T
    worn += body.offset + 0.01 * np.stack([clock.slow(300.0) for _ in range(3)], axis=1)
    return worn + body.noise * draw.normal(size=worn.shape)
