"""A linear layer's product and gradients, whichever library takes it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import linear

from aar_ray.method import products
from aar_ray.method.products import product

SHAPES = {
    "one model": ((7, 13, 37), (41, 37), (41,)),
    "wide": ((97, 37), (131, 37), (131,)),
    "narrow": ((97, 131), (37, 131), (37,)),
    "few rows": ((3, 37), (41, 37), (41,)),
    "short": ((97, 5), (41, 5), (41,)),
    "many models": ((3, 7, 13, 37), (3, 41, 37), (3, 41)),
    "many models, short": ((3, 97, 5), (3, 41, 5), (3, 41)),
}


@pytest.fixture(params=["oneDNN", "torch's own"], autouse=True)
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of them, also where the other one is faster."""
    onednn = getattr(torch.ops.mkldnn, "_linear_pointwise", None) if request.param == "oneDNN" else None
    if request.param == "oneDNN" and onednn is None:
        pytest.skip("torch has no oneDNN here")
    monkeypatch.setattr(products, "_onednn", onednn)


def drawn(shapes: tuple[tuple[int, ...], ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def by_definition(inputs: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    if weight.dim() == 2:
        return linear(inputs, weight, bias)
    return torch.stack([linear(*own) for own in zip(inputs, weight, bias, strict=True)])


def value_and_gradients(form: Callable[..., Tensor], values: list[Tensor], sent: Tensor) -> list[Tensor]:
    values = [value.detach().requires_grad_() for value in values]
    result = form(*values)
    return [result.detach(), *torch.autograd.grad(result, values, sent.to(result.dtype).expand_as(result))]


@pytest.mark.parametrize("shapes", SHAPES.values(), ids=SHAPES)
def test_value_and_gradients_are_the_definitions(shapes: tuple[tuple[int, ...], ...]) -> None:
    values = drawn(shapes)
    (sent,) = drawn(((*shapes[0][:-1], shapes[1][-2]),))
    expected = value_and_gradients(by_definition, values, sent)
    found = value_and_gradients(product, [value.float() for value in values], sent)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-5, atol=1e-4)
    for one, other in zip(value_and_gradients(product, values, sent), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def test_one_number_may_be_sent_to_all_results() -> None:
    values = drawn(SHAPES["many models"])
    one = torch.ones(())
    for found, expected in zip(
        value_and_gradients(product, [value.float() for value in values], one),
        value_and_gradients(by_definition, values, one),
        strict=True,
    ):
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-4)


def test_inputs_may_lie_otherwise_in_memory() -> None:
    inputs, weight, bias = (value.float() for value in drawn(((37, 97), (41, 37), (41,))))
    torch.testing.assert_close(product(inputs.t(), weight, bias), linear(inputs.t(), weight, bias))


def test_weights_alone_can_be_trained() -> None:
    inputs, weight, bias = (value.float() for value in drawn(SHAPES["wide"]))
    weight.requires_grad_()
    product(inputs, weight, bias).sum().backward()
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, inputs.sum(dim=0).expand_as(weight), rtol=1e-5, atol=1e-4)


def test_a_model_gets_what_it_gets_alone() -> None:
    inputs, weight, bias = (value.float() for value in drawn(SHAPES["many models"]))
    together = product(inputs, weight, bias)
    alone = [product(*own) for own in zip(inputs, weight, bias, strict=True)]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-6, atol=1e-5)


def test_autocast_gives_each_of_many_models_a_product_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, weight, bias = (value.float() for value in drawn(SHAPES["many models"]))

    def of_all(*_: Tensor) -> Tensor:
        pytest.fail("one product of all models can round otherwise than one of each")

    monkeypatch.setattr(torch, "baddbmm", of_all)
    with torch.autocast("cpu", torch.bfloat16):
        together = product(inputs, weight, bias)
        alone = [product(*own)[0] for own in zip(*(v.split(1) for v in (inputs, weight, bias)), strict=True)]
    assert torch.equal(together, torch.stack(alone))


@pytest.mark.parametrize("name", ["wide", "many models"])
def test_autocast_takes_the_product_in_its_number_type(name: str) -> None:
    values = [value.float() for value in drawn(SHAPES[name])]
    (sent,) = drawn(((*SHAPES[name][0][:-1], SHAPES[name][1][-2]),))

    def half(*given: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return product(*given)

    found = value_and_gradients(half, values, sent)
    expected = value_and_gradients(by_definition, values, sent.float())
    assert [one.dtype for one in found] == [torch.bfloat16, torch.float32, torch.float32, torch.float32]
    for one, other in zip(found, expected, strict=True):
        # 8 bits of each factor, and of a result that is as large as its terms' squares together
        assert float((one - other).norm() / other.norm()) < 0.02
