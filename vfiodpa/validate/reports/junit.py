"""JUnit XML, for CI systems: a suite for each block of clauses, a case for each clause.

FAIL is a failure, WEDGED an error; SKIP and REJECT are skipped, with their reason. WARN and INFO pass, and say so in
``system-out``: JUnit has no word for them. The verdict itself is the case's property ``verdict``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from xml.etree import ElementTree as Xml

from ...spec.clauses import CLAUSES
from ..results import Outcome, Run
from ..verdict import Verdict

# What XML 1.0 cannot carry.
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
SKIPPED = (Verdict.SKIP, Verdict.REJECT)


def junit(run: Run) -> str:
    """The whole run as one document."""
    name = str(run.device.get("name", "device"))
    root = Xml.Element("testsuites", {"name": f"vfiodpa validate {name}", **_counts(run.outcomes)})
    root.set("time", f"{run.seconds:.3f}")
    for block, outcomes in groupby(run.outcomes, lambda one: CLAUSES[one.clause].block):
        root.append(_suite(run, block, list(outcomes)))
    Xml.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{Xml.tostring(root, encoding="unicode")}\n'


def _counts(outcomes: Iterable[Outcome]) -> dict[str, str]:
    verdicts = [one.verdict for one in outcomes]
    return {
        "tests": str(len(verdicts)),
        "failures": str(verdicts.count(Verdict.FAIL)),
        "errors": str(verdicts.count(Verdict.WEDGED)),
        "skipped": str(sum(one in SKIPPED for one in verdicts)),
    }


def _suite(run: Run, block: str, outcomes: list[Outcome]) -> Xml.Element:
    suite = Xml.Element("testsuite", {"name": block, "timestamp": run.started[:19], **_counts(outcomes)})
    suite.set("time", f"{sum(one.seconds for one in outcomes):.3f}")
    properties = Xml.SubElement(suite, "properties")
    facts = {"section": CLAUSES[outcomes[0].clause].section, "profile": run.profile, "device": run.device["name"]}
    for name, value in {**facts, **run.environment}.items():
        Xml.SubElement(properties, "property", name=name, value=_clean(str(value)))
    suite.extend(_case(block, one) for one in outcomes)
    return suite


def _case(block: str, outcome: Outcome) -> Xml.Element:
    clause = CLAUSES[outcome.clause]
    case = Xml.Element("testcase", classname=f"virtio.{block}", name=f"{clause.id} {_clean(outcome.title)}".strip())
    case.set("time", f"{outcome.seconds:.3f}")
    properties = Xml.SubElement(case, "properties")
    for name, value in (("verdict", outcome.verdict.value), ("level", clause.level.value), ("since", clause.since)):
        Xml.SubElement(properties, "property", name=name, value=value)
    reason = _clean(outcome.reason)
    if outcome.verdict in SKIPPED:
        Xml.SubElement(case, "skipped", message=reason)
    elif outcome.verdict.bad:
        kind = "error" if outcome.verdict is Verdict.WEDGED else "failure"
        bad = Xml.SubElement(case, kind, message=reason, type=outcome.verdict.value)
        bad.text = _clean(f"{clause.section}\n{clause.level.value}: {clause.text}\n\n" + "\n".join(outcome.trace))
    said = [f"{outcome.verdict.value.upper()}: {reason}"] if outcome.verdict is Verdict.WARN else []
    if said := [*said, *outcome.notes]:
        Xml.SubElement(case, "system-out").text = _clean("\n".join(said))
    return case


def _clean(text: str) -> str:
    return FORBIDDEN.sub("\ufffd", text)
