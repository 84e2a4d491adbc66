"""What a trial varies: each setting with its range, its symbol in the paper and the source of its default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from aar_ray.config.part import Names, Part

SMALLEST_DEVIATION = 1e-6
"""In g, far below any sensor's noise: an axis that varies less counts as constant, and its z-score is 0."""


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
    """All weights are trained, or the pre-trained encoder stays as it is and its features are standardised by the
    training windows (with `classifier.convolution: none` a linear probe). A head alone wants a larger learning rate."""
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
    selection: Literal["macro_f1", "accuracy", "last"] = "macro_f1"
    """The validation score that picks the epoch. The paper says accuracy, to which 0.44 % trotting is invisible. `last`
    trains all epochs and keeps the last one: the validation animals then choose nothing."""
    smoothing_seconds: float = Field(default=0.0, ge=0)
    """Before a class is named, probabilities are averaged over the windows of the recording that start at most so long
    before or after; 0 leaves them (not in the paper)."""
    context_seconds: float = Field(default=0.0, ge=0)
    """The head, and the random forest beside it, also read the simple features of the windows of the recording that
    start at most so long before or after, averaged; 0 leaves a window alone (not in the paper)."""
    context_form: Literal["mean", "own_mean_spread"] = "mean"
    """That average alone; or the window's own simple features, their average and their spread around the window, with
    logarithms of what is never negative (not in the paper)."""
    class_weights: Literal["effective_number", "inverse_frequency", "none"] = "effective_number"
    """Class-balanced cross-entropy after Cui et al. 2019, simple inverse frequency, or unweighted."""
    class_balance_beta: float = Field(default=0.999, ge=0, lt=1)
    """β of the effective number of samples (1 - β^n) / (1 - β)."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Of the trained encoder and before the last linear layer."""
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """Of the matrix products of training steps; weights, losses and what scores are made from are always float32.
    `auto`: what the machines of its tasks are fastest in, settled as for `pretrain.precision`."""

    @property
    def context(self) -> dict[str, Any]:
        """What is shown of and around a window, by name; without a context it has no form."""
        form = {"context_form": self.context_form} if self.context_seconds else {}
        return {"context_seconds": self.context_seconds, **form}


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
