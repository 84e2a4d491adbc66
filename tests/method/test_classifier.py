"""The head against eq. 7 in both readings, written out by index."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from aar_ray.method.classifier import Classifier, Head
from aar_ray.method.encoder import PatchTSTEncoder

AXES, SIZE, FUSED, CLASSES = 3, 7, 11, 5
CONVOLUTIONS = ["per_axis", "across_axes", "none"]


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def gelu(x: float) -> float:
    return x * (1 + math.erf(x / math.sqrt(2))) / 2


def written_out_fusion(grid: list[list[float]], depthwise: nn.Conv1d, pointwise: nn.Conv1d) -> list[list[float]]:
    """GELU(Conv1x1(Conv1x3)) of [channels][places]: each channel along its places, then all channels at a place."""
    channels, places = len(grid), len(grid[0])
    kernel, kernel_bias = depthwise.weight[:, 0].tolist(), depthwise.bias.tolist()
    mixing, mixing_bias = pointwise.weight[:, :, 0].tolist(), pointwise.bias.tolist()
    along = [
        [
            kernel_bias[c] + sum(kernel[c][k] * grid[c][place + k - 1] for k in range(3) if 0 <= place + k - 1 < places)
            for place in range(places)
        ]
        for c in range(channels)
    ]
    return [
        [gelu(bias + sum(row[c] * along[c][place] for c in range(channels))) for place in range(places)]
        for row, bias in zip(mixing, mixing_bias, strict=True)
    ]


def written_out_logits(head: Head, grid: list[list[float]]) -> list[float]:
    flat = [value for row in grid for value in row]
    return [
        bias + sum(w * value for w, value in zip(row, flat, strict=True))
        for row, bias in zip(head.linear.weight.tolist(), head.linear.bias.tolist(), strict=True)
    ]


def test_per_axis_convolves_each_axis_along_its_features_and_then_mixes_the_axes() -> None:
    head = Head(AXES, SIZE, CLASSES, convolution="per_axis").double()
    features = draw(2, AXES, SIZE)
    depthwise, pointwise = (part for part in head.fusion if isinstance(part, nn.Conv1d))
    expected = [written_out_logits(head, written_out_fusion(f, depthwise, pointwise)) for f in features.tolist()]
    torch.testing.assert_close(head(features), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("fused_size", [FUSED, None])
def test_across_axes_convolves_each_feature_over_the_axes_and_then_mixes_the_features(fused_size: int | None) -> None:
    head = Head(AXES, SIZE, CLASSES, convolution="across_axes", fused_size=fused_size).double()
    features = draw(2, AXES, SIZE)
    depthwise, pointwise = (part for part in head.fusion if isinstance(part, nn.Conv1d))
    expected = [
        written_out_logits(head, written_out_fusion(f, depthwise, pointwise)) for f in features.transpose(1, 2).tolist()
    ]
    torch.testing.assert_close(head(features), torch.tensor(expected, dtype=torch.float64))
    assert head.linear.in_features == AXES * (fused_size or SIZE)


def test_without_convolution_the_head_is_one_linear_layer() -> None:
    head = Head(AXES, SIZE, CLASSES, convolution="none").double()
    features = draw(2, AXES, SIZE)
    expected = [written_out_logits(head, f) for f in features.tolist()]
    torch.testing.assert_close(head(features), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_gradient_of_the_head(convolution: str) -> None:
    head = Head(AXES, 5, 2, convolution=convolution).double()
    names, weights = zip(*head.named_parameters(), strict=True)
    weights = tuple(weight.detach().requires_grad_() for weight in weights)

    def logits(features: Tensor, *weights: Tensor) -> Tensor:
        return torch.func.functional_call(head, dict(zip(names, weights, strict=True)), (features,))

    assert torch.autograd.gradcheck(logits, (draw(2, AXES, 5).requires_grad_(), *weights))


@pytest.mark.parametrize("convolution", CONVOLUTIONS)
def test_every_axis_reaches_every_logit(convolution: str) -> None:
    head = Head(AXES, SIZE, CLASSES, convolution=convolution).double()
    features = draw(1, AXES, SIZE)
    for axis in range(AXES):
        changed = features.clone()
        changed[:, axis] += 1
        assert ((head(changed) - head(features)).abs() > 1e-9).all()


def test_dropout_stands_before_the_linear_layer_and_rests_in_evaluation() -> None:
    head = Head(AXES, SIZE, CLASSES, convolution="per_axis", dropout=0.4).double()
    features = draw(2, AXES, SIZE)
    assert not torch.equal(head(features), head(features))
    seen: list[Tensor] = []
    head.linear.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    head(features)
    fused = head.fusion(features).flatten(1)
    kept = seen[0] != 0
    assert 0 < kept.sum() < kept.numel()
    torch.testing.assert_close(seen[0][kept], fused[kept] / 0.6)
    assert torch.equal(head.eval()(features), head(features))


def test_classifier_is_the_head_on_the_mean_over_patches() -> None:
    encoder = PatchTSTEncoder(
        23,
        patch_length=5,
        patch_stride=3,
        model_size=SIZE,
        layers=1,
        heads=1,
        feedforward_size=13,
        dropout=0.0,
        normalisation="layer",
        norm_position="pre",
        positions="learned",
    )
    classifier = Classifier(encoder, Head(AXES, SIZE, CLASSES, convolution="per_axis")).double()
    windows = draw(2, AXES, 23)
    tokens = encoder(windows)
    mean = sum(tokens[:, :, n] for n in range(tokens.shape[2])) / tokens.shape[2]
    torch.testing.assert_close(classifier.features(windows), mean)
    torch.testing.assert_close(classifier(windows), classifier.head(mean))
