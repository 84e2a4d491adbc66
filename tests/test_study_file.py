"""Study files that are wrong say where and why, all at once; those that are right come back as they were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wrong_study_files import BASE, ENCODER, MARGIN, STRIDE_LE_LENGTH, WRONG, changed, loaded, problems_of

from aar_ray.config import dotted, settings_from
from aar_ray.study_file.constraints import constraints
from aar_ray.study_file.loader import StudyFileError, load_study, save_study

STUDIES = sorted((Path(__file__).parents[1] / "studies").glob("*.yaml"))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "study.yaml"


# --- wrong files -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new", "said"), WRONG, ids=[said.split(": ")[0] for *_, said in WRONG])
def test_wrong_file_says_what_is_wrong_and_where(file: Path, old: str, new: str, said: str) -> None:
    marked = changed((old, new))
    before = marked[: marked.index("¦")]
    line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
    (problem,) = problems_of(file, marked.replace("¦", ""))
    assert problem == f"{line}:{column}: {said}"


def test_there_are_sixty_wrong_files_and_as_many_of_conditions_samplers_and_what_is_enqueued() -> None:
    assert len({(old, new) for old, new, _ in WRONG}) == len(WRONG) >= 150
    # two ways to enqueue what trial 0 has
    assert len({said for *_, said in WRONG}) == len(WRONG) - 1


def test_all_errors_come_at_once_in_the_order_of_the_file(file: Path) -> None:
    text = changed(
        ("trials: 4", "trials: -4"),
        ("animals: 3", "animals: 0"),
        ("tfc.temperature: 0.2", "tfc.tau: 0.2"),
        ("name: herd", "name: 7"),
        (MARGIN, "tfc.margin: {uniform: [-1, none]}"),
        (STRIDE_LE_LENGTH, "patchtst.patch_stride = patchtst.patch_length"),
    )
    assert problems_of(file, text) == [
        "1:7: name: must be text, got 7; put it in quotes",
        "5:65: data.unlabelled.0.animals: must be at least 1, got 0",
        "15:3: fixed.tfc.tau: unknown setting; did you mean tfc.temperature?",
        "17:30: search.tfc.margin.uniform.1: must be a number, got 'none'",
        "23:5: require.0: must read `smaller <= larger` with two searched settings, got 'patchtst.patch_stride = "
        "patchtst.patch_length'; write patchtst.patch_stride <= patchtst.patch_length",
        "25:11: budget.trials: must be at least 1, got -4",
    ]


def test_a_range_is_checked_although_another_section_is_wrong(file: Path) -> None:
    text = changed(("budget:\n  trials: 4\n", ""), ("{integer: [4, 16]}", "{integer: [4, 90]}"))
    assert [problem.split(": ")[1] for problem in problems_of(file, text)] == [
        "budget.trials",
        "search.patchtst.patch_length",
    ]


def test_stride_without_constraint_is_refused_with_the_line_to_add(file: Path) -> None:
    (problem,) = problems_of(file, changed((f"require:\n  - {STRIDE_LE_LENGTH}\n", "")))
    assert problem.startswith("19:3: search.patchtst.patch_stride: ")
    added = problem.split("`")[1]
    study = loaded(file, changed((f"require:\n  - {STRIDE_LE_LENGTH}", added)))
    assert study.require == (STRIDE_LE_LENGTH,)


def test_stride_that_cannot_exceed_the_patch_needs_no_constraint(file: Path) -> None:
    text = changed((f"require:\n  - {STRIDE_LE_LENGTH}\n", ""), ("{integer: [2, 16]}", "{integer: [2, 4]}"))
    assert constraints(loaded(file, text)) == ()


def test_patch_may_be_as_long_as_the_shortest_series_that_it_cuts(file: Path) -> None:
    # L = 50: 26 bins one-sided, 50 two-sided
    loaded(file, changed(("{integer: [4, 16]}", "{integer: [4, 26]}")))
    two_sided = ("tfc.temperature: 0.2", "spectrum.sides: two")
    loaded(file, changed(two_sided, ("{integer: [4, 16]}", "{integer: [4, 50]}")))
    (problem,) = problems_of(file, changed(two_sided, ("{integer: [4, 16]}", "{integer: [4, 51]}")))
    assert "at most the 50 samples of a window of 50 samples, got 51" in problem


def test_short_window_is_named_where_the_file_names_no_patch_length(file: Path) -> None:
    text = changed(
        ("  patchtst.patch_length: {integer: [4, 16]}\n  patchtst.patch_stride: {integer: [2, 16]}\n", ""),
        (f"require:\n  - {STRIDE_LE_LENGTH}\n", ""),
        ("  labelled:", "  window_seconds: 0.4\n  labelled:"),
    )
    (problem,) = problems_of(file, text)
    assert problem.startswith("12:19: data.window_seconds: patchtst.patch_length must be at most the 6 bins")


def test_searches_in_vain_are_allowed_once_they_can_matter(file: Path) -> None:
    text = changed(
        ("tfc.temperature: 0.2", "tfc.contrastive_weight: 1\n  tfc.alignment_weight: 0.1"),
        (MARGIN, "tfc.projector_size: {integer: [16, 64]}"),
        (ENCODER, "tfc.negatives: {choice: [global, local]}"),
        ("budget:", "resources: {pretrain: {workers: 2}}\nbudget:"),
    )
    assert set(loaded(file, text).search) >= {"tfc.projector_size", "tfc.negatives"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1:1: must be a mapping of names to values, got an empty file"),
        ("# nothing\n", "1:1: must be a mapping of names to values, got an empty file"),
        ("---\n", "2:1: must be a mapping of names to values, got nothing"),
        ("- a\n- b\n", "1:1: must be a mapping of names to values, got ['a', 'b']"),
        ("name", "1:1: must be a mapping of names to values, got 'name'"),
        (b"name: herd\nseed: \xe9\n", "2:7: must be text in UTF-8, got the byte 0xe9; save it as UTF-8"),
        ("[" * 1000, "1:1: must be valid YAML: brackets are nested too deeply"),
    ],
)
def test_text_without_a_study_is_refused(file: Path, text: str | bytes, said: str) -> None:
    assert problems_of(file, text) == [said]


def test_aliases_that_multiply_end_early(file: Path) -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert any("at most 100000 values" in problem for problem in problems_of(file, "\n".join(lines)))


def test_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "tfc_sweep.yaml").write_text(BASE)
    with pytest.raises(
        StudyFileError, match=r"tfc_swep\.yaml:1:1: there is no such file; did you mean .*tfc_sweep\.yaml"
    ):
        load_study(tmp_path / "tfc_swep.yaml")


def test_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match="must be a file, got a folder"):
        load_study(tmp_path)


SCRAPS = [
    "[",
    "]",
    "{",
    "}",
    ": ",
    "- ",
    "\t",
    "\n",
    "&a ",
    "*a",
    "!x ",
    "!!float ",
    "null",
    ".nan",
    "1e999",
    "'",
    "%",
    "? ",
]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.tuples(st.integers(0, len(BASE)), st.integers(0, 9), st.sampled_from(SCRAPS)), max_size=4))
def test_no_text_ends_in_another_exception(file: Path, cuts: list[tuple[int, int, str]]) -> None:
    text = BASE
    for start, length, scrap in cuts:
        text = text[:start] + scrap + text[start + length :]
    file.write_text(text)
    problems: tuple[str, ...] = ()
    try:
        load_study(file)
    except StudyFileError as error:
        problems = error.problems or ("an error without a problem",)
    assert all(problem.startswith(f"{file}:") and "\n" not in problem for problem in problems)


# --- right files -------------------------------------------------------------------------------------------------


def test_right_file_is_read_as_written(file: Path) -> None:
    study = loaded(file, BASE)
    assert (study.name, study.seed, study.budget.trials) == ("herd", 3, 4)
    assert study.fixed == {"patchtst.model_size": 64, "tfc.temperature": 0.2}
    assert study.search["finetune.learning_rate"].model_dump(exclude_none=True) == {"log_uniform": (3e-5, 3e-3)}
    assert constraints(study) == (("patchtst.patch_stride", "patchtst.patch_length"),)


def test_byte_order_mark_dates_and_short_exponents_are_read_as_meant(file: Path) -> None:
    text = "\N{ZERO WIDTH NO-BREAK SPACE}" + changed(("name: herd", "name: 2024-05-01"), ("0.2", "1e-4"))
    study = loaded(file, text)
    assert (study.name, study.fixed["tfc.temperature"]) == ("2024-05-01", 0.0001)


def test_constraints_are_listed_once_and_only_where_they_can_bind(file: Path) -> None:
    text = changed(
        (STRIDE_LE_LENGTH, f"{STRIDE_LE_LENGTH}\n  - {STRIDE_LE_LENGTH}\n  - tfc.margin <= patchtst.patch_length")
    )
    assert constraints(loaded(file, text)) == (("patchtst.patch_stride", "patchtst.patch_length"),)
    assert constraints(loaded(file, changed(("{integer: [2, 16]}", "{integer: [2, 4]}")))) == ()
    assert len(constraints(loaded(file, changed(("{integer: [2, 16]}", "{integer: [2, 5]}"))))) == 1


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_study_files_of_the_project_are_right(path: Path, tmp_path: Path) -> None:
    study = load_study(path)
    assert study.name == path.stem
    save_study(study, tmp_path / "resolved.yaml")
    assert load_study(tmp_path / "resolved.yaml") == study


def test_resolved_file_holds_what_it_was_given_and_names_every_default(file: Path, tmp_path: Path) -> None:
    text = changed(
        ("tfc.temperature: 0.2", "classifier.fused_size: null\n  augment.time_families: [crop, jitter]"),
        ("name: herd", "name: '12'"),
        (ENCODER, "augment.frequency_families: {choice: [[masking], [masking, perturbation]]}"),
        ("unit: mg", "unit: mg\n      behaviours: {'1': grazing, 'no': 'null', ü: '1e-4'}"),
    )
    study = loaded(file, text)
    resolved = tmp_path / "new" / "resolved.yaml"
    save_study(study, resolved)
    assert load_study(resolved) == study
    assert all(name in resolved.read_text() for name in dotted(study.reference()))
    assert [path.name for path in resolved.parent.iterdir()] == ["resolved.yaml"]


def test_failed_write_leaves_the_earlier_file(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = loaded(file, BASE)
    resolved = tmp_path / "resolved.yaml"
    save_study(study, resolved)
    before = resolved.read_bytes()

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_study(study.model_copy(update={"seed": 9}), resolved)
    assert resolved.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"resolved.yaml", "study.yaml"}


whole = st.integers(1, 24)
ranges = st.tuples(whole, whole).map(lambda ends: {"integer": sorted(ends)})
choices = st.lists(whole, min_size=2, max_size=3).map(lambda values: {"choice": values})
given_as = st.one_of(st.none(), whole, ranges, choices)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    length=given_as,
    stride=given_as,
    size=st.one_of(st.none(), st.sampled_from([16, 24, 60, {"choice": [16, 24]}, {"integer": [16, 48], "step": 16}])),
    heads=given_as,
    constrained=st.booleans(),
)
def test_what_is_accepted_works_wherever_the_search_goes(
    file: Path, length: Any, stride: Any, size: Any, heads: Any, constrained: bool
) -> None:
    names = {"patch_length": length, "patch_stride": stride, "model_size": size, "heads": heads}
    overrides = [
        f"{'search.' if isinstance(value, dict) else ''}patchtst.{name}={value}"
        for name, value in names.items()
        if value is not None
    ]
    searched = [f"patchtst.{name}" for name, value in names.items() if isinstance(value, dict)]
    text = changed(
        ("  patchtst.patch_length: {integer: [4, 16]}\n  patchtst.patch_stride: {integer: [2, 16]}\n", ""),
        (f"require:\n  - {STRIDE_LE_LENGTH}\n", ""),
    )
    require = f"require={[STRIDE_LE_LENGTH] if constrained else []}"
    file.write_text(text)
    try:
        study = load_study(file, [*overrides, require])
    except StudyFileError:
        return
    study.reference()
    corners: list[dict[str, Any]] = [{}]
    for name in searched:
        distribution = study.search[name].model_dump()
        values = distribution.get("choice") or range(
            distribution["integer"][0], distribution["integer"][1] + 1, distribution["step"]
        )
        corners = [{**corner, name: value} for corner in corners for value in values][:4000]
    for corner in corners:
        point = {**study.fixed, **corner}
        if all(point[smaller] <= point[larger] for smaller, larger in constraints(study)):
            settings_from(point)
