"""Lines about a study's recordings."""

from __future__ import annotations

from aar_ray.report.recordings import recording_lines

ABOUT = {
    "animals": 3,
    "windows": 1234,
    "dropped": {"time stamp repeated": {"stretches": 7, "seconds": 61.0}},
    "constant_axes": {"cow-2": ["y"]},
}


def test_windows_animals_and_everything_left_out_are_said() -> None:
    event = {
        "simulated": False,
        "corpus": {"summary": {"cows": ABOUT}},
        "warnings": ["fold a: validation lacks walking"],
    }
    assert list(recording_lines(event)) == [
        "cows: 1,234 windows of 3 animals",
        "cows: left out, time stamp repeated: 7 stretches, 1:01 in all",
        "cows: constant in cow-2: y",
        "warning: fold a: validation lacks walking",
    ]


def test_simulated_sources_say_so_and_the_labelled_one_comes_last() -> None:
    quiet = {**ABOUT, "dropped": {}, "constant_axes": {}}
    event = {"simulated": True, "corpus": {"summary": {"ewes": quiet}}, "labelled": {"summary": {"goats": quiet}}}
    lines = list(recording_lines(event))
    assert [line.split(":")[0] for line in lines] == ["ewes (SIMULATED)", "goats (SIMULATED)"]


def test_an_event_without_summaries_gives_no_lines() -> None:
    assert list(recording_lines({"corpus": {"windows": 5}})) == []
