"""Which checks run: registration, names of clauses, blocks and chapters, profiles."""

from __future__ import annotations

import pytest

from vfiodpa.errors import UsageError
from vfiodpa.spec.clauses import CHAPTERS, CLAUSES, VERSIONS, chapter_of
from vfiodpa.spec.features import Feature
from vfiodpa.validate import check as check_module
from vfiodpa.validate.bench import Bench
from vfiodpa.validate.check import all_checks, check, select, wanted
from vfiodpa.validate.profiles import NIC_TODAY, PROFILES, in_profile, of_profile


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks that a test registers are its own."""
    monkeypatch.setattr(check_module, "_checks", {})


def a_check(_bench: Bench) -> None:
    """``queue_size`` is right.

    More of it.
    """


# Registration


@pytest.mark.usefixtures("fresh")
def test_a_check_has_its_clauses_features_and_a_title_in_plain_words() -> None:
    check("N-CFG-1", features=Feature.NET_RSS)(a_check)
    found = check_module._checks["N-CFG-1"]
    assert found.title == "queue_size is right."
    assert found.features == Feature.NET_MQ | Feature.NET_RSS
    assert found.wire is False


@pytest.mark.usefixtures("fresh")
def test_a_clause_that_takes_a_wire_makes_its_check_want_one() -> None:
    check("N-CFG-5")(a_check)
    check("N-CFG-6", wire=False)(a_check)
    assert [one.wire for one in check_module._checks.values()] == [True, False]


@pytest.mark.usefixtures("fresh")
def test_one_clause_has_one_check() -> None:
    check("STS-1")(a_check)
    with pytest.raises(ValueError, match=r"STS-1 has a check already: .*test_validate_check"):
        check("STS-1")(lambda _bench: None)


def test_a_check_of_no_clause_is_an_error_at_import() -> None:
    with pytest.raises(KeyError):
        check("STS-99")


def test_checks_come_in_the_order_of_the_clause_table() -> None:
    order = list(CLAUSES)
    found = [order.index(clause) for clause in all_checks()]
    assert found == sorted(found)


# Names


def ids(*, clauses: tuple[str, ...] = (), groups: tuple[str, ...] = ()) -> list[str]:
    return [clause.id for clause in wanted(clauses, groups)]


def test_nothing_named_is_all() -> None:
    assert ids() == list(CLAUSES)


def test_clauses_blocks_and_chapters_add_up_in_any_case() -> None:
    assert ids(clauses=("p-com-14",)) == ["P-COM-14"]
    assert ids(groups=("rst",), clauses=("STS-1",)) == ["STS-1", "RST-1", "RST-2"]
    pci = [clause.id for block in CHAPTERS["pci"] for clause in block.clauses]
    assert ids(groups=("PCI", "P-COM")) == pci
    assert {chapter_of(CLAUSES[one]) for one in pci} == {"pci"}


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ({"clauses": ("STS-99",)}, "no clause STS-99"),
        ({"groups": ("COM",)}, "no group COM.*basic, admin, pci, net, extra"),
    ],
)
def test_a_name_that_is_none_is_said(names: dict[str, tuple[str, ...]], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        wanted(**names)


def test_a_named_clause_without_a_check_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    known = [one for one in all_checks().values() if one.clause.id != "P-COM-14"]
    with pytest.raises(UsageError, match=r"no check for clause P-COM-14 \(nobody wrote one"):
        select(known, clauses=["P-COM-14"])
    monkeypatch.setattr(check_module, "unchecked", lambda: {"P-COM-14": "it takes a fault"})
    with pytest.raises(UsageError, match="it takes a fault"):
        select(known, clauses=["P-COM-14"])


def test_a_group_may_have_clauses_without_a_check() -> None:
    assert [one.clause.id for one in select([all_checks()["P-COM-14"]], groups=["pci"])] == ["P-COM-14"]


# Profiles


def test_a_version_asks_for_what_it_has_and_for_all_before_it() -> None:
    sizes = [sum(in_profile(clause, version) for clause in CLAUSES.values()) for version in VERSIONS]
    assert sizes == sorted(sizes)
    assert sizes[-1] == len(CLAUSES)
    assert not in_profile(CLAUSES["STS-1"], "1.0")  # since 1.1
    assert in_profile(CLAUSES["STS-1"], "1.1")


def test_a_nic_of_today_has_no_administration_queue() -> None:
    left_out = [clause for clause in CLAUSES.values() if not in_profile(clause, NIC_TODAY)]
    assert {block.id for block in CHAPTERS["admin"]} <= {clause.block for clause in left_out}
    assert all(in_profile(clause, NIC_TODAY) for clause in CLAUSES.values() if not clause.features)


def test_an_unknown_profile_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"no profile 0\.9.*nic-today"):
        in_profile(CLAUSES["STS-1"], "0.9")


def test_checks_of_a_profile() -> None:
    for profile in PROFILES:
        found = of_profile(all_checks().values(), profile)
        assert all(in_profile(one.clause, profile) for one in found)
    assert len(of_profile(all_checks().values(), "1.4")) == len(all_checks())
