"""A Gaussian process over settings: what a setting would score, and how sure that is, from all scores so far.

Small and exact: a study has at most some hundred trials. Points lie in the unit cube of the space's parameters; a
choice is a block of columns, one for each of its values.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular
from scipy.special import ndtr

Array = NDArray[np.float64]

SCALES = (0.1, 0.25, 0.6, 1.2, 3.0, 8.0)
"""Length scales that a parameter can have, in units of its range: 8 means that it hardly matters."""
NOISES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Variances of one fold's score around its setting's mean, as shares of the variance over settings."""
TYPICAL, SPREAD = 0.6, 1.0
"""Median and log-deviation of the scales' prior: without it, five trials fit anything."""
FITTED = 64
"""Points that the scales are chosen on at most: they change little after that, and the cost grows with the cube."""
APART = 0.7
"""Between two values of a choice, as a share of a range."""
MOVE, MOVE_TWO, ANEW = 0.12, 0.4, 0.3
"""A neighbour's step (deviation), and the chances that two coordinates move, and that one is drawn anew."""


class Cube:
    """The unit cube in which settings are points; a coordinate is a share of a range, or of a list of choices."""

    def __init__(self, choices: Sequence[int | None]) -> None:
        """`choices` is, for each coordinate, the number of choices, or None for a range."""
        self.choices = tuple(choices)

    def random(self, draw: np.random.Generator, count: int) -> Array:
        """[count, coordinates], uniform."""
        return draw.random((count, len(self.choices)))

    def near(self, draw: np.random.Generator, point: Array, count: int, free: Sequence[int] | None = None) -> Array:
        """[count, coordinates] around a point: one or two of the `free` coordinates are moved a little, or anew."""
        points = np.repeat(point[None], count, axis=0)
        columns = np.arange(len(point)) if free is None else np.asarray(free)
        for row in points:
            for column in draw.permutation(columns)[: 1 + int(draw.random() < MOVE_TWO)]:
                if self.choices[column] is not None or draw.random() < ANEW:
                    row[column] = draw.random()
                else:
                    row[column] = np.clip(row[column] + draw.normal(0, MOVE), 0, 1)
        return points

    def blocks(self, points: Array) -> list[Array]:
        """One [n, columns] block a coordinate, between whose rows distances are taken."""
        return [
            points[:, [column]]
            if size is None
            else np.eye(size)[_index(points[:, column], size)] * (APART / np.sqrt(2))
            for column, size in enumerate(self.choices)
        ]


def _index(shares: Array, size: int) -> NDArray[np.intp]:
    return np.minimum((shares * size).astype(np.intp), size - 1)


class GaussianProcess:
    """Matérn 5/2 with a length scale for each parameter, and noise that falls with the number of folds.

    Scales and noise are those of a grid that make the scores most likely under the prior, one at a time.
    """

    def __init__(self, cube: Cube, points: Array, values: Array, folds: Array) -> None:
        """Fit.

        Args:
            cube: whose points they are.
            points: [n, parameters], n >= 2.
            values: [n], scores.
            folds: [n], how many folds each score is the mean of.
        """
        self.cube, self.points = cube, points
        self.centre, self.scale = float(values.mean()), float(values.std()) or 1.0
        standard = (values - self.centre) / self.scale
        chosen = _spread_out(standard, FITTED)
        self.scales, self.noise = self._chosen(points[chosen], standard[chosen], folds[chosen])
        self._condition(standard, folds)

    def _condition(self, standard: Array, folds: Array) -> None:
        self._standard, self._folds = standard, folds
        kernel = self._kernel(self.points, self.points) + np.diag(self.noise / folds)
        self._root = np.linalg.cholesky(kernel)
        self._weights: Array = cho_solve((self._root, True), standard)

    def extended(self, points: Array, values: Array) -> GaussianProcess:
        """The same process with further scores of one fold each; scales and noise stay as they are."""
        further = copy.copy(self)
        further.points = np.concatenate([self.points, points])
        further._condition(
            np.concatenate([self._standard, (values - self.centre) / self.scale]),
            np.concatenate([self._folds, np.ones(len(points))]),
        )
        return further

    def predict(self, points: Array) -> tuple[Array, Array]:
        """Mean and deviation of what settings would score over ever more folds; [m] each."""
        kernel = self._kernel(points, self.points)
        reduced = solve_triangular(self._root, kernel.T, lower=True)
        variance = np.maximum(1 - np.square(reduced).sum(axis=0), 1e-9)
        return self.centre + self.scale * (kernel @ self._weights), self.scale * np.sqrt(variance)

    def of_mean(self, points: Array, values: Array, folds: Array, all_folds: int) -> tuple[Array, Array]:
        """Mean and deviation of settings' scores over all folds, of which some are there; [m] each.

        The folds that are there count as they are, those that are missing as predicted, each with its own noise.

        Args:
            points: [m, parameters].
            values: [m], means of the scores that are there.
            folds: [m], how many those are.
            all_folds: how many there will be.
        """
        mean, deviation = self.predict(points)
        missing = all_folds - folds
        noise = self.noise * self.scale**2 / np.maximum(missing, 1)
        return (folds * values + missing * mean) / all_folds, missing / all_folds * np.sqrt(deviation**2 + noise)

    def _kernel(self, one: Array, other: Array) -> Array:
        pairs = zip(self.cube.blocks(one), self.cube.blocks(other), self.scales, strict=True)
        return _matern(sum((_squared(a, b) / scale**2 for a, b, scale in pairs), np.zeros((len(one), len(other)))))

    def _chosen(self, points: Array, values: Array, folds: Array) -> tuple[list[float], float]:
        blocks = self.cube.blocks(points)
        squared = np.array([_squared(block, block) for block in blocks])

        def badness(scales: Sequence[float], noise: float) -> float:
            prior = 0.5 * np.square(np.log(np.asarray(scales) / TYPICAL) / SPREAD).sum()
            kernel = _matern(np.tensordot(1 / np.square(scales), squared, 1)) + np.diag(noise / folds)
            root = np.linalg.cholesky(kernel)
            fitted = solve_triangular(root, values, lower=True)
            return float(0.5 * fitted @ fitted + np.log(np.diag(root)).sum() + prior)

        scales, noise = [TYPICAL] * len(blocks), 0.1
        least = badness(scales, noise)
        for _ in range(2):
            least, noise = _better(least, noise, NOISES, lambda value: badness(scales, value))
            for index in range(len(scales)):

                def with_scale(value: float, index: int = index, noise: float = noise) -> float:
                    return badness([*scales[:index], value, *scales[index + 1 :]], noise)

                least, scales[index] = _better(least, scales[index], SCALES, with_scale)
        return scales, noise


def expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """E max(0, score - best) under a normal distribution."""
    above = (mean - best) / deviation
    density = np.exp(-0.5 * above**2) / np.sqrt(2 * np.pi)
    return np.asarray(deviation * (above * ndtr(above) + density))


def _better(
    least: float, present: float, values: Sequence[float], badness: Callable[[float], float]
) -> tuple[float, float]:
    """The least badness and its value, among a grid's neighbours of the present value."""
    near = sorted(values, key=lambda value: abs(np.log(value / present)))[:4]
    found = [(badness(value), value) for value in near if value != present]
    return min([(least, present), *found])


def _spread_out(values: Array, count: int) -> NDArray[np.intp]:
    """Indices of at most `count` points, even over the ranks of their values, the best one included."""
    order = np.argsort(-values, kind="stable")
    if len(order) <= count:
        return order
    return order[np.unique(np.linspace(0, len(order) - 1, count).round().astype(int))]


def _squared(one: Array, other: Array) -> Array:
    return np.square(one[:, None, :] - other[None, :, :]).sum(axis=-1)


def _matern(squared: Array) -> Array:
    root = np.sqrt(5 * squared)
    return (1 + root + root**2 / 3) * np.exp(-root)
