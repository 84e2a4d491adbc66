"""Patches against eq. 5 written out by index."""

from __future__ import annotations

import pytest
import torch

from aar_ray.method.patches import cut_patches, ends_in_padding, patch_count

# L, P, S: a remainder, none, stride equal to the patch, one patch that fills the series, single steps, METHOD's own
SIZES = [(23, 7, 3), (23, 8, 5), (29, 5, 5), (13, 13, 11), (11, 2, 1), (50, 8, 4), (26, 8, 4)]


@pytest.mark.parametrize(("length", "patch_length", "patch_stride"), SIZES)
def test_patch_n_holds_the_values_from_n_strides_on_with_the_last_value_repeated(
    length: int, patch_length: int, patch_stride: int
) -> None:
    series = torch.arange(2.0 * 3 * length).reshape(2, 3, length)

    patches = cut_patches(series, patch_length=patch_length, patch_stride=patch_stride)

    count = int((length - patch_length) / patch_stride) + 2  # eq. 5
    expected = [
        [
            [[row[min(n * patch_stride + i, length - 1)] for i in range(patch_length)] for n in range(count)]
            for row in window
        ]
        for window in series.tolist()
    ]
    assert patches.tolist() == expected
    assert patch_count(length, patch_length, patch_stride) == count


def test_the_end_of_the_series_is_seen_even_where_the_stride_leaves_a_remainder() -> None:
    for length in range(7, 31):
        series = torch.arange(float(length)).reshape(1, 1, length)
        assert cut_patches(series, patch_length=7, patch_stride=3).max() == length - 1


def test_a_stride_equal_to_the_patch_that_divides_the_rest_leaves_a_last_patch_of_padding_only() -> None:
    patches = cut_patches(torch.arange(15.0).reshape(1, 1, 15), patch_length=5, patch_stride=5)
    assert patches[0, 0, -1].tolist() == [14.0] * 5


def test_a_patch_longer_than_the_series_is_refused_with_both_lengths() -> None:
    with pytest.raises(ValueError, match="at most the 11 values of the series, got 13"):
        cut_patches(torch.zeros(1, 3, 11), patch_length=13, patch_stride=2)


def test_the_last_patch_is_padding_alone_where_none_of_its_samples_is_the_series_own() -> None:
    found = set()
    for length in (23, 26, 50):
        for patch_length in range(2, 14):
            for patch_stride in range(1, patch_length + 1):
                last = int((length - patch_length) / patch_stride) + 1  # counted from 0, eq. 5
                alone = all(last * patch_stride + i >= length for i in range(patch_length))
                assert ends_in_padding(length, patch_length, patch_stride) == alone
                found.add(alone)
    assert found == {True, False}
