"""The encoder against eq. 6, attention head by head, and torch's own Transformer layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aar_ray.method.encoder import PatchTSTEncoder, SelfAttention, TokenBatchNorm, TransformerLayer
from aar_ray.method.layers import mixed_values, plainly_mixed_values
from aar_ray.method.patches import cut_patches

AXES, LENGTH, HEADS, SIZE = 3, 23, 2, 14


def build(**changes: Any) -> PatchTSTEncoder:
    settings = {
        "patch_length": 7,
        "patch_stride": 3,
        "model_size": SIZE,
        "layers": 2,
        "heads": HEADS,
        "feedforward_size": 11,
        "dropout": 0.0,
        "normalisation": "layer",
        "norm_position": "pre",
        "positions": "learned",
        **changes,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return PatchTSTEncoder(LENGTH, **settings).double()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def written_out_linear(layer: nn.Linear, vector: list[float]) -> list[float]:
    return [
        sum(w * v for w, v in zip(row, vector, strict=True)) + b
        for row, b in zip(layer.weight.tolist(), layer.bias.tolist(), strict=True)
    ]


def written_out_attention(attention: SelfAttention, tokens: list[list[float]]) -> list[list[float]]:
    """softmax(Q K^T / sqrt(d)) V, head by head and token by token."""
    size = len(tokens[0])
    width = size // attention.heads
    projected = [written_out_linear(attention.query_key_value, token) for token in tokens]
    mixed: list[list[float]] = [[] for _ in tokens]
    for head in range(attention.heads):
        query, key, value = (
            [row[part * size + head * width : part * size + (head + 1) * width] for row in projected]
            for part in range(3)
        )
        for n in range(len(tokens)):
            scores = [sum(q * k for q, k in zip(query[n], other, strict=True)) / math.sqrt(width) for other in key]
            shares = [math.exp(score) / sum(map(math.exp, scores)) for score in scores]
            mixed[n] += [sum(s * v[i] for s, v in zip(shares, value, strict=True)) for i in range(width)]
    return [written_out_linear(attention.output, token) for token in mixed]


@pytest.mark.parametrize("positions", ["learned", "sincos"])
def test_tokens_are_eq_6(positions: str) -> None:
    encoder = build(layers=0, norm_position="post", positions=positions)
    series = draw(2, AXES, LENGTH)
    patches = cut_patches(series, patch_length=7, patch_stride=3)
    position = encoder.positions.tolist()
    expected = [
        [
            [
                [a + b for a, b in zip(written_out_linear(encoder.patch_projection, patch), w_pos, strict=True)]
                for patch, w_pos in zip(axis, position, strict=True)
            ]
            for axis in window
        ]
        for window in patches.tolist()
    ]
    torch.testing.assert_close(encoder(series), torch.tensor(expected, dtype=torch.float64))


def test_learned_positions_are_one_trained_vector_a_patch() -> None:
    encoder = build()
    assert encoder.positions.shape == ((LENGTH - 7) // 3 + 2, SIZE)
    assert encoder.positions.requires_grad
    assert encoder.positions.std() > 0.01  # not equal for all patches


@pytest.mark.parametrize("size", [14, 13], ids=["even", "odd"])
def test_sincos_positions_are_fixed_sines_and_cosines(size: int) -> None:
    encoder = build(positions="sincos", model_size=size, heads=1)
    expected = [
        [(math.cos if i % 2 else math.sin)(n / 10_000 ** ((i - i % 2) / size)) for i in range(size)]
        for n in range(encoder.patches)
    ]
    torch.testing.assert_close(encoder.positions.data, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-6)
    assert not encoder.positions.requires_grad


def test_attention_is_softmax_of_scaled_products_for_each_head() -> None:
    attention = SelfAttention(SIZE, HEADS).double()
    # another number of tokens than a head has features, so that the root is of the right one
    tokens = 3 * draw(5, 6, SIZE)
    expected = [written_out_attention(attention, series) for series in tokens.tolist()]
    torch.testing.assert_close(attention(tokens), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_layer_equals_torchs_transformer_layer(norm_position: str) -> None:
    layer = TransformerLayer(SIZE, HEADS, 11, 0.0, "layer", norm_position).double()
    for norm in (layer.attention_norm, layer.feedforward_norm):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    torchs = nn.TransformerEncoderLayer(
        SIZE, HEADS, 11, dropout=0.0, activation="gelu", batch_first=True, norm_first=norm_position == "pre"
    ).double()
    names = {
        "self_attn.in_proj_weight": "attention.query_key_value.weight",
        "self_attn.in_proj_bias": "attention.query_key_value.bias",
        "self_attn.out_proj.weight": "attention.output.weight",
        "self_attn.out_proj.bias": "attention.output.bias",
        "linear1.weight": "feedforward.0.weight",
        "linear1.bias": "feedforward.0.bias",
        "linear2.weight": "feedforward.3.weight",
        "linear2.bias": "feedforward.3.bias",
        "norm1.weight": "attention_norm.weight",
        "norm1.bias": "attention_norm.bias",
        "norm2.weight": "feedforward_norm.weight",
        "norm2.bias": "feedforward_norm.bias",
    }
    ours = layer.state_dict()
    torchs.load_state_dict({theirs: ours[name] for theirs, name in names.items()})
    tokens = draw(5, 7, SIZE)
    torch.testing.assert_close(layer(tokens), torchs(tokens))


@pytest.mark.parametrize("norm_position", ["pre", "post"])
def test_encoded_tokens_leave_normalised(norm_position: str) -> None:
    tokens = build(norm_position=norm_position)(10 * draw(5, AXES, LENGTH))
    torch.testing.assert_close(tokens.mean(dim=-1), torch.zeros_like(tokens[..., 0]))
    torch.testing.assert_close(tokens.square().mean(dim=-1), torch.ones_like(tokens[..., 0]), rtol=0, atol=1e-3)


def test_batch_norm_takes_each_feature_over_all_tokens_of_the_batch() -> None:
    norm = TokenBatchNorm(5).double()
    tokens = 3 + 2 * draw(7, 11, 5)
    rows = [token for series in tokens.tolist() for token in series]
    expected = []
    for feature in range(5):
        column = [row[feature] for row in rows]
        mean = sum(column) / len(column)
        variance = sum((value - mean) ** 2 for value in column) / len(column)
        expected.append([(value - mean) / math.sqrt(variance + norm.eps) for value in column])
    torch.testing.assert_close(norm(tokens).flatten(0, 1).T, torch.tensor(expected, dtype=torch.float64))


def test_batch_normalisation_reaches_every_norm_of_the_encoder() -> None:
    norms = [m for m in build(normalisation="batch").modules() if isinstance(m, (nn.LayerNorm, nn.BatchNorm1d))]
    assert [type(norm) for norm in norms] == [TokenBatchNorm] * 5


@pytest.mark.parametrize("norm_position", ["pre", "post"])
@pytest.mark.parametrize("normalisation", ["layer", "batch"])
def test_axes_share_all_weights_and_do_not_see_each_other(normalisation: str, norm_position: str) -> None:
    encoder = build(normalisation=normalisation, norm_position=norm_position).eval()
    series = draw(5, AXES, LENGTH)
    encoded = encoder(series)
    torch.testing.assert_close(encoder(series[:, [2, 0, 1]]), encoded[:, [2, 0, 1]])
    changed = series.clone()
    changed[:, 1] = draw(5, LENGTH, seed=1)
    torch.testing.assert_close(encoder(changed)[:, [0, 2]], encoded[:, [0, 2]])
    assert not torch.allclose(encoder(changed)[:, 1], encoded[:, 1])


@pytest.mark.parametrize("normalisation", ["layer", "batch"])
def test_in_evaluation_a_window_is_encoded_alike_in_every_batch(normalisation: str) -> None:
    encoder = build(normalisation=normalisation).eval()
    series = draw(7, AXES, LENGTH)
    alone = torch.cat([encoder(series[i : i + 1]) for i in range(7)])
    torch.testing.assert_close(encoder(series), alone)
    order = [3, 0, 6, 1, 5, 2, 4]
    torch.testing.assert_close(encoder(series[order]), alone[order])


def test_layer_norm_keeps_windows_apart_in_training_too_and_batch_norm_does_not() -> None:
    series = draw(7, AXES, LENGTH)
    changed = torch.cat([series[:1], draw(6, AXES, LENGTH, seed=1)])
    layer, batch = build().train(), build(normalisation="batch").train()
    torch.testing.assert_close(layer(changed)[0], layer(series)[0])
    assert not torch.allclose(batch(changed)[0], batch(series)[0])


def test_patches_see_each_other_and_know_their_place() -> None:
    encoder = build()
    series = draw(1, 1, LENGTH)
    changed = series.clone()
    changed[..., 0] += 1  # inside the first patch only
    assert ((encoder(changed) - encoder(series)).abs().amax(dim=-1) > 1e-6).all()
    flat = encoder(torch.ones(1, 1, LENGTH, dtype=torch.float64))[0, 0]  # equal patches, told apart by position
    assert torch.pdist(flat).min() > 1e-3


def test_dropout_draws_in_training_and_rests_in_evaluation() -> None:
    encoder = build(dropout=0.3)
    series = draw(2, AXES, LENGTH)
    assert not torch.equal(encoder(series), encoder(series))
    assert torch.equal(encoder.eval()(series), encoder(series))
    torch.testing.assert_close(build().train()(series), encoder(series))


def test_dropout_stands_after_the_embedding_inside_the_feedforward_network_and_after_each_sub_layer() -> None:
    encoder = build(dropout=0.3)
    calls: list[nn.Module] = []
    places = [module for module in encoder.modules() if isinstance(module, nn.Dropout)]
    for place in places:
        place.register_forward_hook(lambda module, *_: calls.append(module))
    encoder(draw(2, AXES, LENGTH))
    assert [place.p for place in places] == [0.3] * 5
    assert sorted(map(calls.count, places)) == [1, 1, 1, 2, 2]  # once a step; after both sub-layers of two layers


@pytest.mark.parametrize("norm_position", ["pre", "post"])
@pytest.mark.parametrize("normalisation", ["layer", "batch"])
def test_gradient_of_the_encoder(normalisation: str, norm_position: str) -> None:
    encoder = build(
        normalisation=normalisation, norm_position=norm_position, layers=1, model_size=4, feedforward_size=3
    )
    names, weights = zip(*encoder.named_parameters(), strict=True)
    weights = tuple(weight.detach().requires_grad_() for weight in weights)

    def mean_tokens(series: Tensor, *weights: Tensor) -> Tensor:
        return torch.func.functional_call(encoder, dict(zip(names, weights, strict=True)), (series,)).mean(dim=2)

    assert torch.autograd.gradcheck(mean_tokens, (draw(2, 2, LENGTH).requires_grad_(), *weights), fast_mode=True)


def test_a_patch_longer_than_the_series_is_refused() -> None:
    with pytest.raises(ValueError, match="patch_length must be at most the 23 values"):
        build(patch_length=29)


@pytest.mark.parametrize("form", [mixed_values, plainly_mixed_values])
@pytest.mark.parametrize(("dtype", "rounding"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_attention_and_its_gradient_are_the_formula_but_for_rounding(
    form: Callable[[Tensor], Tensor], dtype: torch.dtype, rounding: float
) -> None:
    generator = torch.Generator().manual_seed(1)
    projected = 2 * torch.randn(5, 11, 3, 2, 7, generator=generator, dtype=torch.float64)
    weight = torch.randn(5, 11, 2, 7, generator=generator, dtype=torch.float64)
    exact, given = projected.clone().requires_grad_(), projected.to(dtype).requires_grad_()
    query, key, value = exact.unbind(2)  # each [rows, tokens, heads, size]
    shares = (torch.einsum("rthd,rshd->rhts", query, key) / math.sqrt(7)).softmax(dim=-1)
    expected, mixed = torch.einsum("rhts,rshd->rthd", shares, value), form(given)
    assert mixed.dtype == dtype
    # in the mean: a scale of √11 in place of √7 gives 0.1
    assert (mixed.double() - expected).abs().mean() < rounding
    (slope,) = torch.autograd.grad((expected * weight).sum(), exact)
    (found,) = torch.autograd.grad((mixed * weight.to(dtype)).sum(), given)
    assert found.dtype == dtype
    assert (found.double() - slope).abs().mean() < rounding
