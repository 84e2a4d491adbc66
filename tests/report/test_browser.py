"""What people see: TensorBoard on loopback and the report's page, in Debian's Chromium without a network.

Screenshots go to the folder that AAR_RAY_SCREENSHOTS names, else to pytest's own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import fake_journal as journal
import pytest
from fake_store import WINDOWS, write_store
from playwright.sync_api import Browser, Page, expect, sync_playwright
from tensorboard.program import TensorBoard

from aar_ray.report.page import write_report
from aar_ray.report.tensorboard import rebuild

CHROMIUM = shutil.which("chromium") or ""
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # the projector draws with WebGL
    "--enable-unsafe-swiftshader",
)
PATIENCE = 90_000
"""Milliseconds that a shown thing may take."""

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs Debian's chromium: apt-get install chromium")

STUDY = [
    *journal.searched_study(5, 3, simulated=True, confirmed=1)[:-4],
    *journal.trial_started(9),
    *journal.finished(9, None, "failed", "out of memory"),
    *journal.searched_study(5, 3, simulated=True, confirmed=1)[-4:],
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    named = os.environ.get("AAR_RAY_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Address of a TensorBoard that shows a study."""
    folder = tmp_path_factory.mktemp("board")
    rebuild(folder / "tensorboard", STUDY, write_store(folder / "store", STUDY)).close()
    program = TensorBoard()
    reading = ["--load_fast=false", "--reload_interval=0", "--reload_task=blocking"]
    program.configure(argv=["", f"--logdir={folder / 'tensorboard'}", "--host=127.0.0.1", "--port=0", *reading])
    return str(program.launch())


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    yield opened
    context.close()


def test_the_hparams_table_has_a_row_a_trial_with_settings_scores_and_status(
    board: str, page: Page, screenshots: Path
) -> None:
    page.goto(f"{board}#hparams")
    table = page.locator("tf-hparams-table-view")
    expect(table).to_contain_text("tfc.margin")
    rows = table.locator("vaadin-grid-cell-content")
    for text in ("trial-000 λ0.50 δ0.50 P8 S4", "trial-009 λ0.50 δ0.50 P8 S4"):
        expect(rows.filter(has_text=text).first).to_be_attached()
    page.screenshot(path=screenshots / "hparams.png")


def test_scalars_show_the_losses_of_every_run(board: str, page: Page, screenshots: Path) -> None:
    page.goto(f"{board}#scalars&tagFilter=pretrain%2FL_C")
    expect(page.get_by_text("Tags matching").first).to_be_visible(timeout=PATIENCE)
    expect(page.get_by_text("pretrain/L_C", exact=True).filter(visible=True).first).to_be_visible(timeout=PATIENCE)
    for number in range(5):
        expect(page.get_by_text(f"trial-00{number} λ").filter(visible=True).first).to_be_visible()
    page.screenshot(path=screenshots / "scalars.png")


def test_images_show_confusion_matrices(board: str, page: Page, screenshots: Path) -> None:
    page.goto(f"{board}#images")
    picture = page.locator("tf-image-loader img, image-card img").first
    expect(picture).to_be_visible(timeout=PATIENCE)
    page.screenshot(path=screenshots / "images.png")


def test_the_projector_shows_validation_windows(board: str, page: Page, screenshots: Path) -> None:
    page.goto(f"{board}#projector")
    frame = page.frame_locator("iframe").frame_locator("iframe")
    points = frame.locator(".numDataPoints", has_text=re.compile(rf"^\s*{3 * WINDOWS}\s*$"))
    expect(points.first).to_be_attached(timeout=PATIENCE)
    expect(frame.get_by_text("validation windows, encoder of trial").first).to_be_attached()
    page.screenshot(path=screenshots / "projector.png")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "herd"
    folder.mkdir()
    events = journal.searched_study(18, 4, simulated=True, confirmed=2)
    (folder / "journal.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return write_report(folder)


@pytest.mark.parametrize(("name", "width", "scheme"), [("desktop", 1280, "light"), ("phone", 390, "dark")])
def test_the_report_fits_its_screen_and_its_colours_follow_the_theme(
    report: Path, browser: Browser, screenshots: Path, name: str, width: int, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    assert [address for address in asked if not address.startswith(("file:", "data:"))] == []
    # nothing sticks out: wide tables scroll by themselves
    assert page.evaluate("document.documentElement.scrollWidth") == width
    expect(page.get_by_role("heading", name="What won, and by how much")).to_be_visible()
    expect(page.get_by_role("img", name="Importance of each setting")).to_be_visible()
    text = page.locator("#figure-standing svg text").first
    assert text.evaluate("node => node.getBoundingClientRect().height") >= 8
    ink, paper = (
        page.evaluate(f"getComputedStyle(document.documentElement).{which}") for which in ("color", "backgroundColor")
    )
    assert brightness(ink) > brightness(paper) if scheme == "dark" else brightness(ink) < brightness(paper)
    assert text.evaluate("node => getComputedStyle(node).fill") == ink
    page.screenshot(path=screenshots / f"report-{name}.png", full_page=True)
    context.close()


def test_the_report_prints_dark_on_white_and_no_figure_is_cut(
    report: Path, browser: Browser, screenshots: Path
) -> None:
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(report.as_uri())
    page.emulate_media(media="print", color_scheme="dark")
    ink = page.evaluate("getComputedStyle(document.documentElement).color")
    assert brightness(ink) == 0
    assert page.evaluate("getComputedStyle(document.querySelector('figure')).breakInside") == "avoid"
    page.pdf(path=screenshots / "report.pdf")
    context.close()


def brightness(colour: str) -> float:
    red, green, blue = map(int, re.findall(r"\d+", colour)[:3])
    return 0.299 * red + 0.587 * green + 0.114 * blue
