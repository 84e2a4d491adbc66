"""Study files that compare arms: what they must hold, what they must not, and that they are written and read whole."""

from __future__ import annotations

from pathlib import Path

import pytest
from wrong_study_files import BASE

from aar_ray.study_file.loader import StudyFileError, load_study, save_study

HEAD = BASE[: BASE.index("search:")]
ARMS = """\
arms:
  whole: {}
  no margin:
    tfc.margin: 0.1
seeds: 3
"""


def problems_of(folder: Path, text: str) -> list[str]:
    file = folder / "study.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(StudyFileError) as caught:
        load_study(file)
    return [problem.removeprefix(f"{file}:") for problem in caught.value.problems]


def test_arms_are_read_written_and_read_back_equal(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(HEAD + ARMS, encoding="utf-8")
    study = load_study(file)
    assert (study.seeds, study.planned_trials, study.varied) == (3, 6, ("tfc.margin",))
    assert study.reference().tfc.margin == 0.5
    assert study.arm("no margin").tfc.margin == 0.1
    assert study.arm("no margin").tfc.temperature == 0.2
    save_study(study, tmp_path / "again.yaml")
    assert load_study(tmp_path / "again.yaml") == study


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("tfc.margin: 0.1", "¦tfc.margn: 0.1", "arms.no margin.tfc.margn: unknown setting; did you mean tfc.margin?"),
        ("tfc.margin: 0.1", "tfc.margin: ¦-1", "arms.no margin.tfc.margin: must be above 0, got -1"),
        ("tfc.margin: 0.1", "¦tfc.temperature: 0.1", "arms.no margin.tfc.temperature: must not be fixed and in an arm"),
        ("tfc.margin: 0.1", "¦patchtst.heads: 7", "arms.no margin.patchtst.heads: patchtst.heads must divide"),
        ("tfc.margin: 0.1", "¦patchtst.patch_stride: 9", "arms.no margin.patchtst.patch_stride: patchtst.patch_stride"),
        (
            "  no margin:\n    tfc.margin: 0.1",
            "  ¦same: {}",
            "arms.same: must differ from every other arm, has the set",
        ),
        ("  no margin:\n    tfc.margin: 0.1\n", "", "arms: must name 2 arms or more, got 1"),
        ("  no margin:\n    tfc.margin: 0.1", "  no margin: ¦0.1", "arms.no margin: must be a mapping of names to val"),
        ("seeds: 3", "seeds: ¦0", "seeds: must be at least 1, got 0"),
        ("seeds: 3", "budget: {¦trials: 3}", "budget.trials: is for a search; arms run once for each of the `seeds`"),
        ("seeds: 3", "¦confirm: {best: 1}", "confirm: goes with a search, and this study compares arms; leave it out"),
        ("seeds: 3", "budget: {trials: 3}\n¦search: {tfc.margin: {uniform: [0.1, 1]}}", "arms: goes with arms"),
    ],
)
def test_wrong_arms_are_said_with_their_place(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = HEAD + ARMS
    assert text.count(old) == 1
    marked = text.replace(old, new)
    (problem,) = problems_of(tmp_path, marked.replace("¦", ""))
    place, _, message = problem.partition(": ")
    assert message.startswith(said)
    if "¦" in marked and not said.startswith("arms: "):
        before = marked[: marked.index("¦")]
        assert place == f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + "budget: {trials: 3}\n", "search: must be given, or arms to compare"),
        (BASE.replace("budget:\n  trials: 4\n", ""), "budget.trials: must be given for a search"),
        (BASE + "seeds: 2\n", "seeds: goes with arms, and this study searches"),
    ],
)
def test_a_study_searches_or_compares(tmp_path: Path, text: str, said: str) -> None:
    (problem,) = problems_of(tmp_path, text)
    assert said in problem
