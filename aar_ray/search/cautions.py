"""What a study's settings make of its windows that its author may not have meant; none of it stops a study."""

from __future__ import annotations

from aar_ray.config import Study
from aar_ray.method.patches import ends_in_padding
from aar_ray.method.spectrum import spectrum_bins


def patch_warnings(study: Study) -> list[str]:
    """Settings of trial 0 or of an arm under which a series' last patch is padding alone, one sentence each."""
    found = {}
    arms = {f"arm {name}": study.arm(name) for name in study.arms}
    for name, settings in (arms or {"trial 0": study.reference()}).items():
        length, patchtst = study.data.window_samples, settings.patchtst
        series = {"window": length, "spectrum": spectrum_bins(length, settings.spectrum.sides)}
        for kind, values in series.items():
            if ends_in_padding(values, patchtst.patch_length, patchtst.patch_stride):
                found[values, patchtst.patch_length, patchtst.patch_stride] = (
                    f"{name}: the last patch of a {kind} is nothing but its last value repeated, since "
                    f"patchtst.patch_stride and patchtst.patch_length are both {patchtst.patch_stride} and divide its "
                    f"{values} values; take a smaller stride or another length"
                )
    return list(found.values())
