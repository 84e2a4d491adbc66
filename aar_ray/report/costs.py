"""Where the time went, what it cost, and what was planned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aar_ray.report.names import duration
from aar_ray.report.record import StudyRecord, time_of


@dataclass(frozen=True)
class Share:
    """Seconds of one stage: made in this study, and saved by what had been made before."""

    stage: str
    made: float
    saved: float
    count: int
    found: int


def shares(record: StudyRecord) -> list[Share]:
    """By stage."""
    corpus = [start["corpus"] for start in record.starts if isinstance(start.get("corpus"), dict)]
    built = [one for one in corpus if not one.get("cached")]
    encoders = {
        (trial.pretrained["key"], bool(trial.pretrained["cached"])): float(trial.pretrained["seconds"])
        for trial in record.trials.values()
        if trial.pretrained
    }
    folds = [fold for trial in record.trials.values() for fold in trial.folds.values()]
    scored = [fold for event in record.baseline_events.values() for fold in event["folds"]]
    return [
        Share("corpus", sum(one.get("seconds", 0.0) for one in built), 0.0, len(built), len(corpus) - len(built)),
        _share("pre-training", [(seconds, cached) for (_, cached), seconds in encoders.items()]),
        _share("fine-tuning", [(fold["seconds"], bool(fold.get("cached"))) for fold in folds]),
        _share("baselines", [(fold.get("seconds", 0.0), bool(fold.get("cached"))) for fold in scored]),
    ]


def wall_seconds(record: StudyRecord) -> float:
    """Time that the study ran: from each start to the last event before the next one."""
    total, begun, last = 0.0, None, None
    for event in record.events:
        at = time_of(event)
        if at is None:
            continue
        if event["event"] == "study_started":
            total += (last - begun).total_seconds() if begun and last else 0.0
            begun = at
        last = at
    return total + ((last - begun).total_seconds() if begun and last else 0.0)


def processors(record: StudyRecord) -> float | None:
    """Of the cluster, where the journal has them."""
    cluster = record.started.get("provenance", {}).get("cluster", {})
    return float(cluster["CPU"]) if "CPU" in cluster else None


def cost_rows(record: StudyRecord, price_per_hour: float | None) -> Iterator[tuple[str, str]]:
    """Time and money in rows of a table; money where a price is given."""
    wall, count = wall_seconds(record), processors(record)
    yield "time that the study ran", duration(wall)
    if count:
        yield "processor hours", f"{wall * count / 3600:.2f} ({count:g} processors)"
        busy = sum(share.made for share in shares(record))
        if wall:
            yield "of which in a stage", f"{min(busy / (wall * count), 1):.0%}, if a stage takes one processor"
    if price_per_hour is not None:
        complete = sum(trial.state == "complete" for trial in record.trials.values())
        total = price_per_hour * wall / 3600
        yield (
            "cost",
            f"{total:.2f} at {price_per_hour:g} an hour" + (f", {total / complete:.3f} a trial" if complete else ""),
        )


def plan_rows(record: StudyRecord) -> Iterator[tuple[str, str, str]]:
    """What, planned, actual."""
    states = [trial.state for trial in record.trials.values()]
    counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "none"
    yield "trials", _known(record.started.get("trials")), counted
    hours = (record.file.get("budget") or {}).get("hours")
    yield "hours", "no limit" if hours is None else f"{hours:g}", f"{wall_seconds(record) / 3600:.2f}"
    planned = record.planned
    keys = {trial.pretrained["key"] for trial in record.trials.values() if trial.pretrained}
    shared = sum(bool(trial.pretrained) for trial in record.trials.values())
    yield "encoders", _known(planned.get("encoders")), f"{len(keys)} for {shared} trials"
    if planned:
        made = {share.stage: share.made for share in shares(record)}
        yield "time", duration(planned["seconds"]), duration(wall_seconds(record))
        yield "pre-training", duration(planned["seconds_pretrain"]), duration(made.get("pre-training", 0.0))
        yield "fine-tuning", duration(planned["seconds_finetune"]), duration(made.get("fine-tuning", 0.0))
    folds = len(record.started.get("folds", ()))
    whole = sum(len(trial.folds) == folds for trial in record.trials.values() if trial.state == "complete")
    yield "folds a trial", _known(folds), f"{whole} complete trials have all"
    ended = "not finished" if record.finished is None else f"ended by: {record.finished['stopped_by']}"
    yield "starts", "1", f"{len(record.starts)}; {ended}"


def _share(stage: str, work: list[tuple[float, bool]]) -> Share:
    made = [seconds for seconds, cached in work if not cached]
    saved = [seconds for seconds, cached in work if cached]
    return Share(stage, sum(made), sum(saved), len(made), len(saved))


def _known(value: object) -> str:
    return "not known" if value in (None, 0) else str(value)
