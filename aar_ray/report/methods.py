"""For a paper: a methods paragraph, a checklist, and where everything came from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aar_ray.report.names import value_text
from aar_ray.report.record import StudyRecord

PAPER = "Liu et al., Sci. Rep. 15:43928, 2025"


@dataclass(frozen=True)
class Check:
    """One line of the checklist; `met` is None where the folder does not say."""

    text: str
    met: bool | None


def paragraph(record: StudyRecord) -> str:
    """Methods in one paragraph; what the folder does not say is left out."""
    return " ".join(part for part in (*_data(record), *_model(record), *_search(record), *_scores(record)) if part)


def checklist(record: StudyRecord) -> list[Check]:
    """What a reviewer asks."""
    folds = record.started.get("folds", [])
    apart = all(not set(fold["train"]) & (set(fold["validation"]) | set(fold.get("test", ()))) for fold in folds)
    protocol = record.file.get("protocol") or {}
    sealed = sorted({animal for fold in folds for animal in fold.get("test", ())})
    listed = protocol.get("sealed") or []
    provenance = record.started.get("provenance", {})
    states = [trial.state for trial in record.trials.values()]
    seeds = {trial.seed for trial in record.trials.values() if trial.seed is not None}
    names = list(record.baseline_events)
    planned = record.started.get("trials")
    return [
        Check(
            f"Validation by animal: no animal trains and validates in one fold ({len(folds)} folds)",
            apart if folds else None,
        ),
        Check(
            "No leak from test animals: their recordings are not in the pre-training corpus"
            + (" (the study is transductive)" if protocol.get("transductive") else ""),
            not protocol.get("transductive") if protocol else None,
        ),
        Check(
            f"Untouched test animals: {', '.join(listed)}; {'scored once' if record.unsealed else 'not scored yet'}"
            if listed
            else "Untouched test animals: none are sealed, so every score here is a validation score"
            + (f" (each repetition has a test animal of its own, {', '.join(sealed)}, not scored)" if sealed else ""),
            bool(listed) if folds else None,
        ),
        Check(f"Several seeds: {len(seeds)} used" if seeds else "Several seeds", len(seeds) > 1 if seeds else None),
        Check(
            "The winner's score comes from runs that did not choose it",
            bool(record.winner.runs) if record.winner else None,
        ),
        Check(f"Baselines with the same folds: {', '.join(names) or 'none'}", bool(names)),
        Check(
            f"Budget: {len(states)} trials begun of {planned or 'an unknown number'}, "
            f"{states.count('failed')} failed, all listed",
            record.finished is not None if record.events else None,
        ),
        Check(
            f"Code: {provenance['commit']}" if provenance.get("commit") else "Code: commit not recorded",
            bool(provenance.get("commit")) and not provenance.get("changed") if record.starts else None,
        ),
        Check(
            "Versions of all packages that compute are recorded",
            bool(record.started.get("versions")) if record.starts else None,
        ),
        Check(
            "Animals are real" + (": they are SIMULATED" if record.simulated else ""),
            not record.simulated if record.starts else None,
        ),
    ]


def provenance_rows(record: StudyRecord) -> Iterator[tuple[str, str]]:
    """What, value: everything that is needed to make the study again."""
    started = record.started
    found: Mapping[str, Any] = started.get("provenance", {})
    commit = found.get("commit") or "not recorded"
    yield "commit", f"{commit} (with changes that are not committed)" if found.get("changed") else commit
    yield "command", found.get("command") or "not recorded"
    yield (
        "started",
        ", ".join(str(start.get("at", "not recorded"))[:19].replace("T", " ") for start in record.starts) or "never",
    )
    yield (
        "packages",
        ", ".join(f"{name} {version}" for name, version in started.get("versions", {}).items()) or "not recorded",
    )
    yield "Python", found.get("python") or "not recorded"
    yield "hardware", found.get("hardware") or "not recorded"
    if cluster := found.get("cluster"):
        yield "cluster", ", ".join(f"{value:g} {name}" for name, value in cluster.items())
    seeds = sorted({trial.seed for trial in record.trials.values() if trial.seed is not None})
    yield "seed of the study", value_text(started.get("seed")) if started else "not recorded"
    yield "seeds of trials", ", ".join(map(str, seeds)) or "not recorded"
    for part in ("corpus", "labelled"):
        about = started.get(part) or {}
        yield f"{part} key", str(about.get("key") or "not recorded")
        for source in about.get("files", ()):
            for name, digest in source["files"]:
                yield f"{source['name']}: {name}", f"sha256 {digest}"


def _data(record: StudyRecord) -> Iterator[str]:
    data = record.file.get("data") or {}
    corpus, labelled = (record.started.get(part) or {} for part in ("corpus", "labelled"))
    if record.simulated:
        yield "[SIMULATED animals: not for a paper.]"
    sources = [
        f"{about.get('animals', '?')} {about.get('species', 'animals')} ({name})"
        for name, about in (corpus.get("summary") or {}).items()
    ]
    if corpus.get("windows"):
        whose = f" of {', '.join(sources)}" if sources else ""
        yield f"The encoder was pre-trained without labels on {corpus['windows']:,} windows{whose}."
    if data:
        yield (
            f"Accelerations were brought to g and to {data.get('rate_hz', 25):g} Hz and cut into windows of "
            f"{data.get('window_seconds', 2):g} s every {data.get('step_seconds', 2):g} s, and each axis was z-scored."
        )
    classes = record.started.get("classes") or []
    if labelled.get("windows") and classes:
        yield f"Labelled were {labelled['windows']:,} windows of {len(classes)} behaviours ({', '.join(classes)})."
    folds = record.started.get("folds") or []
    if folds:
        split = (record.file.get("protocol") or {}).get("split", "leave_one_subject_out")
        how = (
            "repetitions with one validation and one test animal each"
            if split == "paper"
            else "folds, leaving one animal out"
        )
        yield f"Animals were split before windows were cut: {len(folds)} {how}."


def _model(record: StudyRecord) -> Iterator[str]:
    number = record.winner.number if record.winner else None
    settings = {**record.started.get("settings", {}), **(record.trials[number].settings if number is not None else {})}
    if "patchtst.model_size" not in settings:
        return

    def of(name: str) -> str:
        return value_text(settings[name]) if name in settings else "?"

    yield (
        f"A PatchTST encoder (D {of('patchtst.model_size')}, {of('patchtst.layers')} layers, "
        f"{of('patchtst.heads')} heads; the winner's patches have {of('patchtst.patch_length')} samples every "
        f"{of('patchtst.patch_stride')}) was trained by time-frequency consistency ({PAPER}; "
        f"λ {of('tfc.contrastive_weight')}, δ {of('tfc.margin')}, τ {of('tfc.temperature')}) for "
        f"{of('pretrain.epochs')} epochs and fine-tuned for at most {of('finetune.epochs')} epochs with class-balanced "
        f"cross-entropy, keeping the epoch of the best validation {of('finetune.selection').replace('_', '-')}."
    )
    if settings.get("finetune.context_seconds"):
        rich = settings.get("finetune.context_form") == "own_mean_spread"
        yield (
            "Beside a window's own embedding the classifier reads "
            + ("its simple features, and their mean and standard deviation" if rich else "simple features, averaged")
            + f" over the windows that start at most {of('finetune.context_seconds')} s before or after it."
        )


def _search(record: StudyRecord) -> Iterator[str]:
    search, arms = record.started.get("search") or {}, record.started.get("arms") or {}
    complete = sum(trial.state == "complete" for trial in record.trials.values())
    if arms:
        yield f"{len(arms)} arms named beforehand ({', '.join(arms)}) were compared in {complete} complete runs."
    elif search:
        sampler = (record.file.get("sampler") or {}).get("name", "tpe")
        version = record.started.get("versions", {}).get("optuna")
        how = (
            "random search" if sampler == "random" else "multivariate TPE" + (f" (Optuna {version})" if version else "")
        )
        ranges = "; ".join(f"{name} {_range(distribution)}" for name, distribution in search.items())
        first = sum(trial.repeat_of is None for trial in record.trials.values())
        again = len(record.trials) - first
        yield f"{first} settings were tried by {how} over {ranges}; the first was the paper's."
        if again:
            yield f"The best were run again on fresh seeds ({again} runs)."


def _scores(record: StudyRecord) -> Iterator[str]:
    if not record.scored:
        return
    yield (
        "Settings were ranked by macro-F1 over the behaviours that an animal shows, mean over validation animals; "
        "intervals are 95 %, over animals and seeds (Student's t, Satterthwaite), comparisons are paired by animal."
    )
    if record.winner and record.winner.runs and not record.started.get("arms"):
        yield "The winner's score is from runs that had no part in choosing it."
    version, commit = (
        record.started.get("versions", {}).get("aar_ray"),
        record.started.get("provenance", {}).get("commit"),
    )
    if version:
        yield f"Made with aar_ray {version}" + (f" (commit {commit[:10]})." if commit else ".")


def _range(distribution: Mapping[str, Any]) -> str:
    for kind, values in distribution.items():
        if kind == "choice":
            return "in {" + ", ".join(map(value_text, values)) + "}"
        if kind in ("uniform", "log_uniform", "integer"):
            return f"{value_text(values[0])} to {value_text(values[1])}" + (" (log)" if kind == "log_uniform" else "")
    return ""
