"""The schema of a study file: each setting with its range, its symbol in the paper and the source of its default.

`Settings` is what a trial varies; `Study` is the whole file. A setting's dotted name (`tfc.contrastive_weight`) is
its name everywhere: in `fixed:`, in `search:`, in the journal, in TensorBoard, and, without the section, as the
keyword of the function that uses it. Validators refuse; they never change a value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Strict, model_validator
from pydantic_core import PydanticCustomError

Names = Annotated[tuple[str, ...], Strict(False)]

SMALLEST_DEVIATION = 1e-6
"""In g, far below any sensor's noise: an axis that varies less counts as constant, and its z-score is 0."""


class Part(BaseModel):
    """A section of the study file: strict types, no unknown names, no NaN or infinity, immutable."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


# --- what a trial varies -----------------------------------------------------------------------------------------


class Normalise(Part):
    """The z-score of windows (METHOD row 17)."""

    scope: Literal["source", "recording", "window"] = "source"
    """Scope of mean and deviation, per axis; `source` means, for labelled data, the training animals."""


class PatchTST(Part):
    """The encoder's architecture, shared by E_T and E_F (paper, "Model fine-tuning", eqs. 5 and 6)."""

    patch_length: int = Field(default=8, ge=2)
    """P, samples a patch. A development repository close to the paper used 6 or 8."""
    patch_stride: int = Field(default=4, ge=1)
    """S, samples between the starts of two patches; at most P, or samples would be skipped."""
    model_size: int = Field(default=128, ge=2)
    """D, the size of a token."""
    layers: int = Field(default=2, ge=1)
    """Transformer layers."""
    heads: int = Field(default=8, ge=1)
    """Attention heads; must divide D."""
    feedforward_size: int = Field(default=256, ge=1)
    """Hidden units of each layer's feed-forward network."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of embedded tokens and of both sub-layers while pre-training."""
    normalisation: Literal["layer", "batch"] = "layer"
    """"layer normalization" as the paper says; `batch` as the original PatchTST."""
    norm_position: Literal["pre", "post"] = "pre"
    """Normalise before or after each sub-layer."""
    positions: Literal["learned", "sincos"] = "learned"
    """W_pos, one vector a patch, shared by the axes; learned, or fixed sines and cosines."""


class TFC(Part):
    """The joint objective (paper, eqs. 1 to 4)."""

    contrastive_weight: float = Field(default=0.5, ge=0, le=1)
    """λ, eq. 4: 1 ignores consistency, 0 ignores contrast. The paper names no value; 0.5 is ours."""
    margin: float = Field(default=0.5, gt=0)
    """δ, eq. 3. The paper names no value; 0.5 is ours, a quarter of the cosine distance's range."""
    temperature: float = Field(default=0.2, gt=0)
    """τ, eqs. 1 and 2: 0.2 in the paper."""
    contrastive_form: Literal["decoupled", "nt_xent"] = "decoupled"
    """`decoupled`: the sum runs over j != i as printed; `nt_xent`: the positive pair is in the denominator too."""
    anchors: Literal["originals", "both"] = "originals"
    """Which views are anchors of eqs. 1 and 2: originals as printed, or the augmented views as well."""
    negatives: Literal["global", "local"] = "global"
    """Negatives from the batch of all workers, gathered with gradients, or of each worker alone."""
    margin_form: Literal["hinge", "linear"] = "hinge"
    """`hinge`: max(0, .) around each term of eq. 3; `linear`: as printed, where δ has no gradient."""
    distance: Literal["cosine", "euclidean"] = "cosine"
    """d of eq. 3, on z: 1 - cosine, or Euclidean between normalised vectors."""
    time_weight: float = Field(default=1.0, ge=0)
    """Of L^T inside λ's bracket; 0 leaves it out. 1 in the paper."""
    frequency_weight: float = Field(default=1.0, ge=0)
    """Of L^F inside λ's bracket; 0 leaves it out. 1 in the paper."""
    alignment_weight: float = Field(default=0.0, ge=0)
    """Weight of a contrastive term between z of time and of frequency (not in the paper; TF-C's later code)."""
    pooling: Literal["mean", "flatten"] = "mean"
    """h: mean over patches with the axes concatenated (A·D), or every token (A·N·D)."""
    projector_hidden: int = Field(default=256, ge=1)
    """Hidden units of R_T and R_F."""
    projector_size: int = Field(default=128, ge=1)
    """Size of z."""


class Spectrum(Part):
    """x^f, the Fourier transform of a window."""

    sides: Literal["one", "two"] = "one"
    """One-sided magnitude (L/2 + 1 bins), or all L bins, whose second half repeats the first."""
    scale: Literal["linear", "log1p"] = "linear"
    """Magnitudes as they are, or log(1 + magnitude)."""


class Augment(Part):
    """The augmentation families and their strengths (METHOD row 16: the paper names families, no strengths)."""

    time_families: Names = ("jitter", "scaling", "time_shift", "crop")
    """Of these one is drawn for each window; also `rotation`, which the paper does not have."""
    jitter_deviation: float = Field(default=0.1, ge=0)
    """Standard deviation of the added noise, in deviations of the z-scored signal."""
    scaling_deviation: float = Field(default=0.15, ge=0)
    """Deviation of the factor N(1, .), shared by the axes."""
    shift_fraction: float = Field(default=0.5, gt=0, le=1)
    """Circular shift of at most this share of the window."""
    crop_fraction: float = Field(default=0.5, gt=0, le=1)
    """Shortest crop, as a share of the window; a crop is resized to L."""
    rotation_degrees: float = Field(default=20.0, ge=0, le=180)
    """Largest angle of `rotation`, either way."""
    rotation_axis: Literal["any", "x", "y", "z"] = "any"
    """Axis of `rotation`: a random direction for each window, or one of the sensor's, about which a collar slips."""
    rotate_first: bool = False
    """Every augmented window is turned before its family changes it, and not only those that draw `rotation`."""
    frequency_families: Names = ("perturbation", "masking")
    """Of these one is drawn for each spectrum."""
    perturbation_strength: float = Field(default=0.1, ge=0)
    """Largest addition to a bin, as a share of the window's own largest magnitude."""
    perturbed_share: float = Field(default=0.1, gt=0, le=1)
    """Share of the bins that are perturbed."""
    masked_share: float = Field(default=0.1, gt=0, lt=1)
    """Share of the bins that are set to zero."""

    @model_validator(mode="after")
    def _known_families(self) -> Augment:
        known = {
            "time_families": ("jitter", "scaling", "time_shift", "crop", "rotation"),
            "frequency_families": ("perturbation", "masking"),
        }
        for name, families in known.items():
            given = getattr(self, name)
            if not given or len(set(given)) != len(given) or set(given) - set(families):
                raise ValueError(f"{name} must name one or more of {', '.join(families)}, each once, got {given!r}")
        return self


class Pretrain(Part):
    """How the encoder is pre-trained on windows without labels."""

    epochs: int = Field(default=40, ge=1)
    """Passes over the corpus. The paper names none; 40 and 200 are known of a repository close to it."""
    batch_size: int = Field(default=256, ge=2)
    """Windows a step, over all workers."""
    learning_rate: float = Field(default=3e-4, gt=0)
    """Of Adam."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """Of Adam."""
    beta2: float = Field(default=0.99, ge=0, lt=1)
    """Of Adam."""
    weight_decay: float = Field(default=3e-4, ge=0)
    """Coupled (L2), as torch's Adam has it."""
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """Of the encoders' matrix products; losses are always float32. `auto`: what the workers' machines are fastest in,
    settled by a probe before anything starts and recorded like any setting."""
    probe_every: int = Field(default=5, ge=0)
    """Epochs from one look by a linear probe at labelled animals to the next, the last epoch included; 0: none. It
    watches the encoder and never changes it."""


class Classifier(Part):
    """The head on the encoder (paper, eq. 7 and the paragraph around it)."""

    convolution: Literal["per_axis", "across_axes", "none"] = "per_axis"
    """Depth-wise separable convolution with the axes as channels (eq. 7 as worded), with the D features as channels,
    or left out."""
    fused_size: int | None = Field(default=None, ge=1)
    """D', features an axis after `across_axes`; D where none is given."""


class Finetune(Part):
    """How the classifier is trained on labelled windows (paper, "Experimental setting")."""

    encoder: Literal["trained", "frozen"] = "trained"
    """All weights are trained, or the pre-trained encoder stays as it is (with `classifier.convolution: none` a linear
    probe)."""
    initial_weights: Literal["pretrained", "random"] = "pretrained"
    """Of the encoder; `random` is the paper's baseline, and no encoder is pre-trained for it."""
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Factor of the learning rate from each part to the one below it, head first."""
    unfreeze_every: int = Field(default=0, ge=0)
    """Epochs after which the next part from the head down is trained too; 0 trains all from the start."""
    rotation_degrees: float = Field(default=0.0, ge=0, le=180)
    """Training windows are turned by up to this angle either way, anew each time; 0 leaves them (not in the paper)."""
    rotation_axis: Literal["any", "x", "y", "z"] = "any"
    """Axis of that turn: a random direction for each window, or one of the sensor's."""
    label_share: float = Field(default=1.0, gt=0, le=1)
    """Share of the labels used, of each training animal and behaviour, at least one."""
    label_animals: int | None = Field(default=None, ge=1)
    """Training animals whose labels are used; all of them if not given."""
    learning_rate: float = Field(default=1e-4, gt=0)
    """1e-4 in the paper."""
    weight_decay: float = Field(default=0.01, ge=0)
    """0.01 in the paper, "L2": coupled under adam, decoupled under adamw."""
    optimiser: Literal["adam", "adamw"] = "adam"
    """Adam in the paper."""
    batch_size: int = Field(default=32, ge=1)
    """32 in the paper."""
    epochs: int = Field(default=100, ge=1)
    """At most; 100 in the paper."""
    patience: int = Field(default=10, ge=1)
    """Epochs without a better validation score before training stops; 10 in the paper."""
    selection: Literal["macro_f1", "accuracy"] = "macro_f1"
    """The validation score that picks the epoch. The paper says accuracy, to which 0.44 % trotting is invisible."""
    class_weights: Literal["effective_number", "inverse_frequency", "none"] = "effective_number"
    """Class-balanced cross-entropy after Cui et al. 2019, simple inverse frequency, or unweighted."""
    class_balance_beta: float = Field(default=0.999, ge=0, lt=1)
    """β of the effective number of samples (1 - β^n) / (1 - β)."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Of the trained encoder and before the last linear layer."""


class Settings(Part):
    """Everything that a trial can vary, by dotted name `section.setting`."""

    normalise: Normalise = Normalise()
    patchtst: PatchTST = PatchTST()
    tfc: TFC = TFC()
    spectrum: Spectrum = Spectrum()
    augment: Augment = Augment()
    pretrain: Pretrain = Pretrain()
    classifier: Classifier = Classifier()
    finetune: Finetune = Finetune()

    @model_validator(mode="after")
    def _parts_agree(self) -> Settings:
        patchtst = self.patchtst
        if patchtst.model_size % patchtst.heads:
            raise ValueError(
                f"patchtst.heads must divide patchtst.model_size, got {patchtst.heads} and {patchtst.model_size}"
            )
        if patchtst.patch_stride > patchtst.patch_length:
            raise ValueError(
                "patchtst.patch_stride must be at most patchtst.patch_length, or samples are skipped, got "
                f"{patchtst.patch_stride} and {patchtst.patch_length}"
            )
        if self.finetune.encoder == "frozen" and self.finetune.initial_weights == "random":
            raise ValueError(
                "finetune.encoder must be trained where finetune.initial_weights is random, got frozen: random weights "
                "are not worth freezing"
            )
        if self.finetune.encoder == "frozen" and self.finetune.rotation_degrees:
            raise ValueError(
                "finetune.rotation_degrees must be 0 where finetune.encoder is frozen, whose features are made once, "
                f"got {self.finetune.rotation_degrees:g}"
            )
        return self


PRETRAIN_SECTIONS = ("normalise", "patchtst", "tfc", "spectrum", "augment", "pretrain")
"""Sections that the pre-trained encoder depends on."""

FINETUNE_SECTIONS = ("normalise", "patchtst", "classifier", "finetune")
"""Sections that fine-tuning reads, beside the pre-trained encoder."""


def dotted(settings: Settings) -> dict[str, Any]:
    """All settings by dotted name, in the order of definition."""
    return {
        f"{section}.{name}": value for section, part in settings for name, value in part.model_dump(mode="json").items()
    }


def settings_from(values: Mapping[str, Any]) -> Settings:
    """Settings with the given dotted names set and all others at their defaults.

    Raises:
        pydantic.ValidationError: a name is unknown or a value breaks its rule.
    """
    nested: dict[str, dict[str, Any]] = {}
    for path, value in values.items():
        section, _, name = path.partition(".")
        nested.setdefault(section, {})[name] = value
    return Settings.model_validate(nested)


# --- data --------------------------------------------------------------------------------------------------------


class SourcePart(Part):
    """What every source has."""

    name: str = Field(pattern=r"^\w[\w.-]*$")
    """Names the source in tables, keys and errors."""
    behaviours: dict[str, str] = {}
    """Label in the recording: behaviour in the study; case and spaces around a label do not matter. Labels that are
    not listed are dropped. Empty keeps all labels, those of a published set under the shared vocabulary."""
    herd: str = ""
    """Animals of equal name are one animal where species and herd are equal."""

    @model_validator(mode="after")
    def _each_label_once(self) -> SourcePart:
        labels = [" ".join(label.split()).casefold() for label in self.behaviours]
        repeated = sorted({label for label in labels if labels.count(label) > 1})
        if repeated:
            raise ValueError(f"behaviours must list a label once in any case, got {', '.join(repeated)} again")
        return self


class SimulatedSource(SourcePart):
    """A simulated herd: raw recordings made from gravity, gait, bites and noise. Never evidence about animals."""

    reader: Literal["simulated"]
    species: Literal["cattle", "sheep", "horse", "goat"]
    animals: int = Field(ge=1)
    """Number of animals; each has its own gait, collar orientation and noise."""
    minutes_per_animal: float = Field(gt=0)
    """Length of each animal's recording."""


class Columns(Part):
    """Which column of a table holds what."""

    x: str = "x"
    y: str = "y"
    z: str = "z"
    subject: str | None = None
    """The animal; where none is given each file is one animal, named by `subject` or by the file's stem."""
    segment: str | None = None
    """Changes wherever the recording is not continuous."""
    label: str | None = None
    """Behaviour; empty where unlabelled."""
    time: str | None = None
    """Time stamp (ISO text, or a number in `time_unit`): gaps are found by it, rows repeated in it are dropped."""


class FileSource(SourcePart):
    """A source that is read from files."""

    path: str = Field(min_length=1)
    """A file, a folder or a pattern such as `collars/*.csv.gz`; relative to where the study is started."""


class TabularSource(FileSource):
    """CSV files (also gzip) or Parquet files with one row a sample."""

    reader: Literal["csv", "parquet"]
    species: str = Field(min_length=1)
    rate_hz: float = Field(gt=0)
    """Samples a second in the files, 10.54 and the like included."""
    unit: Literal["g", "mg", "m/s^2", "counts"]
    """Of the axes; raw `counts` of a converter need counts_per_g."""
    counts_per_g: float | None = Field(default=None, gt=0)
    """What the sensor writes for 1 g, such as 16384."""
    time_unit: Literal["s", "ms", "us", "ns", "samples"] = "s"
    """Of a time column of numbers; `samples` where it counts rows."""
    columns: Columns = Columns()
    subject: str | None = None
    """The animal, where the whole source is one animal."""
    delimiter: str = Field(default=",", min_length=1, max_length=1)
    """Between the columns of a CSV file."""
    decimal: Literal[".", ","] = "."
    """Decimal sign of a CSV file."""
    encoding: str = "utf-8"
    """Of a CSV file's text, such as latin-1."""

    @model_validator(mode="after")
    def _counts_have_a_scale(self) -> TabularSource:
        if (self.unit == "counts") != (self.counts_per_g is not None):
            given = "none" if self.counts_per_g is None else f"{self.counts_per_g:g} under unit {self.unit}"
            raise ValueError(f"counts_per_g belongs to unit counts, and unit counts needs it, got {given}")
        if self.delimiter == self.decimal:
            raise ValueError(f"delimiter and decimal must differ, got {self.delimiter!r} for both")
        return self


class PublishedSource(FileSource):
    """A published set in the files that its authors give out; `aar_ray.corpus.published` knows the facts."""

    reader: Literal["goats", "horses", "cattle", "sheep"]

    @property
    def species(self) -> str:
        """The set's."""
        return {"goats": "goat", "horses": "horse", "cattle": "cattle", "sheep": "sheep"}[self.reader]


class DeviceSource(FileSource):
    """Files as a logger writes them: Axivity .cwa, ActiGraph .gt3x, GENEActiv .bin (extra `aar_ray[devices]`).

    Rate, unit and time come from the file; there are no labels in it.
    """

    reader: Literal["device"]
    species: str = Field(min_length=1)
    subject: str | None = None
    """The animal, where the whole source is one animal; else each file is one, named by its stem."""


Source = Annotated[SimulatedSource | TabularSource | PublishedSource | DeviceSource, Field(discriminator="reader")]


class Data(Part):
    """Recordings, and how they become windows."""

    unlabelled: Annotated[tuple[Source, ...], Strict(False)] = Field(min_length=1)
    """Sources for pre-training; labels in them are never read on."""
    labelled: Source
    """The source whose behaviours are classified."""
    rate_hz: float = Field(default=25.0, gt=0)
    """Samples a second after resampling: 25 in the paper."""
    window_seconds: float = Field(default=2.0, gt=0)
    """2 in the paper."""
    step_seconds: float = Field(default=2.0, gt=0)
    """Between the starts of two windows; 2 s leaves no overlap."""
    same_animal: Annotated[tuple[Names, ...], Strict(False)] = ()
    """Groups of `source/animal`: names under which one animal is known. The labelled source's name stands for all
    of them, else the first."""

    @property
    def window_samples(self) -> int:
        """L, samples a window."""
        return round(self.rate_hz * self.window_seconds)

    @model_validator(mode="after")
    def _whole_windows(self) -> Data:
        for name in ("window_seconds", "step_seconds"):
            samples = self.rate_hz * getattr(self, name)
            if abs(samples - round(samples)) > 1e-6 or round(samples) < 1:
                raise ValueError(f"{name} times rate_hz must be a whole number of samples, got {samples:g}")
        names = [source.name for source in (*self.unlabelled, self.labelled)]
        repeated = {name for name in names if names.count(name) > 1}
        if repeated:
            raise ValueError(f"source names must differ, got {', '.join(sorted(repeated))} more than once")
        grouped = [animal for group in self.same_animal for animal in group]
        for animal in grouped:
            source = animal.partition("/")[0]
            if "/" not in animal or source not in names:
                raise ValueError(
                    f"same_animal must list source/animal with a source among {', '.join(names)}, got {animal!r}"
                )
            if grouped.count(animal) > 1:
                raise ValueError(f"same_animal must name each animal once, got {animal} more than once")
        if any(len(group) < 2 for group in self.same_animal):
            raise ValueError("a group of same_animal must hold two names or more, got one")
        return self


class Protocol(Part):
    """Which labelled animals train, validate and stay sealed (METHOD row 18)."""

    split: Literal["leave_one_subject_out", "paper"] = "leave_one_subject_out"
    """Every animal is validation once; or the paper's repetitions with one test and one validation animal each."""
    repetitions: int = Field(default=3, ge=1)
    """Of `paper`: 3 in the paper."""
    sealed: Names = ()
    """Test animals of `leave_one_subject_out`; not read while the study searches."""
    transductive: bool = False
    """Allow sealed animals, without their labels, in the pre-training corpus."""

    @model_validator(mode="after")
    def _sealed_only_with_leave_one_out(self) -> Protocol:
        if self.split == "paper" and self.sealed:
            raise ValueError(
                f"sealed must be empty under split: paper, which draws its own test animals, got {self.sealed!r}"
            )
        return self


# --- the search --------------------------------------------------------------------------------------------------


class Searched(Part):
    """What every distribution has."""

    when: dict[str, Any] | None = Field(default=None, min_length=1)
    """Settings with the value, or the list of values, under which this one varies; else it has its default."""


class Uniform(Searched):
    """A number between two ends, both included; in steps where `step` is given."""

    uniform: Annotated[tuple[float, float], Strict(False)]
    step: float | None = Field(default=None, gt=0)


class LogUniform(Searched):
    """A number whose logarithm is uniform."""

    log_uniform: Annotated[tuple[float, float], Strict(False)]


class Integer(Searched):
    """A whole number between two ends, both included."""

    integer: Annotated[tuple[int, int], Strict(False)]
    step: int = Field(default=1, ge=1)


class Choice(Searched):
    """One of the values listed."""

    choice: Annotated[tuple[Any, ...], Strict(False)] = Field(min_length=2)


class Fixed(Searched):
    """Always the same value: of use with `when`, or to keep a setting's place in the file and in the tables."""

    fixed: Any


Distribution = Uniform | LogUniform | Integer | Choice | Fixed


def range_ends(distribution: Uniform | LogUniform | Integer) -> tuple[float, float]:
    """The lowest and the highest number of a range; both whole for `Integer`."""
    if isinstance(distribution, Uniform):
        return distribution.uniform
    return distribution.log_uniform if isinstance(distribution, LogUniform) else distribution.integer


def nearest(distribution: Distribution, value: Any) -> Any:
    """`value` where the distribution holds it; else its nearest number, or the first choice that is listed."""
    if isinstance(distribution, Choice):
        return value if value in distribution.choice else distribution.choice[0]
    if isinstance(distribution, Fixed):
        return distribution.fixed
    low, high = range_ends(distribution)
    if value is None or value <= low:
        return low
    inside = min(value, high)
    if isinstance(distribution, LogUniform) or distribution.step is None:
        return inside
    on_step = min(low + round((inside - low) / distribution.step) * distribution.step, high)
    return value if isinstance(distribution, Uniform) and math.isclose(on_step, value) else on_step


def accepted_values(setting: str, given: Any) -> tuple[Any, ...]:
    """The values that a condition accepts: what it gives, or each item of the list that it gives.

    Of a setting that is a list itself, such as `augment.time_families`, one list is one value.
    """
    is_list = isinstance(dotted(Settings()).get(setting), list)
    if isinstance(given, list | tuple) and (not is_list or all(isinstance(item, list | tuple) for item in given)):
        return tuple(map(_as_value, given))
    return (_as_value(given),)


def _as_value(given: Any) -> Any:
    """A list, as YAML has it, as the tuple that a setting is."""
    return tuple(given) if isinstance(given, list) else given


class Sampler(Part):
    """How settings are proposed."""

    name: Literal["stage_aware", "tpe", "random", "grid", "qmc", "cma-es", "gp"] = "stage_aware"
    """This project's own, which weighs encoders, fine-tune settings and folds by their seconds; Optuna's multivariate
    TPE; uniform draws; all points of a grid, in an order drawn by chance; a scrambled Sobol sequence; covariance matrix
    adaptation; Optuna's Gaussian process with expected improvement."""
    first_folds: int = Field(default=1, ge=1)
    """Of stage_aware: folds that every setting gets; more only while it promises more than the best one."""
    first_epochs: int | None = Field(default=None, ge=1)
    """Of stage_aware: epochs after which a new encoder goes on only where its linear probe is in the better half."""
    objectives: Annotated[tuple[Literal["macro_f1", "seconds"], ...], Strict(False)] = ("macro_f1",)
    """What the sampler pursues. `seconds` is the cost of a trial's encoder and folds, also where they were there
    already. The ranking stays by macro-F1."""
    startup_trials: int = Field(default=8, ge=1)
    """Random trials before the model of stage_aware, tpe or gp takes over."""
    grid_points: int = Field(default=3, ge=2)
    """Of grid: values of a range that has more, its ends and evenly between them. A choice has all of its values."""
    trials_per_encoder: int = Field(default=3, ge=1)
    """Fine-tune settings tried on each pre-trained encoder: with continuous λ and δ no two proposals share one."""

    @model_validator(mode="after")
    def _objectives_suit(self) -> Sampler:
        if "macro_f1" not in self.objectives or len(set(self.objectives)) < len(self.objectives):
            raise ValueError(
                f"objectives must hold macro_f1, and each once, got {', '.join(self.objectives) or 'none'}"
            )
        if self.name in ("cma-es", "stage_aware") and len(self.objectives) > 1:
            raise ValueError(f"objectives must be macro_f1 alone under name: {self.name}; tpe and gp pursue several")
        for name in ("first_folds", "first_epochs"):
            if self.name != "stage_aware" and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} goes with name: stage_aware, got name: {self.name}")
        if self.name != "grid" and self.grid_points != type(self).model_fields["grid_points"].default:
            raise ValueError(f"grid_points goes with name: grid, got name: {self.name}")
        return self


class Budget(Part):
    """When a study ends."""

    trials: int | None = Field(default=None, ge=1)
    """Settings to try. A search needs one of the three; arms say themselves how many trials they are."""
    hours: float | None = Field(default=None, gt=0)
    """No trial is begun when all starts of the study together have taken so long."""
    accelerator_hours: float | None = Field(default=None, gt=0)
    """No trial is begun when accelerators have worked so long for the study; one that is shared counts by its share."""
    patience: int | None = Field(default=None, ge=3)
    """Of a search: it ends earlier where so many more trials like the last ones are not expected to raise the best
    macro-F1 by `least_gain`. It never does if not given."""
    least_gain: float = Field(default=0.005, gt=0, lt=1)
    """In macro-F1: what so many trials must promise."""

    @model_validator(mode="after")
    def _gain_has_a_patience(self) -> Budget:
        if self.patience is None and self.least_gain != type(self).model_fields["least_gain"].default:
            raise ValueError(
                f"least_gain goes with patience, the number of trials that must promise it, got {self.least_gain}"
            )
        return self


class Confirm(Part):
    """After a search: the best of many noisy trials is over-stated, so the best few run again before one is named."""

    best: int = Field(default=3, ge=0)
    """Settings that run again, by macro-F1; 0 leaves the confirmation out."""
    seeds: int = Field(default=2, ge=1)
    """Fresh seeds for each of them."""


class PretrainResources(Part):
    """What one Ray Train worker group takes."""

    groups: int | None = Field(default=None, ge=1)
    """Worker groups at once; as many as the cluster holds where none is given."""
    workers: int = Field(default=1, ge=1)
    """Workers of a group."""
    cpus_per_worker: int = Field(default=1, ge=1)
    gpus_per_worker: float | None = Field(default=None, ge=0)
    """1 where the cluster has GPUs and 0 where it has none, if not given."""


class FinetuneResources(Part):
    """What one fine-tuning task takes."""

    cpus: int = Field(default=1, ge=1)
    gpus: float | None = Field(default=None, ge=0)
    """A quarter where the cluster has GPUs and 0 where it has none, if not given."""


class Resources(Part):
    """Bundles that are asked of Ray."""

    cpus: int | None = Field(default=None, ge=2)
    """Processors of this machine to use where no `--address` is given; all of them if not given."""
    trial_slots: int = Field(default=4, ge=1)
    """Trials at once; a trial holds a slot and no processor."""
    store_gigabytes: float | None = Field(default=None, gt=0)
    """Disk space of the store, in 10^9 bytes: what no study's ranking needs is removed to keep to it. No limit if not
    given."""
    pretrain: PretrainResources = PretrainResources()
    finetune: FinetuneResources = FinetuneResources()


class Study(Part):
    """A study file."""

    name: str = Field(pattern=r"^\w[\w.-]*$")
    """Names the folder under `results/`."""
    seed: int = Field(default=0, ge=0)
    """Of every random stream."""
    data: Data
    protocol: Protocol = Protocol()
    fixed: dict[str, Any] = {}
    """Settings by dotted name."""
    search: dict[str, Distribution] = {}
    """Distributions by dotted name."""
    arms: dict[str, dict[str, Any]] = {}
    """Instead of a search: settings by dotted name for each arm that is compared; the first one is the reference."""
    seeds: int = Field(default=1, ge=1)
    """Times that each arm is run, each time with another seed."""
    require: Names = ()
    """Constraints `smaller <= larger` between two searched settings."""
    enqueue: Annotated[tuple[dict[str, Any], ...], Strict(False)] = ()
    """Settings that are known to be good, each by dotted name: they run after trial 0, in this order. What an entry
    leaves out is as in trial 0."""
    warm_start: Names = ()
    """Earlier studies, by name or by the folder of their results: tpe, gp and cma-es are told their complete trials, as
    far as this study could have proposed them."""
    sampler: Sampler = Sampler()
    budget: Budget = Budget()
    confirm: Confirm = Confirm()
    resources: Resources = Resources()
    store: str = Field(default="results/.store", min_length=1)
    """Folder of the stage artifacts, shared by all studies that name it."""

    @property
    def simulated(self) -> bool:
        """Whether any recording is simulated: everything made from it is then marked SIMULATED."""
        return any(source.reader == "simulated" for source in self.sources())

    def sources(self) -> Iterator[Source]:
        """All sources, the labelled one last."""
        yield from self.data.unlabelled
        yield self.data.labelled

    @property
    def varied(self) -> tuple[str, ...]:
        """Settings that differ between trials, in the order of the file."""
        return tuple(self.search) or tuple(dict.fromkeys(name for arm in self.arms.values() for name in arm))

    @property
    def planned_trials(self) -> int | None:
        """Trials of the whole study: each arm with each seed, or those of the search and of its confirmation.

        None where only time ends the search.
        """
        if self.arms:
            return len(self.arms) * self.seeds
        if self.budget.trials is None:
            return None
        return self.budget.trials + min(self.confirm.best, self.budget.trials) * self.confirm.seeds

    def reference(self) -> Settings:
        """Trial 0: the first arm, or the paper's setting, that is every default, with what the file fixes.

        A searched setting whose default its distribution leaves out starts at the nearest value, so that trial 0 is
        always a point of the search.
        """
        if self.arms:
            return self.arm(next(iter(self.arms)))
        return settings_from({**self.fixed, **self.completed({})})

    def completed(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Values of all searched settings where only some are given: the others are as in trial 0.

        A given value stays also where the setting's condition does not hold.
        """
        conditions = self.conditions

        def value(name: str) -> Any:
            if name in given:
                return given[name]
            default = self.default(name)
            if name not in self.search:
                return self.fixed.get(name, default)
            decided = conditions.get(name, {}).items()
            holds = all(_as_value(value(other)) in accepted for other, accepted in decided)
            return nearest(self.search[name], default) if holds else default

        return {name: value(name) for name in self.search}

    def default(self, name: str) -> Any:
        """What a setting is where nothing else is said, also while its condition does not hold."""
        return dotted(Settings())[name]

    @property
    def conditions(self) -> dict[str, dict[str, tuple[Any, ...]]]:
        """For each setting with a condition, the settings that decide and their values under which it varies."""
        return {
            name: {other: accepted_values(other, given) for other, given in part.when.items()}
            for name, part in self.search.items()
            if part.when
        }

    def arm(self, name: str) -> Settings:
        """Settings of an arm: what it names, what the file fixes, and every default."""
        return settings_from({**self.fixed, **self.arms[name]})

    @model_validator(mode="after")
    def _search_or_arms(self) -> Study:
        defaults = type(self).model_fields
        changed = {name for name in defaults if getattr(self, name) != defaults[name].default}
        if not self.search and not self.arms:
            raise _misplaced(("search",), "must be given, or arms to compare")
        budget = self.budget
        if self.search and budget.trials is budget.hours is budget.accelerator_hours is None:
            raise _misplaced(("budget", "trials"), "must be given for a search, or hours or accelerator_hours")
        if self.search:
            for name in sorted(changed & {"arms", "seeds"}):
                raise _misplaced((name,), "goes with arms, and this study searches; leave one of the two out")
        else:
            for name in sorted(changed & {"require", "enqueue", "warm_start", "sampler", "confirm"}):
                raise _misplaced((name,), "goes with a search, and this study compares arms; leave it out")
            for name in ("trials", "patience"):
                if getattr(self.budget, name) is not None:
                    raise _misplaced(("budget", name), "is for a search; arms run once for each of the `seeds`")
            if len(self.arms) < 2:
                raise _misplaced(("arms",), f"must name 2 arms or more, got {len(self.arms)}")
        return self


def _misplaced(steps: tuple[str, ...], rule: str) -> PydanticCustomError:
    """An error of the whole study that belongs to one place of its file."""
    return PydanticCustomError("study", "{rule}", {"rule": rule, "steps": steps})
