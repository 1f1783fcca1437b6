"""The answer in a sentence, and what comparisons say."""

import studies
from ttt.report.forms.view import answer, compared, identity, laws, tasks


def said(*groups):
    (task,) = tasks(studies.of(*groups))
    name = {identity(each.group): each.name for each in task.results}
    return answer(task), [compared(each, name) for each in task.comparisons]


def test_the_fastest_is_told_and_how_sure_that_is():
    text, _ = said(studies.runs("a", 600.0), studies.runs("b", 900.0, submitter="Beta"))
    assert text == "10.2 ± 2.1 min on 8 x H100 (Acme), the fastest of 2."


def test_what_no_test_tells_apart_is_not_called_the_fastest():
    text, (sentence,) = said(studies.runs("a", 600.0), studies.runs("b", 606.0))
    assert text == (
        "10.2 ± 2.1 min on 8 x H100 (Acme), 8 accelerators, a: the lowest of 2, not told apart"
        " from 8 accelerators, b."
    )
    assert "does not tell them apart (p = 0.28); 17 runs of each" in sentence
    text, (sentence,) = said([studies.run("a", 1)], [studies.run("b", 1, 900.0)])
    assert "not told apart" in text
    assert "too few runs" in sentence


def test_runs_that_nobody_would_do():
    _, (sentence,) = said(studies.runs("a", 600.0), studies.runs("b", 600.001))
    assert "; 1,000 runs or more of each tell so much apart" in sentence


def test_a_law_says_of_what_and_by_which_sizes():
    (task,) = tasks(studies.sweep())
    (sweep,) = task.sweeps
    first, second = laws(sweep).removeprefix("serial share: ").split("; ", 1)
    assert "of the time-to-train on 8 accelerators by Amdahl's law (at 8, 64" in first
    assert "of the time of a step on many by Gustafson's law (at 8, 512" in second
