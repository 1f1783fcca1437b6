import json

import pytest
from mlperf_logging.system_desc_checker.system_desc_checker import check_system_desc

from ttt import config
from ttt.schema.system import FIELDS, STATUSES, SystemConfig


def problems(word="research", **values) -> list[str]:
    return list(SystemConfig(**values).problems(word))


def refusal(tmp_path, caplog, contents, ruleset) -> str:
    """What MLCommons' checker says against a description."""
    path = tmp_path / "system.json"
    path.write_text(json.dumps(contents))
    assert not check_system_desc(path, "training", ruleset)[0]
    return caplog.text


def test_the_fields_are_those_of_the_official_checker(tmp_path, caplog):
    said = refusal(tmp_path, caplog, {}, "3.0.0")
    assert said.count("Missing field") == len(FIELDS)
    for name in FIELDS:
        assert f"Missing field {name}'" in said


def test_the_words_of_the_status_are_those_of_the_official_checker(tmp_path, caplog):
    said = refusal(tmp_path, caplog, dict.fromkeys(FIELDS, ""), "6.1.0")
    assert str(list(STATUSES.values()))[1:-1].count("'") == 8
    allowed = said[said.index("one of ") :]
    assert allowed.count("'") == 8  # four words in quotes
    for word in STATUSES.values():
        assert f"'{word}'" in allowed


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"id": "two words"}, "system.id=two words is not allowed"),
        ({"id": "../up"}, "a file name"),
        ({"id": ".hidden"}, "a file name"),
        ({"status": "onprem"}, '"Available on-premise" | "Available cloud"'),
        ({"status": None}, "submission.status=sold is not allowed; allowed: onprem, cloud"),
        ({"price_per_hour": 0.0}, "system.price_per_hour=0 is not allowed"),
        ({"description": {"division": "closed"}}, "is set by benchmark.division="),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(values, words):
    word = "sold" if values == {"status": None} else "research"
    [found] = problems(word, **values)
    assert words in found


def test_nothing_is_wrong_with_what_is_shipped():
    config.register()
    for name in ("default", "dgx_h100"):
        run = config.resolve(config.compose([f"system={name}"]))
        assert list(run.system.problems(run.submission.status)) == []
        told = run.system.description
        assert set(told) == set(FIELDS) - {"submitter", "division", "status", "number_of_nodes"}
        assert (told["accelerator_memory_configuration"] == "HBM3") == (name == "dgx_h100")
        assert config.load(config.freeze(run)).system == run.system


def test_the_status_follows_that_of_the_log_unless_it_is_set():
    assert SystemConfig().availability("cloud") == "Available cloud"
    assert SystemConfig(status="Preview").availability("cloud") == "Preview"


def test_a_field_with_a_hyphen_can_be_typed():
    config.register()
    typed = "system.description.accelerator_on-chip_memories=50 MB L2"
    told = config.resolve(config.compose([typed])).system.description
    assert told["accelerator_on-chip_memories"] == "50 MB L2"
