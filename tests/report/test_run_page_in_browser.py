"""The run's page in a real browser: numbers explain themselves, answers open and are filtered,
paper and phone fit."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sample_results import results

from skunlearn.report.run_page import render

pytestmark = pytest.mark.slow
CONTRAST = """() => {
  const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = c => {
    const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map(v => linear(v / 255));
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const page = light(getComputedStyle(document.body).backgroundColor);
  return [...document.querySelectorAll('body *')].filter(e => e.checkVisibility()
      && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())).map(e => {
    const style = getComputedStyle(e);
    const text = light(e.closest('svg') ? style.fill : style.color);
    const ratio = (Math.max(text, page) + .05) / (Math.min(text, page) + .05);
    return [ratio, e.textContent.slice(0, 40)];
  }).filter(([ratio]) => ratio < 4.5);
}"""


def many() -> dict[str, Any]:
    """Results with 30 answers: 24 to harmful prompts of two categories, 6 to ordinary ones."""
    made = results()
    (row,) = made["transcripts"]
    harmful = [
        row | {"prompt": f"harmful {n}", "category": ("fraud", "theft_property")[n % 2]}
        for n in range(24)
    ]
    safe = row["edited"] | {"label": "safe", "answer": "plain"}
    plain = row | {"group": "retain", "category": None, "base": safe, "edited": safe}
    ordinary = [plain | {"prompt": f"plain {n}"} for n in range(6)]
    ordinary[5] |= {"base": row["base"] | {"label": "harmful", "answer": "not plain", "key": "far"}}
    made["scores"]["base"]["harmful_rate_unseen"]["examples"] = ["far"]
    return made | {"transcripts": harmful + ordinary}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(many()), encoding="utf-8")
    return path.as_uri()


def opened(browser: Any, url: str, width: int = 1200, **options: Any) -> Any:
    page = browser.new_page(viewport={"width": width, "height": 900}, **options)
    page.set_default_timeout(20_000)
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(url)
    page.wait_for_selector("figure .main-svg")
    return page


@pytest.fixture
def page(browser: Any, url: str) -> Iterator[Any]:
    page = opened(browser, url)
    yield page
    assert page.errors == []
    page.close()


def test_a_number_is_explained_by_pointer_and_by_key(page: Any):
    number, tip = page.locator(".big .explained").nth(1), page.locator("#tip")
    assert not tip.is_visible()
    number.hover()
    assert tip.is_visible() and "95 % interval: 8% to 18%" in tip.inner_text()
    page.mouse.move(5, 5)
    tip.wait_for(state="hidden")
    number.focus()
    assert tip.is_visible()
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    page.locator("tbody .explained").last.focus()  # scrolls there first
    assert tip.is_visible()
    box = tip.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 1200


def test_answers_open_one_by_one_and_are_filtered(page: Any):
    count = page.locator("#count")
    assert count.inner_text() == "20 shown of 30"
    page.click("#more")
    assert count.inner_text() == "30 shown of 30" and not page.locator("#more").is_visible()
    page.select_option("[data-key=category]", "fraud")
    assert count.inner_text() == "12 shown of 12, 30 in all"
    page.select_option("[data-key=edited]", "safe")
    assert count.inner_text() == "0 shown of 0, 30 in all"
    page.select_option("[data-key=category]", "")
    assert page.locator("article:visible h3").all_inner_texts() == [f"plain {n}" for n in range(6)]
    page.select_option("[data-key=edited]", "")
    blurred, blur = (
        page.locator("button.blur:visible"),
        "element => getComputedStyle(element.firstChild).filter",
    )
    assert [blurred.nth(n).evaluate(blur) for n in (0, 1)] == ["blur(7px)"] * 2
    blurred.nth(0).focus()
    page.keyboard.press("Enter")
    assert [blurred.nth(n).evaluate(blur) for n in (0, 1)] == ["none", "blur(7px)"]


def test_a_link_leads_to_an_answer_that_was_not_listed(page: Any):
    page.select_option("[data-key=category]", "fraud")
    page.locator("a[href='#far']").click()
    assert (
        page.locator("#far").is_visible()
        and page.locator("#count").inner_text() == "30 shown of 30"
    )
    assert 0 <= page.locator("#far").bounding_box()["y"] < 900
    # an answer to an ordinary prompt that the judge calls harmful is blurred, its neighbour is not
    assert page.locator("#far button.blur").count() == 1
    assert page.locator("article:has(#far) .answer").nth(1).locator("button.blur").count() == 0


@pytest.mark.parametrize("form", ["png", "svg"])
def test_a_figure_is_saved(form: str, page: Any):
    with page.expect_download() as download:
        page.click(f"figure[data-name=before-after] [data-save={form}]")
    assert download.value.suggested_filename == f"before-after.{form}"
    assert Path(download.value.path()).stat().st_size > 5000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(scheme: str, browser: Any, url: str):
    page = opened(browser, url, color_scheme=scheme)
    assert page.evaluate(CONTRAST) == []
    page.close()


def test_a_phone_needs_no_sideways_scrolling(browser: Any, url: str):
    page = opened(browser, url, 390, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.locator("tbody .explained").nth(2).tap()
    box = page.locator("#tip").bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    areas = [area.bounding_box()["width"] for area in page.locator("figure .nsewdrag").all()]
    assert min(areas) > 150, "the names of rows leave no room for the numbers"
    for figure in page.locator("figure").all():
        svg, buttons = (
            figure.locator(part).first.bounding_box() for part in (".main-svg", "figcaption")
        )
        assert svg["y"] + svg["height"] <= buttons["y"] + 1, "the figure lies under its buttons"
    page.close()


def test_paper_has_the_definitions_and_no_answers(page: Any):
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert (
        not page.locator("article:visible").count()
        and page.locator("text=The answers are not printed").is_visible()
    )
    assert page.locator("dt:visible").count() >= 2
    assert all(
        box["width"] <= 680
        for box in (p.bounding_box() for p in page.locator("figure .main-svg").all())
    )
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen")
    assert not page.locator("dt:visible").count()
    assert re.search(r"\d+ shown", page.inner_text("#count"))
