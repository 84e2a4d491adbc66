"""Where recordings come from, how they become windows, and which animals are split from which."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict, model_validator

from aar_ray.config.part import Names, Part


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
