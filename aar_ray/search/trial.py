"""One trial of Ray Tune: waits for its encoder, has it fine-tuned on every fold, and reports events as they come.

It holds a trial slot and no processor; a fraction of one would starve Ray Data and the folds' tasks.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any

import ray
from ray import tune

from aar_ray.config import settings_from
from aar_ray.method.collapse import collapse
from aar_ray.search.failures import GivenUp, reason_of
from aar_ray.search.folds import Folds, mean_macro_f1, pooled_scores
from aar_ray.training.arrived import check_applied


class TrialFailed(Exception):
    """The trial cannot be done, for a reason that lies in its settings or in the cluster."""

    def __init__(self, reason: str, encoder: str) -> None:
        super().__init__(reason)
        self.encoder = encoder


def run_trial(config: Mapping[str, Any], *, folds: Folds) -> None:
    """Function that Ray Tune runs; everything that happens is reported as an event for the journal.

    Args:
        config: `trial`, its number; `settings`, all of them by dotted name, fixed and searched; `seed`; `rungs`, on
            how many folds it was to pause each time so far, None for all; `first_epochs` of its encoder, after which it
            pauses.
        folds: what fine-tuning needs.
    """
    number = config["trial"]
    try:
        for event in trial_events(config, folds):
            tune.report({"journal": {"trial": number, **event}})
    except GivenUp as error:
        # not the trial's doing: it has no end in the journal, and the next start of the study begins it again
        tune.report({"journal": {"event": "trial_given_up", "trial": number, "reason": str(error)}})
    except Exception as error:
        # recorded with its reason; the study goes on
        end = {"event": "trial_finished", "state": "failed", "macro_f1": None, "reason": reason_of(error)}
        tune.report({"journal": {"trial": number, **end, "encoder": getattr(error, "encoder", None)}})


def trial_events(config: Mapping[str, Any], folds: Folds) -> Iterator[dict[str, Any]]:
    """Do a trial, or the next part of it; yields what happens, without its number, and raises what makes it fail."""
    settings, seed, first_epochs = config["settings"], config["seed"], config["first_epochs"]
    if first_epochs is not None:
        probe = yield from _probed({**settings, "pretrain.epochs": first_epochs}, seed, folds.stages)
        yield {"event": "trial_paused", "folds": 0, "probe": probe}
        return
    from_random = settings["finetune.initial_weights"] == "random"
    key = None if from_random else (yield from _pretrained(settings, seed, folds.stages))
    rungs = config["rungs"]
    wanted = replace(folds, folds=folds.folds[: rungs[-1]], rungs=tuple(rung for rung in rungs if rung))
    finished = []
    for fold in wanted.finetuned(settings_from(settings), key, seed):
        check_applied(settings, fold["result"]["applied"], stage=f"the fine-tuning of fold {fold['fold']}")
        finished.append(fold)
        yield {"event": "fold_finished", **fold}
    if len(finished) < len(folds.folds):
        yield {"event": "trial_paused", "folds": len(finished)}
    else:
        yield {
            "event": "trial_finished",
            "state": "complete",
            "macro_f1": mean_macro_f1(finished),
            "reason": None,
            "pooled": pooled_scores(finished),
        }


def _probed(settings: Mapping[str, Any], seed: int, stages: Any) -> Generator[dict[str, Any], None, float]:
    """The linear probe's macro-F1 after the first epochs of an encoder, which go on from there if it is promoted."""
    probes = []
    for event in _pretrained(settings, seed, stages):
        if event["event"] != "pretrained":
            yield event
        if "probe_macro_f1" in event.get("metrics", {}):
            probes.append(event["metrics"]["probe_macro_f1"])
    if not probes:
        raise ValueError(
            "sampler.first_epochs needs a linear probe in these epochs, got none; see pretrain.probe_every"
        )
    return float(probes[-1])


def _pretrained(settings: Mapping[str, Any], seed: int, stages: Any) -> Generator[dict[str, Any], None, str]:
    """Wait for the encoder, with an event an epoch; returns its key."""
    key = ray.get(stages.request.remote(dict(settings), seed))
    records: list[dict[str, float]] = []
    while True:
        news = ray.get(stages.news.remote(key, len(records)))
        for record in news["records"]:
            records.append(record)
            yield {"event": "pretrain_epoch", "key": key, "epoch": len(records), "metrics": record}
            reason = collapse(record)
            if reason and not any(map(collapse, records[:-1])):
                yield {"event": "pretrain_collapsed", "key": key, "epoch": len(records), "reason": reason}
        if news["state"] == "unknown":
            # the service was killed and has begun anew
            ray.get(stages.request.remote(dict(settings), seed))
        if news["state"] == "given up":
            raise GivenUp(news["reason"])
        if news["state"] == "failed":
            raise TrialFailed(f"pre-training: {news['reason']}", key)
        if news["state"] == "done":
            check_applied(settings, news["applied"], stage="pre-training")
            break
    seconds = sum(record["seconds"] for record in records)
    yield {"event": "pretrained", "key": key, "seconds": seconds, "cached": news["cached"]}
    return key
