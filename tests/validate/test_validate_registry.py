"""The clause table, the checks, the reasons and the mutants belong together: each clause has a check or a reason."""

from __future__ import annotations

import re

import pytest

from vfiodpa.soft.mutants import all_mutants
from vfiodpa.spec.clauses import CHAPTERS, CLAUSES
from vfiodpa.spec.features import Feature
from vfiodpa.validate.check import all_checks, unchecked

BLOCKS = [block.id for blocks in CHAPTERS.values() for block in blocks]


def undecided(block: str) -> list[str]:
    """Clauses of a block that have neither a check nor a reason."""
    return [one.id for one in CLAUSES.values() if one.block == block and one.id not in {*all_checks(), *unchecked()}]


@pytest.mark.parametrize("block", BLOCKS)
def test_each_clause_has_a_check_or_a_reason(block: str) -> None:
    assert undecided(block) == []


def test_no_clause_has_both() -> None:
    assert set(all_checks()) & set(unchecked()) == set()


def test_reasons_are_of_clauses_and_say_something() -> None:
    assert set(unchecked()) <= set(CLAUSES)
    assert [clause for clause, reason in unchecked().items() if len(reason.split()) < 3] == []


def test_each_check_has_a_mutant() -> None:
    assert set(all_checks()) - set(all_mutants()) == set()


def test_each_mutant_has_a_check() -> None:
    assert set(all_mutants()) - set(all_checks()) == set()


def test_what_mutants_disturb_are_clauses_of_their_own_block() -> None:
    for mutant in all_mutants().values():
        blocks = {CLAUSES[clause].block for clause in mutant.also}
        assert blocks <= {CLAUSES[mutant.clause].block}, mutant.clause
        assert mutant.does and mutant.clause not in mutant.also, mutant.clause


def test_rows_are_whole() -> None:
    for row in CLAUSES.values():
        assert re.fullmatch(r"[A-Z]+(-[A-Z]+)?-\d+", row.id)
        assert row.section, row.id
        assert row.text == " ".join(row.text.split()), row.id
        assert not re.search(r"\w- \w", row.text), f"{row.id}: a word that was folded at a hyphen"


def test_rows_are_numbered_without_gaps() -> None:
    for blocks in CHAPTERS.values():
        for block in blocks:
            assert [one.id for one in block.clauses] == [f"{block.id}-{n}" for n in range(1, len(block.clauses) + 1)]


def test_features_of_a_row_have_names() -> None:
    assert [row.id for row in CLAUSES.values() if any(not bit.name for bit in Feature(row.features))] == []


def test_titles_tell_checks_apart() -> None:
    titles = [check.title for check in all_checks().values()]
    assert sorted({title for title in titles if titles.count(title) > 1}) == []


@pytest.mark.parametrize("clause", all_checks())
def test_a_check_has_a_title_of_one_sentence(clause: str) -> None:
    title = all_checks()[clause].title
    assert title != CLAUSES[clause].text, "it has no docstring"
    assert title.endswith((".", ".)")) and len(title) <= 130
