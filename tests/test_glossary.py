"""One glossary: plain sentences, in order, and true to the code."""

from pathlib import Path

import pytest

from barograph import drift
from barograph.alert import BURNS
from barograph.cells import SCORE_CELLS
from barograph.glossary import GLOSSARY
from barograph.grafana import DASHBOARDS
from barograph.mixin.options import Options


@pytest.mark.parametrize("term", GLOSSARY)
def test_a_term_is_explained_in_a_few_plain_sentences(term: str) -> None:
    text = GLOSSARY[term]
    sentences = text.replace("99.9", "").replace("0.1", "").replace("0.2", "").replace("14.4", "").count(".")
    assert text[0].isupper() or text.startswith("p95")
    assert text.endswith(".") and 1 <= sentences <= 3
    assert 40 <= len(text) <= 260
    assert not set("!;—") & set(text)


def test_terms_are_in_order() -> None:
    assert list(GLOSSARY) == sorted(GLOSSARY, key=str.lower)


def test_every_signal_is_explained_under_its_title() -> None:
    for name, signal in drift.SIGNALS.items():
        assert GLOSSARY[f"signal {name}"].startswith(f"{signal.title}: ")


def test_numbers_in_it_are_those_of_the_code() -> None:
    assert f"Below {drift.MINIMUM_ROWS} rows" in GLOSSARY["too few rows"]
    assert (
        f"over {drift.CELLS} cells" in GLOSSARY["PSI"] and f"of {drift.CELLS} cells" in GLOSSARY["signal D"]
    )
    assert f"{SCORE_CELLS} of a score" in GLOSSARY["cell"]
    fastest = max(burn.factor for burn in BURNS)
    assert f"at {fastest} a month's budget is gone in two days" in GLOSSARY["burn rate"]
    assert round(30 / fastest) == 2


def test_panels_use_most_of_it() -> None:
    used = {
        term
        for make in DASHBOARDS.values()
        for row in make(Options()).rows
        for panel in row.panels
        for term in panel.terms
    }
    assert used <= set(GLOSSARY) and len(used) >= len(GLOSSARY) / 2


def test_the_page_of_the_docs_says_the_same() -> None:
    page = (Path(__file__).parents[1] / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert page == "# What the words mean\n\n" + "\n".join(
        f"**{term}**: {text}\n" for term, text in GLOSSARY.items()
    )
