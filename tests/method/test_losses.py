"""Eqs. 1 to 4 against sums written out from the paper, closed forms, invariances, gradients, numerics."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from aar_ray.method.losses import consistency_loss, contrastive_loss, joint_loss

FORMS = ["decoupled", "nt_xent"]
ANCHORS = ["originals", "both"]
MARGIN_FORMS = ["hinge", "linear"]
DISTANCES = ["cosine", "euclidean"]


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def cosine(u: list[float], v: list[float]) -> float:
    dot = sum(a * b for a, b in zip(u, v, strict=True))
    return dot / (math.sqrt(sum(a * a for a in u)) * math.sqrt(sum(b * b for b in v)))


def euclidean(u: list[float], v: list[float]) -> float:
    """Between the vectors brought to length 1."""
    length_u, length_v = math.sqrt(sum(a * a for a in u)), math.sqrt(sum(b * b for b in v))
    return math.sqrt(sum((a / length_u - b / length_v) ** 2 for a, b in zip(u, v, strict=True)))


def written_out_contrastive(h: list[list[float]], h_changed: list[list[float]], tau: float, form: str) -> float:
    """Eq. 1, summed sample by sample; anchors are `h`."""
    total = 0.0
    for i in range(len(h)):
        positive = math.exp(cosine(h[i], h_changed[i]) / tau)
        denominator = positive if form == "nt_xent" else 0.0
        for j in range(len(h)):
            if j != i:
                denominator += math.exp(cosine(h[i], h[j]) / tau)
                denominator += math.exp(cosine(h[i], h_changed[j]) / tau)
        total -= math.log(positive / denominator)
    return total / len(h)


def written_out_consistency(z: dict[str, list[list[float]]], margin: float, margin_form: str, distance: str) -> float:
    """Eq. 3, summed sample by sample and pair by pair."""
    d = {"cosine": lambda u, v: 1 - cosine(u, v), "euclidean": euclidean}[distance]
    total = 0.0
    count = len(z["t"])
    for i in range(count):
        for time, frequency in (("T", "f"), ("t", "F"), ("T", "F")):
            term = d(z["t"][i], z["f"][i]) - d(z[time][i], z[frequency][i]) + margin
            total += max(0.0, term) if margin_form == "hinge" else term
    return total / count


@pytest.mark.parametrize("temperature", [0.2, 1.7])
@pytest.mark.parametrize("form", FORMS)
def test_contrastive_loss_is_eq_1(form: str, temperature: float) -> None:
    h, h_changed = draw(7, 5), draw(7, 5, seed=1)
    expected = written_out_contrastive(h.tolist(), h_changed.tolist(), temperature, form)
    assert contrastive_loss(h, h_changed, temperature=temperature, contrastive_form=form).item() == pytest.approx(
        expected, rel=1e-12
    )


@pytest.mark.parametrize("form", FORMS)
def test_both_anchors_average_eq_1_over_originals_and_augmented_views(form: str) -> None:
    h, h_changed = draw(7, 5), draw(7, 5, seed=1)
    expected = [
        written_out_contrastive(*pair, 0.2, form) for pair in itertools.permutations([h.tolist(), h_changed.tolist()])
    ]
    loss = contrastive_loss(h, h_changed, temperature=0.2, contrastive_form=form, anchors="both")
    assert loss.item() == pytest.approx(sum(expected) / 2, rel=1e-12)
    assert expected[0] != pytest.approx(expected[1], rel=1e-3)  # or the test could not tell the anchors apart


def test_collapsed_embeddings_score_the_logarithm_of_the_count_in_the_denominator() -> None:
    same = torch.ones(7, 5, dtype=torch.float64)
    # all cosines are 1: the 2 (B - 1) negatives count, and with NT-Xent the positive too
    assert contrastive_loss(same, same, temperature=0.2).item() == pytest.approx(math.log(12))
    nt_xent = contrastive_loss(same, same, temperature=0.2, contrastive_form="nt_xent")
    assert nt_xent.item() == pytest.approx(math.log(13))


def test_perfect_positives_among_orthogonal_negatives_score_minus_one_over_tau_plus_the_logarithm() -> None:
    unit = torch.eye(5, dtype=torch.float64)
    assert contrastive_loss(unit, unit, temperature=0.2).item() == pytest.approx(math.log(8) - 1 / 0.2)


@pytest.mark.parametrize("anchors", ANCHORS)
@pytest.mark.parametrize("form", FORMS)
def test_contrastive_loss_ignores_order_and_length(form: str, anchors: str) -> None:
    h, h_changed = draw(11, 5), draw(11, 5, seed=1)

    def loss(one: Tensor, other: Tensor) -> Tensor:
        return contrastive_loss(one, other, temperature=0.2, contrastive_form=form, anchors=anchors)

    order = torch.randperm(11, generator=torch.Generator().manual_seed(2))
    lengths = torch.linspace(0.01, 100, 11, dtype=torch.float64)[:, None]
    expected = loss(h, h_changed)
    torch.testing.assert_close(loss(h[order], h_changed[order]), expected)
    torch.testing.assert_close(loss(h * lengths, h_changed / lengths), expected)
    assert abs(loss(h, h_changed[order]) - expected) > 1e-3  # rows of the two views belong together


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("margin_form", MARGIN_FORMS)
def test_consistency_loss_is_eq_3(margin_form: str, distance: str) -> None:
    z = {name: draw(13, 5, seed=seed) for seed, name in enumerate("tTfF")}
    expected = written_out_consistency({name: value.tolist() for name, value in z.items()}, 0.3, margin_form, distance)
    loss = consistency_loss(*z.values(), margin=0.3, margin_form=margin_form, distance=distance)
    assert loss.item() == pytest.approx(expected, rel=1e-6)  # the epsilon under the Euclidean root


def test_consistency_loss_in_closed_form() -> None:
    z = draw(7, 5)
    # all four views alike: each of the three terms is the margin
    assert consistency_loss(z, z, z, z, margin=0.37).item() == pytest.approx(3 * 0.37)
    # originals agree, augmented views are opposite: S^tf = 0, S^Tf = S^tF = 2, S^TF = 0
    assert consistency_loss(z, -z, z, -z, margin=0.37).item() == pytest.approx(0.37)
    assert consistency_loss(z, -z, z, -z, margin=0.37, margin_form="linear").item() == pytest.approx(3 * 0.37 - 4)


@pytest.mark.parametrize("distance", DISTANCES)
def test_consistency_loss_ignores_order_and_length(distance: str) -> None:
    z = [draw(11, 5, seed=seed) for seed in range(4)]
    order = torch.randperm(11, generator=torch.Generator().manual_seed(5))
    expected = consistency_loss(*z, margin=0.5, distance=distance)
    torch.testing.assert_close(consistency_loss(*(v[order] for v in z), margin=0.5, distance=distance), expected)
    scaled = [v * factor for v, factor in zip(z, (0.03, 2, 17, 700), strict=True)]
    torch.testing.assert_close(consistency_loss(*scaled, margin=0.5, distance=distance), expected)


def test_the_margin_moves_the_gradient_under_the_hinge_and_not_under_the_printed_form() -> None:
    def gradient(margin: float, form: str) -> Tensor:
        z = [draw(11, 5, seed=seed).requires_grad_() for seed in range(4)]
        loss = consistency_loss(*z, margin=margin, margin_form=form)
        return torch.stack(torch.autograd.grad(loss, z))

    torch.testing.assert_close(gradient(0.05, "linear"), gradient(0.9, "linear"), rtol=0, atol=0)
    assert not torch.allclose(gradient(0.05, "hinge"), gradient(0.9, "hinge"))


def test_joint_loss_is_eq_4_and_passes_each_term_its_weight() -> None:
    terms = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (2.0, 3.0, 5.0, 7.0)]
    losses = joint_loss(*terms, contrastive_weight=0.3, alignment_weight=0.11)
    assert losses.total.item() == pytest.approx(0.3 * (2 + 3) + 0.7 * 5 + 0.11 * 7)
    assert [losses.time, losses.frequency, losses.consistency, losses.alignment] == terms
    gradients = torch.autograd.grad(losses.total, terms)
    assert [g.item() for g in gradients] == pytest.approx([0.3, 0.3, 0.7, 0.11])


@pytest.mark.parametrize("anchors", ANCHORS)
@pytest.mark.parametrize("form", FORMS)
def test_gradient_of_contrastive_loss(form: str, anchors: str) -> None:
    views = [draw(3, 5, seed=seed).requires_grad_() for seed in range(2)]
    assert torch.autograd.gradcheck(
        lambda h, changed: contrastive_loss(h, changed, temperature=0.2, contrastive_form=form, anchors=anchors), views
    )


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("margin_form", MARGIN_FORMS)
def test_gradient_of_consistency_loss(margin_form: str, distance: str) -> None:
    views = [draw(3, 5, seed=seed).requires_grad_() for seed in range(4)]
    assert torch.autograd.gradcheck(
        lambda *z: consistency_loss(*z, margin=0.5, margin_form=margin_form, distance=distance), views
    )


def awkward_embeddings(batch: int, kind: str) -> tuple[Tensor, Tensor]:
    one = draw(batch, 13, dtype=torch.float32)
    return {
        "random": lambda: (one, draw(batch, 13, seed=1, dtype=torch.float32)),
        "collapsed": lambda: (torch.ones_like(one), torch.ones_like(one)),
        "zero": lambda: (torch.zeros_like(one), torch.zeros_like(one)),
        "opposite": lambda: (one, -one),
        "tiny and huge": lambda: (one * 1e-15, one * 1e15),
    }[kind]()


@pytest.mark.parametrize("kind", ["random", "collapsed", "zero"])
def test_a_batch_of_4096_is_finite_at_the_lowest_temperature(kind: str) -> None:
    views = [view.requires_grad_() for view in awkward_embeddings(4096, kind)]
    loss = contrastive_loss(*views, temperature=0.01)
    assert all(value.isfinite().all() for value in (loss, *torch.autograd.grad(loss, views)))


@pytest.mark.parametrize("kind", ["random", "collapsed", "zero", "opposite", "tiny and huge"])
@pytest.mark.parametrize("batch", [2, 17, 512])
def test_losses_and_gradients_are_finite_in_float32(batch: int, kind: str) -> None:
    for temperature, form, anchors in itertools.product((0.01, 0.2, 10.0), FORMS, ANCHORS):
        views = [view.requires_grad_() for view in awkward_embeddings(batch, kind)]
        loss = contrastive_loss(*views, temperature=temperature, contrastive_form=form, anchors=anchors)
        assert all(value.isfinite().all() for value in (loss, *torch.autograd.grad(loss, views)))
    for margin_form, distance in itertools.product(MARGIN_FORMS, DISTANCES):
        one, other = awkward_embeddings(batch, kind)
        z = [view.clone().requires_grad_() for view in (one, other, other, one)]
        loss = consistency_loss(*z, margin=0.5, margin_form=margin_form, distance=distance)
        assert all(value.isfinite().all() for value in (loss, *torch.autograd.grad(loss, z)))


def test_similarities_stay_in_float32_under_autocast_and_for_bfloat16_embeddings() -> None:
    h, h_changed = draw(17, 13, dtype=torch.float32), draw(17, 13, seed=1, dtype=torch.float32)
    expected = contrastive_loss(h, h_changed, temperature=0.01, anchors="both")
    precise = contrastive_loss(h.double(), h_changed.double(), temperature=0.01, anchors="both")
    assert expected.item() == pytest.approx(precise.item(), rel=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(contrastive_loss(h, h_changed, temperature=0.01, anchors="both"), expected)
    rounded = [view.bfloat16() for view in (h, h_changed)]
    exact = contrastive_loss(*(view.float() for view in rounded), temperature=0.01)
    assert torch.equal(contrastive_loss(*rounded, temperature=0.01), exact)
    assert consistency_loss(*rounded, *rounded, margin=0.5).dtype == torch.float32


def test_a_batch_of_one_and_a_temperature_of_zero_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 windows in a batch, got 1"):
        contrastive_loss(draw(1, 5), draw(1, 5), temperature=0.2)
    for temperature in (0.0, -0.2, math.nan):
        with pytest.raises(ValueError, match="temperature must be above 0"):
            contrastive_loss(draw(2, 5), draw(2, 5), temperature=temperature)
