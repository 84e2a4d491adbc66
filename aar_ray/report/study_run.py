"""The study's own run on the board: the best so far with its interval, rungs, what was found, use of the machines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.tensorboard.writer import SummaryWriter

from aar_ray.search.evidence import Interval, t_interval

Event = Mapping[str, Any]

LAYOUT = {
    "Study": {
        "best so far, 95 % over animals": ["Margin", ["study/best_macro_f1", "study/best_low", "study/best_high"]],
    },
    "The study's trials": {
        "trials by state": ["Multiline", ["study/trials/.*"]],
        "trials per rung (folds scored)": ["Multiline", ["study/rungs/.*"]],
        "found in the store": ["Multiline", ["study/found/.*"]],
        "use of the machines": ["Multiline", ["study/use/.*"]],
    },
    "Pre-training": {
        "losses": ["Multiline", ["pretrain/L$", "pretrain/L_T", "pretrain/L_F", "pretrain/L_C"]],
        "spread of the embedding": [
            "Multiline",
            ["pretrain/alignment", "pretrain/uniformity", "pretrain/effective_rank_z"],
        ],
        "linear probe": ["Multiline", ["pretrain/probe_macro_f1"]],
        "learning rate": ["Multiline", ["pretrain/learning_rate"]],
    },
    "Fine-tuning": {
        "macro-F1 over the folds so far": ["Multiline", ["finetune/macro_f1_so_far"]],
        "macro-F1 of each fold": ["Multiline", ["finetune/.*/macro_f1$"]],
    },
}
"""Of the custom scalars: the study first."""


class StudyRun:
    """Counts events and draws what they add up to, each time a trial ends."""

    def __init__(self, folder: Path) -> None:
        self.writer = SummaryWriter(str(folder))
        self.writer.add_custom_scalars(LAYOUT)
        self._ended: dict[int, str] = {}
        self._seen: set[str] = set()
        self._rungs: Counter[int] = Counter()
        self._scores: dict[int, dict[str, float]] = {}
        self._counts: Counter[str] = Counter()
        self._best: Interval | None = None
        self._busy = 0.0
        self._processors: float | None = None
        self._ran = 0.0
        self._begun: datetime | None = None
        self._last: datetime | None = None

    def observe(self, event: Event, at: float | None) -> None:
        """Take in one event; `at` is when it was written, in seconds since 1970."""
        now = datetime.fromisoformat(event["at"]) if "at" in event else self._last
        match event["event"]:
            case "study_started":
                if self._begun and self._last:
                    self._ran += (self._last - self._begun).total_seconds()
                self._begun = now
                self._processors = event.get("provenance", {}).get("cluster", {}).get("CPU")
            case "pretrained":
                self._count("encoders", event)
            case "fold_finished":
                self._count("folds", event)
                scores = self._scores.setdefault(event["trial"], {})
                scores[event["fold"]] = event["result"]["macro_f1"]
                self._rungs[len(scores)] += 1
            case "trial_retried" | "trial_promoted":
                self._ended.pop(event["trial"], None)
            case "trial_finished":
                self._last = now
                self._trial_finished(event, at)
        self._last = now

    def _count(self, what: str, event: Event) -> None:
        self._counts[what] += 1
        if event["cached"]:
            self._counts[f"{what} found"] += 1
        else:
            self._busy += event["seconds"]

    def _trial_finished(self, event: Event, at: float | None) -> None:
        self._ended[event["trial"]] = event["state"]
        self._seen.add(event["state"])
        if event["state"] == "complete" and event["macro_f1"] is not None:
            found = t_interval(list(self._scores.get(event["trial"], {}).values()))
            if self._best is None or event["macro_f1"] > self._best.mean:
                self._best = Interval(event["macro_f1"], *found[1:])
        step, states = len(self._ended), Counter(self._ended.values())
        values: dict[str, float] = {"trials_finished": step}
        values |= {f"trials/{state}": states[state] for state in sorted(self._seen)}
        values |= {f"rungs/{folds}": count for folds, count in self._rungs.items()}
        for what in ("encoders", "folds"):
            if self._counts[what]:
                values[f"found/{what}"] = self._counts[f"{what} found"] / self._counts[what]
        if self._best is not None:
            # one animal has no interval: the margin closes on the score
            low, high = (self._best.mean if np.isnan(end) else min(max(end, 0.0), 1.0) for end in self._best[1:])
            values |= {"best_macro_f1": self._best.mean, "best_low": low, "best_high": high}
        values |= self._use()
        for name, value in values.items():
            self.writer.add_scalar(f"study/{name}", value, step, walltime=at)

    def _use(self) -> dict[str, float]:
        """Share of the processors that were in a stage, if a stage takes one."""
        if not self._processors or self._begun is None or self._last is None:
            return {}
        ran = self._ran + (self._last - self._begun).total_seconds()
        return {"use/processors": min(self._busy / (ran * self._processors), 1.0)} if ran > 0 else {}
