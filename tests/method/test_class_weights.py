"""Class weights against Cui et al.'s formula and its limits."""

from __future__ import annotations

import numpy as np
import pytest

from aar_ray.method.class_weights import class_weights

COUNTS = np.array([997, 401, 19, 3, 1])


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.999, 0.99999])
def test_effective_number_is_the_geometric_sum_of_beta(beta: float) -> None:
    effective = [sum(beta**k for k in range(n)) for n in COUNTS.tolist()]  # (1 - beta^n) / (1 - beta)
    total = sum(1 / e for e in effective)
    expected = [len(COUNTS) / (e * total) for e in effective]
    weights = class_weights(COUNTS, class_weights="effective_number", class_balance_beta=beta)
    np.testing.assert_allclose(weights, expected, rtol=1e-9)


def test_beta_0_weighs_all_alike_and_beta_towards_1_by_inverse_frequency() -> None:
    none = class_weights(COUNTS, class_weights="none", class_balance_beta=0.5)
    inverse = class_weights(COUNTS, class_weights="inverse_frequency", class_balance_beta=0.5)
    np.testing.assert_array_equal(none, np.ones(5))
    np.testing.assert_allclose(inverse * COUNTS, np.full(5, (inverse * COUNTS)[0]))
    low = class_weights(COUNTS, class_weights="effective_number", class_balance_beta=0.0)
    high = class_weights(COUNTS, class_weights="effective_number", class_balance_beta=1 - 1e-9)
    np.testing.assert_allclose(low, none)
    np.testing.assert_allclose(high, inverse, rtol=1e-4)


@pytest.mark.parametrize("kind", ["effective_number", "inverse_frequency", "none"])
def test_weights_sum_to_the_number_of_classes_and_an_absent_class_weighs_nothing(kind: str) -> None:
    weights = class_weights(np.array([7, 0, 311]), class_weights=kind, class_balance_beta=0.99)
    assert weights.sum() == pytest.approx(3)
    assert weights[1] == 0
    assert weights[0] >= weights[2] > 0


def test_no_window_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one training window"):
        class_weights(np.zeros(5, dtype=np.int64), class_weights="none", class_balance_beta=0.9)
