"""The report as a file: whole, self-contained, and readable without its pictures."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lfusion.evaluation import EvaluationReport, Figures, evaluate, read_foreign
from lfusion.evaluation.page import write_report
from lfusion.image import Dataset
from lfusion.predictor import Predictor, load


class Page(HTMLParser):
    """Every element with its attributes, and the elements left open."""

    VOID = frozenset({"meta", "br", "img", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def report(heads: Path, tiny_checkpoint: Path) -> tuple[EvaluationReport, Predictor]:
    predictor, data = load(tiny_checkpoint, device="cpu"), Dataset.read(heads)
    foreign = {"<elsewhere>": data.split("val")}
    return evaluate(predictor, data.split("test"), foreign=foreign), predictor


@pytest.fixture(scope="module")
def text(
    report: tuple[EvaluationReport, Predictor],
    heads: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> str:
    found, predictor = report
    path = tmp_path_factory.mktemp("page") / "new" / "report.html"
    data = Dataset.read(heads)
    foreign = {"<elsewhere>": data.split("val")}
    figures = Figures.of(found)
    write_report(path, "heads, test", found, figures, predictor, data.split("test"), foreign)
    return path.read_text(encoding="utf-8")


def test_elements_are_closed_and_ids_are_unique(text: str) -> None:
    page = Page(text)
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_nothing_is_loaded_from_elsewhere(text: str) -> None:
    page = Page(text)
    assert not page.all("script")
    assert not page.all("link")
    for _, attributes in page.elements:
        for name in ("src", "href", "xlink:href"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:image/")), value
    assert not re.search(r"@import|url\((?!#)", text)


def test_every_picture_says_what_it_shows(text: str) -> None:
    pictures = [a for a in Page(text).all("svg") if a.get("aria-hidden") != "true"]
    assert len(pictures) >= 3 * 3 + 4
    for attributes in pictures:
        assert attributes["role"] == "img"
        assert attributes["aria-label"]


def test_tables_name_their_rows_and_columns(text: str) -> None:
    assert {cell.get("scope") for cell in Page(text).all("th")} == {"row", "col"}


def test_names_cannot_become_markup(text: str) -> None:
    assert "<elsewhere>" not in text
    assert "&lt;elsewhere&gt;" in text


def test_charts_take_their_colours_from_the_page(text: str) -> None:
    for chart in re.findall(r"<svg[^>]*class=\"chart\".*?</svg>", text, re.DOTALL):
        assert "var(--ink)" in chart or "var(--muted)" in chart
        assert not re.search(r"#0([1-7])0(?:\1)0\1", chart)


def test_says_the_figures_and_research_use_once(
    text: str, report: tuple[EvaluationReport, Predictor]
) -> None:
    mean = report[0].summary()["dice_mean"]
    assert f"{mean:.4f}<small>" in text
    assert text.count("not a medical device") == 1
    assert "3 images of 3 examinations" in text


def test_without_foreign_images_there_is_no_section_on_them(
    report: tuple[EvaluationReport, Predictor], heads: Path, tmp_path: Path
) -> None:
    _, predictor = report
    data = Dataset.read(heads).split("val")
    found = evaluate(predictor, data)
    path = tmp_path / "plain.html"
    write_report(path, "heads", found, Figures.of(found), predictor, data, read_foreign([], "val"))
    assert "elsewhere" not in path.read_text(encoding="utf-8")
