"""The pre-training step against its plain form and against HuggingFace's PatchTST, in turn, and its share of the peak.

    pip install -e ".[bench]" && python benchmarks/pretrain.py

First column, like for like: the same 3 layers, 8 heads, widths, two-sided spectrum, batch and objective, no dropout on
either side. `plain` is tests/training/reference.py with torch.optim.Adam, in float32; `huggingface` has PatchTSTModel
in the encoders' place; `ours` is the step of a study in the number type that the probe names. Second column: the
study's defaults (one-sided spectrum, 2 layers, dropout) against the same models as each comes (HuggingFace: batch norm,
attention dropout 0, its own initial values). Each step: views, losses, gradients, Adam.

`--check` compares ours with the plain form and takes no times. Without the `bench` extra there is no peer, as is said.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from training.reference import reference_loss

from aar_ray.config import Settings, settings_from
from aar_ray.method.patches import patch_count
from aar_ray.method.spectrum import spectrum_bins
from aar_ray.method.tfc import draw_views
from aar_ray.training.precision import Precision, fastest_precision, matrix_speeds
from aar_ray.training.pretrain import _Trainer, build_model
from aar_ray.training.processors import use_processors
from aar_ray.training.shard import Held

AXES, LENGTH = 3, 50
Step = Callable[[], Tensor]


def like_for_like(**changes: object) -> Settings:
    """3 layers, two-sided spectrum, no dropout; all else default: P 8, S 4, D 128, 8 heads, d_ff 256."""
    return settings_from({"patchtst.layers": 3, "spectrum.sides": "two", "patchtst.dropout": 0.0, **changes})


def plain_step(windows: Tensor, settings: Settings) -> Step:
    state = dict(build_model(settings, AXES, LENGTH, seed=1).named_parameters())
    adam = torch.optim.Adam(state.values(), lr=settings.pretrain.learning_rate)
    generator = torch.Generator().manual_seed(1)

    def step() -> Tensor:
        views = draw_views(windows, generator, spectrum=settings.spectrum, augment=settings.augment)
        loss = reference_loss(state, views, settings)
        adam.zero_grad()
        loss.backward()
        adam.step()
        return loss.detach()

    return step


def our_step(windows: Tensor, settings: Settings) -> Step:
    """What a study's worker runs, without the epoch around it."""
    trainer = _Trainer(Held(windows), None, settings, seed=1, rank=0, workers=1)
    trainer.masks.begin([1], "benchmark")
    trainer.model.train()
    rows, generator = torch.arange(len(windows)), torch.Generator().manual_seed(1)
    return lambda: trainer._step(windows[rows], rows, generator)[0]


def huggingface_step(windows: Tensor, settings: Settings, *, as_it_comes: bool) -> Step:
    model = build_model(settings, AXES, LENGTH, seed=1)
    model.time_encoder = HuggingFaceEncoder(LENGTH, settings, as_it_comes)  # type: ignore[assignment]
    bins = spectrum_bins(LENGTH, settings.spectrum.sides)
    model.frequency_encoder = HuggingFaceEncoder(bins, settings, as_it_comes)  # type: ignore[assignment]
    adam = torch.optim.Adam(model.parameters(), lr=settings.pretrain.learning_rate)
    generator = torch.Generator().manual_seed(1)

    def step() -> Tensor:
        views = draw_views(windows, generator, spectrum=settings.spectrum, augment=settings.augment)
        loss = model(views).total
        adam.zero_grad()
        loss.backward()
        adam.step()
        return loss.detach()

    return step


class HuggingFaceEncoder(nn.Module):
    """PatchTSTModel with our series in and our tokens out."""

    def __init__(self, length: int, settings: Settings, as_it_comes: bool) -> None:
        super().__init__()
        from transformers import PatchTSTConfig, PatchTSTModel

        patchtst = settings.patchtst
        alike = {} if as_it_comes else {"norm_type": "layernorm", "pre_norm": True, "bias": True}
        self.stride, self.model_size = patchtst.patch_stride, patchtst.model_size
        self.patches = patch_count(length, patchtst.patch_length, patchtst.patch_stride)
        self.model = PatchTSTModel(
            PatchTSTConfig(
                num_input_channels=AXES,
                context_length=length + patchtst.patch_stride,
                patch_length=patchtst.patch_length,
                patch_stride=patchtst.patch_stride,
                d_model=patchtst.model_size,
                num_hidden_layers=patchtst.layers,
                num_attention_heads=patchtst.heads,
                ffn_dim=patchtst.feedforward_size,
                scaling=None,
                **alike,
            )
        )

    def forward(self, series: Tensor) -> Tensor:
        padded = torch.cat([series, series[..., -1:].expand(*series.shape[:-1], self.stride)], dim=-1)
        tokens: Tensor = self.model(past_values=padded.transpose(1, 2)).last_hidden_state
        return tokens


def products_a_window(settings: Settings) -> float:
    """FLOP of the matrix products of a step for one window: both views of both encoders, and twice that backwards."""
    patchtst = settings.patchtst
    d, f = patchtst.model_size, patchtst.feedforward_size
    total = 0.0
    for length in (LENGTH, spectrum_bins(LENGTH, settings.spectrum.sides)):
        patches = patch_count(length, patchtst.patch_length, patchtst.patch_stride)
        layer = 2 * (4 * d * d + 2 * d * f) + 4 * patches * d
        total += AXES * patches * (2 * patchtst.patch_length * d + patchtst.layers * layer)
    return 3 * 2 * total


def has_peer() -> bool:
    try:
        from transformers import PatchTSTModel
    except ImportError:
        print('huggingface is left out: pip install -e ".[bench]"')
        return False
    return PatchTSTModel is not None


def time_in_turn(steps: dict[str, Step], rounds: int) -> dict[str, float]:
    """Median seconds a step; every round takes each form once."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            began = time.perf_counter()
            step()
            seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(times) for name, times in seconds.items()}


def report(title: str, medians: dict[str, float], settings: Settings, batch: int) -> None:
    work = batch * products_a_window(settings) / 1e9
    print(f"{title}: {work / batch * 1e3:.0f} MFLOP of products a window")
    for name, median in medians.items():
        ratio = medians["plain"] / median
        print(f"  {name:12} {1e3 * median:7.0f} ms   {ratio:5.2f} times plain   {work / median:6.1f} GFLOP/s")
    if "huggingface" in medians:
        print(f"  ours against huggingface: {medians['huggingface'] / medians['ours']:.2f}")


def check() -> bool:
    """Whether the first losses of our step and of the plain one agree, so far as float32 can."""
    windows = torch.randn(16, AXES, LENGTH, generator=torch.Generator().manual_seed(0))
    settings = like_for_like()
    plain, ours = plain_step(windows, settings)(), our_step(windows, settings)()
    difference = float((plain - ours).abs())
    print(f"loss {plain:.6f} plain, {ours:.6f} ours, difference {difference:.1e}")
    return difference <= 1e-5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1, help="processors (default 1)")
    parser.add_argument("--check", action="store_true", help="equality alone")
    options = parser.parse_args()
    use_processors(options.threads)  # of all forms alike
    if options.check:
        return 0 if check() else 1
    chosen = fastest_precision("cpu")
    print(f"{options.threads} thread(s), batch {options.batch}; ours in {chosen.precision}: {chosen.reason}")
    peer = has_peer()
    windows = torch.randn(options.batch, AXES, LENGTH, generator=torch.Generator().manual_seed(0))
    number_type: dict[str, Precision] = {"pretrain.precision": chosen.precision}
    columns = {
        "like for like": (like_for_like(**number_type), like_for_like(), False),
        "defaults against defaults": (settings_from(number_type), settings_from({"spectrum.sides": "two"}), True),
    }
    for title, (ours, others, as_it_comes) in columns.items():
        steps = {"plain": plain_step(windows, others), "ours": our_step(windows, ours)}
        if peer:
            steps["huggingface"] = huggingface_step(windows, others, as_it_comes=as_it_comes)
        medians = time_in_turn(steps, options.rounds)
        report(title, medians, ours, options.batch)
        if title == "like for like":
            (peak,) = matrix_speeds([getattr(torch, chosen.precision)], seconds=1.0)
            speed = options.batch * products_a_window(ours) / medians["ours"] / 1e9
            print(f"  peak of products at these shapes {peak:.0f} GFLOP/s; ours reaches {100 * speed / peak:.0f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
