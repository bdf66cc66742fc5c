"""The report of real runs, looked at in a real headless Chromium."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Dialog, Page, expect

from pipeline import artifacts
from pipeline.config import local
from pipeline.report.index import write_index
from tests.browser import chromium
from tests.e2e.runs import PROJECT, Finished, Rows, finished
from tests.e2e.warm import WarmProcess

pytestmark = pytest.mark.e2e

SECTIONS = [
    "Verdict",
    "Pipeline",
    "Quarantine",
    "Data",
    "Data trust",
    "Training",
    "Metrics",
    "Gates",
    "Slices",
    "Fairness",
    "Calibration and thresholds",
    "Serving check",
    "Model card",
    "Lineage",
    "Configuration and versions",
]
WIDTHS = {"phone": 390, "projector": 1280}


@dataclass
class Looked:
    """A page that is open, and what went wrong on it.

    Attributes:
        page: The page.
        complaints: Console messages and errors.
        requests: Addresses outside of the file that it asked for.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def table(self, section: str) -> list[list[str]]:
        """Cells of the first table of a section that belongs to no chart."""
        table = self.page.locator(f"#{section} table:not(figure table)").first
        rows = table.locator("tbody tr").all()
        # Not the inner text, which is empty where a table waits to be unfolded.
        cells = [row.locator("th, td").all_text_contents() for row in rows]
        return [[text.strip() for text in row] for row in cells]


Look = Callable[..., Looked]


@pytest.fixture(scope="session")
def reports(main_run: Finished, second_run: Finished) -> Path:
    """Writes the reports of both runs anew, by the command; returns their directory."""
    runs = second_run.output / "runs"
    for run in (main_run.run, second_run.run):
        subprocess.run(
            [
                *(sys.executable, "-m", "pipeline.cli", "report", run.name),
                *("--output", second_run.output),
            ],
            cwd=PROJECT,
            check=True,
        )
    return runs


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium without a window and without a profile of its own."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def look(browser: Browser) -> Iterator[Look]:
    """Opens files as a person would, and notes whatever goes wrong."""
    contexts = []

    def open_file(path: Path, width: int = 1280, scheme: str = "light") -> Looked:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        contexts.append(context)
        looked = Looked(context.new_page())
        page = looked.page
        page.on("console", lambda message: looked.complaints.append(message.text))
        page.on("pageerror", lambda error: looked.complaints.append(str(error)))
        page.on("request", lambda r: looked.requests.append(r.url))
        page.add_init_script("addEventListener('error', (e) => console.log(e.message))")
        page.goto(path.as_uri())
        page.locator("figure svg").first.wait_for()
        return looked

    yield open_file
    for context in contexts:
        context.close()


@pytest.fixture
def newest(reports: Path, second_run: Finished) -> Path:
    """The report of the second run."""
    return reports / second_run.run.name / "report.html"


def test_page_is_whole_and_alone(newest: Path, look: Look) -> None:
    """The page has every section, asks for nothing, and complains about nothing."""
    looked = look(newest)

    looked.page.evaluate(
        "document.querySelectorAll('details').forEach(d => d.open = 1)"
    )
    expect(looked.page.locator("figure:not(:has(.plot svg))")).to_have_count(0)

    assert looked.page.locator("h2").all_inner_texts() == SECTIONS
    assert looked.complaints == []
    assert [u for u in looked.requests if not u.startswith(("file:", "data:"))] == []
    assert newest.stat().st_size < 3_000_000


def test_numbers_are_the_run_s_own(
    newest: Path, look: Look, second_run: Finished
) -> None:
    """Verdict, states, rows and metrics are those of this very run."""
    looked = look(newest)
    metrics = second_run.metrics()

    verdict = looked.page.locator("#verdict").inner_text()
    metric, candidate, baseline, *_ = looked.table("metrics")[0]
    states = {row[0]: row[1] for row in looked.table("pipeline")}

    assert f"pushed as version {second_run.versions[-1].name}" in verdict
    assert (metric, candidate, baseline) == (
        "AUC",
        f"{metrics['candidate']['auc']:.4g}",
        f"{metrics['baseline']['auc']:.4g}",
    )
    # The record and the metadata store call a state by different names.
    executed = second_run.states()
    for node in ("Transform", "Trainer", "Evaluator"):
        assert states[node] == executed[node].replace("COMPLETE", "DONE").lower()
    assert len(states) >= 11
    run = artifacts.of_run(second_run.run.name, output=second_run.output)
    rows = [f"{f['fare'].rows:,}" for f in run.features().values()]
    facts = looked.page.locator("#data dd").all_inner_texts()
    assert facts == rows


def test_each_feature_has_a_row_and_a_chart_with_its_numbers(
    newest: Path, look: Look, second_run: Finished
) -> None:
    """Every column of the data is in the table, and charts have tables beside them."""
    looked = look(newest)
    run = artifacts.of_run(second_run.run.name, output=second_run.output)

    features = [row[0] for row in looked.table("data")]
    looked.page.locator("#data details").evaluate_all(
        "all => all.forEach(d => d.open = 1)"
    )
    figure = looked.page.locator("#data figure", has_text="payment_type").first
    numbers = figure.locator("tbody tr").first.locator("th, td").all_inner_texts()

    feature = run.features()["train"]["payment_type"]
    roles = {row[0]: row[1] for row in looked.table("data")}
    titles = looked.page.locator("#data figcaption").all_inner_texts()
    assert (roles["tips"], roles["fare"]) == ("label", "feature and label")
    assert roles["pickup_census_tract"] == "unused"
    assert {"tips (label)", "payment_type"} <= set(titles)
    assert features == list(run.features()["train"])
    assert looked.page.locator("#data figure").count() >= len(features) - 1
    assert numbers[0] == feature.texts[0].value
    assert float(numbers[1]) == pytest.approx(
        feature.texts[0].rows / feature.rows, rel=1e-3
    )


def test_coverage_is_a_heat_map_with_its_numbers(newest: Path, look: Look) -> None:
    """Each cell that training has is drawn; those it lacks are crosses."""
    looked = look(newest)
    figure = looked.page.locator("#data-trust figure.heat")

    figure.scroll_into_view_if_needed()
    figure.locator("svg").first.wait_for()
    cells = figure.locator("svg [aria-label=cell] rect").count()
    crosses = figure.locator("svg [aria-label=text] text").count()
    numbers = figure.locator("tbody td").all_text_contents()
    shown = [text.strip() for text in numbers if text.strip()]

    absent = [text for text in shown if text.startswith("(")]
    note = looked.page.locator("#data-trust .note").inner_text()
    assert note.startswith("The data was accepted")
    assert cells == len(shown) - len(absent) > 300
    assert crosses == len(absent) > 5
    crosses_of = [row[0] for row in looked.table("data-trust")]
    assert "trip_start_hour*pickup_community_area" in crosses_of


def test_slices_sort_by_a_click_and_by_the_keyboard(newest: Path, look: Look) -> None:
    """A click on AUC sorts by it, largest first; Enter turns it round."""
    looked = look(newest)
    column = looked.page.locator("#slices thead th", has_text="AUC").first
    button = column.get_by_role("button")

    button.click()
    falling = [float(row[2]) for row in looked.table("slices") if row[2] != "-"]
    first_sort = column.get_attribute("aria-sort")
    button.press("Enter")
    rising = [float(row[2]) for row in looked.table("slices") if row[2] != "-"]

    assert len(falling) > 20
    assert falling == sorted(falling, reverse=True)
    assert rising == sorted(rising)
    assert (first_sort, column.get_attribute("aria-sort")) == (
        "descending",
        "ascending",
    )


@pytest.mark.parametrize("device", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_phone_and_projector_in_both_schemes(
    newest: Path, look: Look, tmp_path: Path, device: str, scheme: str
) -> None:
    """Nothing is wider than the screen, and text stands out from its ground."""
    looked = look(newest, WIDTHS[device], scheme)
    page = looked.page

    width = page.evaluate("document.documentElement.scrollWidth")
    ground, ink = page.evaluate(
        "(() => { const light = (c) => c.match(/[0-9.]+/g).slice(0, 3)"
        ".reduce((a, b) => a + Number(b), 0) / 765;"
        "const style = getComputedStyle(document.querySelector('section'));"
        "return [light(style.backgroundColor), light(style.color)]; })()"
    )
    shot = page.screenshot(path=tmp_path / f"{device}-{scheme}.png", full_page=True)

    darker, lighter = (ground, ink) if scheme == "dark" else (ink, ground)
    assert width == WIDTHS[device]
    assert darker < 0.3
    assert lighter > 0.7
    assert len(shot) > 50_000


def test_readable_without_eyes(newest: Path, look: Look) -> None:
    """Charts and drawings have descriptions, tables heads, sections names."""
    page = look(newest).page

    described = page.locator("[role=img]").evaluate_all(
        "all => all.map(e => e.getAttribute('aria-label') ?? '')"
    )
    heads = page.locator("thead th:not([scope=col])").count()
    named = page.locator("section[aria-labelledby]").count()

    assert len(described) > 15
    assert all(len(text) > 20 for text in described)
    assert heads == 0
    assert named == len(SECTIONS)
    assert page.locator("h1").count() == 1
    assert page.locator("html").get_attribute("lang") == "en"


def test_prints_on_paper(newest: Path, look: Look) -> None:
    """On paper it is dark on light, also from a dark screen, and has several pages."""
    page = look(newest, scheme="dark").page

    pdf = page.pdf()
    page.emulate_media(media="print")
    ground = page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor")
    card = page.locator("section").first.evaluate(
        "e => getComputedStyle(e).backgroundColor"
    )

    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Type /Page\n") + pdf.count(b"/Type /Page ") > 2
    assert (ground, card) == ("rgb(255, 255, 255)",) * 2
    assert page.locator("nav").is_hidden()


def test_index_leads_to_each_run(
    reports: Path, look: Look, main_run: Finished, second_run: Finished
) -> None:
    """The index lists both runs with their AUC, plots it, and its links work."""
    looked = look(reports / "index.html")

    rows = {row[0]: row for row in looked.table("runs")}
    auc = f"{main_run.metrics()['candidate']['auc']:.4g}"
    dots = looked.page.locator("figure >> nth=0").locator("circle").count()
    looked.page.get_by_role("link", name=second_run.run.name).click()

    assert list(rows)[:2] == sorted(rows, reverse=True)[:2]
    assert auc in rows[main_run.run.name]
    assert dots >= 2
    title = f"taxi: big_tipper, binary classification · {second_run.run.name}"
    assert looked.page.locator("h1").inner_text() == title
    assert looked.complaints == []


# Each makes `window.evil` if the page lets it.
EVIL = {
    "a link": "<a id=bait href='javascript:window.evil=1'>x</a>",
    "a handler": "<img id=bait src='x' onerror='window.evil=1'>",
    "a click": "<b id=bait onclick='window.evil=1'>x</b>",
}


@pytest.fixture
def strange(tmp_path: Path) -> Path:
    """The index of a run whose directory has the name of a script."""
    config = replace(local(), output=tmp_path)
    run = config.runs_directory / "javascript:alert(1)"
    run.mkdir(parents=True)
    summary = {"started": "2026-01-31T10:00:00", "outcome": "done", "auc": 0.9}
    (run / "report.json").write_text(json.dumps(summary))
    (run / "report.html").write_text("<h1>the report</h1>")
    return write_index(config, lambda _: None)


def test_a_run_named_like_a_script_is_a_file(strange: Path, look: Look) -> None:
    """A click on such a run opens its report and runs nothing."""
    looked = look(strange)
    dialogs: list[str] = []

    def note(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    looked.page.on("dialog", note)

    looked.page.locator("#runs a").click()

    assert looked.page.locator("h1").inner_text() == "the report"
    assert dialogs == []


@pytest.mark.parametrize("kind", EVIL)
def test_only_the_page_s_own_scripts_run(strange: Path, look: Look, kind: str) -> None:
    """A script that gets into the page all the same is stopped by its policy."""
    looked = look(strange)
    drawn = looked.page.locator("figure svg").count()

    looked.page.locator("main").evaluate(
        "(main, html) => main.insertAdjacentHTML('beforeend', html)", EVIL[kind]
    )
    looked.page.locator("#bait").dispatch_event("click")

    said = "\n".join(looked.complaints)
    assert drawn == 1
    assert looked.page.evaluate("window.evil") is None
    assert "Content Security Policy" in said


def test_refused_data_is_explained(
    tmp_path: Path, small_data: Callable[..., Path], look: Look, warm: WarmProcess
) -> None:
    """A run that its data stopped says at the top which column and why."""

    def change(rows: Rows) -> Rows:
        return [{**row, "trip_start_hour": "24"} for row in rows]

    output = tmp_path / "out"
    flags = ("--preset", "smoke", "--data", small_data(change))
    run = finished(*warm.run(output, *flags), output)
    subprocess.run(
        [
            *(sys.executable, "-m", "pipeline.cli", "report"),
            *("--output", tmp_path / "out"),
        ],
        cwd=PROJECT,
        check=True,
    )

    looked = look(run.run / "report.html")

    note = looked.page.locator("#verdict .note").inner_text()
    assert "DataGate refused the data" in note
    assert "trip_start_hour" in note
    trust = looked.page.locator("#data-trust").inner_text()
    assert "The data was refused: " in trust
    assert "Training" not in looked.page.locator("h2").all_inner_texts()
