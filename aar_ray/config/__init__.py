"""The schema of a study file: each setting with its range, its symbol in the paper and the source of its default.

`Settings` is what a trial varies; `Study` is the whole file. A setting's dotted name (`tfc.contrastive_weight`) is
its name everywhere: in `fixed:`, in `search:`, in the journal, in TensorBoard, and, without the section, as the
keyword of the function that uses it. Validators refuse; they never change a value.
"""

from aar_ray.config.data import (
    Columns,
    Data,
    DeviceSource,
    FileSource,
    Protocol,
    PublishedSource,
    SimulatedSource,
    Source,
    TabularSource,
)
from aar_ray.config.distributions import (
    Choice,
    Distribution,
    Fixed,
    Integer,
    LogUniform,
    Uniform,
    accepted_values,
    nearest,
    range_ends,
)
from aar_ray.config.part import Part
from aar_ray.config.settings import (
    FINETUNE_SECTIONS,
    PRETRAIN_SECTIONS,
    SMALLEST_DEVIATION,
    TFC,
    Augment,
    Classifier,
    Finetune,
    Normalise,
    PatchTST,
    Pretrain,
    Settings,
    Spectrum,
    dotted,
    settings_from,
)
from aar_ray.config.study import Budget, Confirm, FinetuneResources, PretrainResources, Resources, Sampler, Study

__all__ = [
    "FINETUNE_SECTIONS",
    "PRETRAIN_SECTIONS",
    "SMALLEST_DEVIATION",
    "TFC",
    "Augment",
    "Budget",
    "Choice",
    "Classifier",
    "Columns",
    "Confirm",
    "Data",
    "DeviceSource",
    "Distribution",
    "FileSource",
    "Finetune",
    "FinetuneResources",
    "Fixed",
    "Integer",
    "LogUniform",
    "Normalise",
    "Part",
    "PatchTST",
    "Pretrain",
    "PretrainResources",
    "Protocol",
    "PublishedSource",
    "Resources",
    "Sampler",
    "Settings",
    "SimulatedSource",
    "Source",
    "Spectrum",
    "Study",
    "TabularSource",
    "Uniform",
    "accepted_values",
    "dotted",
    "nearest",
    "range_ends",
    "settings_from",
]
