"""The table and the figure of a study of arms, and the numbers in them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from aar_ray.config import dotted
from aar_ray.report.arms import arms_table, draw_arms
from aar_ray.search.evidence import t_interval
from aar_ray.search.ranking import arms
from aar_ray.study_file.loader import load_study

SCORES = {"scratch": [[0.5, 0.6, 0.4], [0.52, 0.61, 0.38]], "pre-trained": [[0.6, 0.68, 0.45], [0.61, 0.7, 0.47]]}
"""By arm, a row a seed and a column an animal."""


def journal(scores: dict[str, list[list[float]]] = SCORES) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = [{"event": "study_started", "simulated": True, "search": {}, "arms": dict(scores)}]
    first: dict[str, int] = {}
    number = 0
    for seed in range(2):
        for arm, runs in scores.items():
            begun = {"settings": {}, "origin": "repeat" if seed else "arm", "arm": arm, "seed": seed}
            repeat_of = first.get(arm)
            events.append({"event": "trial_started", "trial": number, **begun, "repeat_of": repeat_of})
            first.setdefault(arm, number)
            for animal, score in zip("abc", runs[seed], strict=True):
                result = {"macro_f1": score}
                fold = {"fold": animal, "validation": [animal], "seconds": 1.0, "result": result}
                events.append({"event": "fold_finished", "trial": number, **fold})
            macro_f1 = float(np.mean(runs[seed]))
            events.append(
                {"event": "trial_finished", "trial": number, "state": "complete", "macro_f1": macro_f1, "reason": None}
            )
            number += 1
    return events


def test_each_arm_is_compared_with_the_first_animal_by_animal_over_its_seeds() -> None:
    found = arms(journal())
    assert found["arm"].tolist() == ["scratch", "pre-trained"]
    assert found["runs"].tolist() == [2, 2]
    ours, theirs = (np.mean(SCORES[arm], axis=0) for arm in ("pre-trained", "scratch"))
    second = found.iloc[1]
    assert second["macro_f1"] == pytest.approx(ours.mean())
    assert second["difference"] == pytest.approx((ours - theirs).mean())
    # the seeds' spread is added to that of the animals
    low, high = second["difference_low"], second["difference_high"]
    assert low < second["difference"] < high
    assert high - low > 0.5 * (t_interval(ours - theirs).high - t_interval(ours - theirs).low)
    assert found.iloc[0][["difference", "difference_low", "difference_high"]].isna().all()


def test_what_a_seed_does_to_both_arms_alike_is_no_doubt_about_their_difference() -> None:
    gain = np.array([0.1, 0.12, 0.08])
    lucky, unlucky = np.array([0.7, 0.8, 0.6]), np.array([0.3, 0.4, 0.2])
    scores = {
        "scratch": [lucky.tolist(), unlucky.tolist()],
        "pre-trained": [(lucky + gain).tolist(), (unlucky + gain).tolist()],
    }
    second = arms(journal(scores)).iloc[1]
    alone = t_interval(gain)
    found = second[["difference", "difference_low", "difference_high"]].to_list()
    assert found == pytest.approx([alone.mean, alone.low, alone.high])


def test_a_seed_that_one_arm_lacks_is_not_compared() -> None:
    events = [event for event in journal() if not (event["event"] == "trial_finished" and event["trial"] == 2)]
    second = arms(events).iloc[1]
    ours, theirs = (np.array(SCORES[arm][0]) for arm in ("pre-trained", "scratch"))
    assert second["difference"] == pytest.approx((ours - theirs).mean())


def test_the_table_says_points_and_that_animals_are_simulated() -> None:
    console = Console(file=io.StringIO(), width=140)
    console.print(arms_table(arms(journal()), simulated=True))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "SIMULATED" in text
    assert "Arms against scratch" in text
    (row,) = [line for line in text.splitlines() if line.strip().startswith("pre-trained")]
    assert "+8.3" in row


@pytest.mark.parametrize("simulated", [True, False])
def test_the_figure_names_every_other_arm(tmp_path: Path, simulated: bool) -> None:
    draw_arms(arms(journal()), simulated, tmp_path / "study" / "arms.svg")
    svg = (tmp_path / "study" / "arms.svg").read_text()
    assert "pre-trained" in svg
    assert ("SIMULATED" in svg) is simulated


@pytest.mark.parametrize(("name", "count"), [("pretrained_vs_scratch", 4), ("few_labels", 18), ("ablation", 14)])
def test_the_papers_experiments_are_studies_whose_arms_all_differ(name: str, count: int) -> None:
    study = load_study(Path(__file__).parents[2] / "studies" / f"{name}.yaml", [])
    settings = [str(sorted(dotted(study.arm(arm)).items(), key=str)) for arm in study.arms]
    assert len(set(settings)) == len(settings) == count
    assert study.simulated
