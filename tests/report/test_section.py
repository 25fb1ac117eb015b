"""Pages and tables show every text as it is, and nothing in a text becomes HTML."""

from __future__ import annotations

from slams.report.reading import Estimate
from slams.report.section import Section, new_section, page
from slams.report.tables import Cell, folded, table

SHARP = "<b>&'\"</b>"
ESCAPED = "&lt;b&gt;&amp;&#39;&#34;&lt;/b&gt;"


def test_texts_are_escaped_once_and_tables_not_again() -> None:
    rows = [[SHARP, Cell(SHARP, interval=SHARP), Estimate(1.25, 1.0, 1.5), None]]
    made = table([SHARP, "x", "y", "z"], rows, caption=SHARP, identity="one")
    assert made.count(ESCAPED) == 5
    assert '<td data-value="1.25">1.25<span class="interval">1.00 to 1.50</span></td>' in made
    assert "<td>–</td>" in made
    section = Section("a", SHARP, SHARP, findings=[SHARP], missing=[SHARP])
    section.tables.append(folded(SHARP, [made]))
    text = page(SHARP, SHARP, [section], SHARP)
    assert "<b>" not in text
    assert "&amp;lt;" not in text
    assert text.count('<table id="one">') == 1


def test_sections_start_with_their_words_and_nothing_else() -> None:
    section = new_section("ranks")
    assert section.title == "Rank histograms"
    assert section.caption.startswith("The height of a bar")
    section.without("No table.")
    assert new_section("ranks").missing == []
