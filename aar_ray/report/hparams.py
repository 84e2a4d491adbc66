"""What TensorBoard's HParams is told: settings and metrics of the study, settings and end of each trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from tensorboard.plugins.hparams.summary_v2 import (
    Discrete,
    Domain,
    HParam,
    IntInterval,
    Metric,
    RealInterval,
    hparams_config_pb,
    hparams_pb,
)

METRICS = {
    "final/macro_f1": "macro-F1",
    "final/accuracy": "accuracy",
    "final/kappa": "kappa",
    "finetune/macro_f1_so_far": "macro-F1 so far",
    "pretrain/L": "L, pre-training",
    "pretrain/probe_macro_f1": "probe",
    "pretrain/effective_rank_z": "rank of z",
}
"""Scalars that are columns of the HParams table, with their titles."""

STATUS = {"complete": api_pb2.STATUS_SUCCESS, "failed": api_pb2.STATUS_FAILURE}
"""How HParams is told of a trial's end; a stopped trial is neither and reads unknown, as one that runs does."""


def declared(search: Mapping[str, Mapping[str, Any]], arms: Mapping[str, Mapping[str, Any]]) -> Summary:
    """Every setting that varies, with its range, and every metric; for the root of the board."""
    domains = {name: _domain(distribution) for name, distribution in search.items()} or _domains_of_arms(arms)
    return hparams_config_pb(
        hparams=[HParam(name, domain) for name, domain in domains.items()],
        metrics=[Metric(tag, display_name=title) for tag, title in METRICS.items()],
    )


def texts(search: Mapping[str, Mapping[str, Any]], arms: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Settings whose values are shown as text."""
    domains = {name: _domain(distribution) for name, distribution in search.items()} or _domains_of_arms(arms)
    return {name for name, domain in domains.items() if domain.dtype is str}


def begun(name: str, settings: Mapping[str, Any], as_text: set[str], seconds: float) -> Summary:
    """A trial's settings at its start; two trials of equal settings are two rows."""
    values = {setting: _value(value, setting in as_text) for setting, value in settings.items()}
    return hparams_pb(values, trial_id=name, start_time_secs=seconds)


def ended(state: str, seconds: float) -> Summary:
    """The end of a trial; TensorBoard's own function for it is in a module that needs TensorFlow."""
    status = STATUS.get(state, api_pb2.STATUS_UNKNOWN)
    content = HParamsPluginData(session_end_info=SessionEndInfo(status=status, end_time_secs=seconds))
    value = Summary.Value(
        tag=metadata.SESSION_END_INFO_TAG,
        metadata=metadata.create_summary_metadata(content),
        tensor=metadata.NULL_TENSOR,
    )
    return Summary(value=[value])


def _domain(distribution: Mapping[str, Any]) -> Domain:
    """HParams' domain of a distribution; a choice of unlike kinds, of lists or with None becomes one of texts."""
    match distribution:
        case {"uniform": [low, high]} | {"log_uniform": [low, high]}:
            return RealInterval(float(low), float(high))
        case {"integer": [low, high]}:
            return IntInterval(low, high)
        case {"choice": values}:
            kinds = {type(value) for value in values}
            if kinds <= {int, float}:
                return Discrete([float(value) for value in values])
            return Discrete(values) if kinds == {bool} else Discrete([_value(value, True) for value in values])
    raise ValueError(
        f"a distribution must be uniform, log_uniform, integer or choice, got {', '.join(distribution)}; "
        "the journal is of another version"
    )


def _domains_of_arms(arms: Mapping[str, Mapping[str, Any]]) -> dict[str, Domain]:
    """The values that arms name; an arm that leaves a setting out has its default, so each is shown as text."""
    names = dict.fromkeys(name for settings in arms.values() for name in settings)
    return {
        name: Discrete(sorted({str(_value(one[name], True)) for one in arms.values() if name in one})) for name in names
    }


def _value(value: Any, as_text: bool) -> bool | float | str:
    """A setting as HParams can hold it: a number, a truth value, or text, in which None is `none`."""
    if not as_text and isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "none" if value is None else str(value)
