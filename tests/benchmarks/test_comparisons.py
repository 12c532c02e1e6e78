"""The committed results of lewm compare: what is kept of one, and its tables."""

import sys
from dataclasses import replace

from lewm.compare.result import JSON, read_comparison
from lewm.report_files import write_report
from tests.lewm.compare.example import comparison


def example():
    return comparison(("two-room",))


def test_what_is_kept_can_be_read_and_has_all_but_the_lists(module, tmp_path, monkeypatch):
    found = example()
    write_report(tmp_path / JSON, found)
    kept = tmp_path / "kept.json"
    monkeypatch.setattr(sys, "argv", ["keep_comparison.py", str(tmp_path), str(kept)])
    module("keep_comparison").main()
    again = read_comparison(kept)
    rows, before = ([row for group in one.worlds[0].groups for row in group.rows] for one in (again, found))
    statistics = [each for row in rows for each in row.embeddings if each is not None]
    assert statistics
    assert all("eigenvalues" not in each and "effective_rank" in each for each in statistics)
    assert all("rejected" in each["normality"] and "p_values" not in each["normality"] for each in statistics)
    assert [replace(row, embeddings=()) for row in rows] == [replace(row, embeddings=()) for row in before]


def test_a_table_has_every_row_and_names_what_failed(module, tmp_path, monkeypatch):
    tables, found = module("_compare_tables"), example()
    assert tables.comparison("nothing")() == "Not measured.\n"
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    write_report(tmp_path / "compare-baselines-cpu.json", found)
    lines = tables.comparison("baselines")().splitlines()
    rows = [row for group in found.worlds[0].groups for row in group.rows]
    table = [line for line in lines if line.startswith("| ") and not line.startswith("| **")]
    assert [line.split(" | ")[0].removeprefix("| ") for line in table[1:]] == [row.title for row in rows]
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    (pldm,) = (line for line in table if line.startswith("| PLDM"))
    assert "; 2: failed |" in pldm
    assert "| 397,832 + 806,480 on its latents |" in "\n".join(table)
    first = next(row for row in rows if row.difference is not None)
    assert f"{100 * first.difference.value:+.1f}".replace("-", "−") in next(one for one in table if first.title in one)
