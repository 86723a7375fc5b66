"""A run as JSON: what is written is what is read, and what its schema says."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from tests.validate.validate_rig import a_run, a_runner, an_outcome
from vfiodpa.errors import UsageError
from vfiodpa.spec.clauses import CLAUSES
from vfiodpa.validate.check import all_checks
from vfiodpa.validate.results import Outcome, Run, load_run
from vfiodpa.validate.verdict import Verdict

SCHEMA = json.loads(files("vfiodpa.validate").joinpath("run.schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)

texts = st.text(max_size=20)
outcomes = st.builds(
    Outcome,
    clause=st.sampled_from(list(CLAUSES)),
    verdict=st.sampled_from(Verdict),
    reason=texts,
    title=texts,
    where=texts,
    notes=st.lists(texts, max_size=2).map(tuple),
    trace=st.lists(texts, max_size=2).map(tuple),
    seconds=st.floats(0, 100),
    rings=st.lists(texts, max_size=2).map(tuple),
)


@given(st.lists(outcomes, max_size=4), texts)
def test_a_run_comes_back_as_it_was(found: list[Outcome], ended: str) -> None:
    run = a_run(*found, ended=ended, unchecked={"ADC-1": "it takes the owner PF"})
    again = Run.from_json(json.loads(json.dumps(run.to_json())))
    assert (again.outcomes, again.ended, again.unchecked) == (found, ended, run.unchecked)
    assert (again.device, again.environment, again.profile, again.started) == (
        run.device,
        run.environment,
        run.profile,
        run.started,
    )
    VALIDATOR.validate(run.to_json())


def test_a_run_on_the_software_nic_fits_the_schema() -> None:
    with a_runner() as runner:
        run = runner.run([all_checks()["P-COM-14"]], "nic-today")
    VALIDATOR.validate(json.loads(json.dumps(run.to_json())))


def broken(change: str, value: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(json.dumps(a_run(an_outcome()).to_json()))
    where, _, name = change.rpartition(".")
    target = body["outcomes"][0] if where == "outcome" else body[where] if where else body
    if value is None:
        del target[name]
    else:
        target[name] = value
    return body


@pytest.mark.parametrize(
    ("change", "value"),
    [
        ("schema", "vfiodpa.validate/2"),
        ("outcome.verdict", "maybe"),
        ("outcome.trace", None),
        ("outcome.verdict", None),
        ("outcome.level", "must"),
        ("outcome.seconds", "0.1"),
        ("device.vendor_id", "0x1af4"),
        ("environment.rings", "round"),
        ("counts", {"passed": 1}),
        ("unchecked", [{"clause": "STS-1"}]),
    ],
)
def test_the_schema_notices(change: str, value: object) -> None:
    with pytest.raises(ValidationError):
        VALIDATOR.validate(broken(change, value))


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_each_field_of_an_outcome_is_in_the_schema() -> None:
    body = an_outcome().to_json()
    described = {*SCHEMA["$defs"]["outcome"]["properties"], *SCHEMA["$defs"]["clause"]["properties"]}
    assert set(body) == described
    assert set(a_run().to_json()) == set(SCHEMA["properties"])


def test_counts_and_what_passes() -> None:
    fine = a_run(an_outcome(), an_outcome("STS-2", Verdict.WARN), an_outcome("STS-3", Verdict.SKIP))
    assert fine.passed
    assert {name: count for name, count in fine.counts.items() if count} == {"pass": 1, "warn": 1, "skip": 1}
    assert not a_run(an_outcome("STS-1", Verdict.FAIL)).passed
    assert not a_run(an_outcome("STS-1", Verdict.WEDGED)).passed
    assert not a_run(an_outcome(), ended="after STS-1: it is gone").passed


# Files


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps(a_run(an_outcome()).to_json()))
    assert load_run(path).outcomes == [an_outcome()]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ("[]", "not a validation run"),
        ('{"schema": "vfiodpa.validate/9"}', r"schema 'vfiodpa.validate/9'"),
        ('{"schema": "vfiodpa.validate/1"}', "not a whole validation run"),
        (json.dumps(broken("outcome.verdict", "maybe")), "not a whole validation run"),
        (json.dumps(broken("outcome.clause", "STS-99")), "not in the table: STS-99"),
    ],
)
def test_a_file_that_is_no_run_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        load_run(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read .*ENOENT"):
        load_run(tmp_path / "none.json")


def test_a_run_without_the_newer_fields_is_read() -> None:
    body = a_run(an_outcome()).to_json()
    del body["unchecked"], body["outcomes"][0]["rings"]
    assert Run.from_json(body).outcomes == [an_outcome()]
