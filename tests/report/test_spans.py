import pytest

from compliance_logs import record, resnet, write
from ttt.report.read.mllogs import read
from ttt.report.read.units import Unit, counted_from, tokens_in_a_sample, unit_of
from ttt.report.run import Block

SET = 1_281_167.0


def log_of(tmp_path, *marks, stop=100.0):
    """A resnet log whose training is told by (key, seconds, metadata)."""
    kept = [each for each in resnet() if each["key"].split("_")[0] not in ("block", "eval")]
    told = [record(key, 0.5, minute=1 + at / 60, **metadata) for key, at, metadata in marks]
    kept[-1:] = [*told, record("run_stop", minute=1 + stop / 60, status="success")]
    return read(write(tmp_path / "result_0.txt", kept))


def epoch(number, begin, end):
    return [
        ("epoch_start", begin, {"epoch_num": number}),
        ("epoch_stop", end, {"epoch_num": number}),
    ]


def evaluation(number, begin, end):
    return [
        ("eval_start", begin, {"epoch_num": number}),
        ("eval_accuracy", end, {"epoch_num": number}),
        ("eval_stop", end, {"epoch_num": number}),
    ]


def in_order(*marks):
    return sorted((mark for each in marks for mark in each), key=lambda mark: mark[1])


def test_training_goes_on_beside_an_evaluation_of_what_came_before(tmp_path):
    """Epoch 2 begins while epoch 1 is evaluated, and epoch 1 is closed only after that."""
    first = [("epoch_start", 0, {"epoch_num": 1}), ("epoch_stop", 40, {"epoch_num": 1})]
    marks = in_order(first, epoch(2, 30, 60), evaluation(1, 30, 40), evaluation(2, 60, 70))
    log = log_of(tmp_path, *marks, stop=70.0)
    assert log.blocks == (Block(0.0, 30.0, SET), Block(30.0, 30.0, SET))
    assert (log.eval_s, log.eval_beside_s) == (10.0, 10.0)


def test_an_evaluation_of_an_epoch_interrupts_it(tmp_path):
    evaluations = evaluation(1, 40, 50), evaluation(2, 90, 100)
    log = log_of(tmp_path, *in_order(epoch(1, 0, 50), epoch(2, 50, 100), *evaluations))
    assert log.blocks == (Block(0.0, 40.0, SET), Block(50.0, 40.0, SET))
    assert (log.eval_s, log.eval_beside_s) == (20.0, 0.0)


def test_an_evaluation_after_the_clock_costs_nothing(tmp_path):
    """It is logged before run_stop, whose time is that of the checkpoint."""
    marks = in_order(epoch(1, 0, 50), epoch(2, 50, 100), evaluation(2, 200, 250))
    log = log_of(tmp_path, *marks, *evaluation(1, 260, 300), stop=100.0)
    assert (log.eval_s, log.eval_beside_s) == (0.0, 90.0)
    assert [(each.seconds, each.epochs) for each in log.evaluations] == [(50.0, 1.0), (100.0, 2.0)]
    assert (log.epochs, log.samples) == (2.0, 2 * SET)


def test_blocks_that_take_no_time_give_way_to_what_is_between_evaluations(tmp_path):
    """As Google's v0.7 transformer: a block begins when its epoch is over."""
    marks = []
    for number in (1, 2, 3):
        at = 30.0 * number
        place = {"first_epoch_num": number, "epoch_count": 1}
        marks += [("block_start", at - 0.1, place), *evaluation(number, at, at + 1)]
        marks += [("block_stop", at + 1, place)]
    log = log_of(tmp_path, *marks, stop=92.0)
    assert [block.seconds for block in log.blocks] == pytest.approx([30, 29, 29])


def test_evaluations_that_overlap_leave_open_what_was_trained_when(tmp_path):
    marks = in_order(evaluation(1, 20, 60), evaluation(2, 40, 80), evaluation(3, 60, 95))
    log = log_of(tmp_path, *marks)
    assert (log.blocks, log.eval_s, log.eval_beside_s) == ((), None, None)
    assert log.steady_samples_per_s is None


def test_a_start_ends_what_was_before_it(tmp_path):
    """As NVIDIA's llama31_405b: no block is closed but the last."""
    marks = [("block_start", 10.0 * n, {"samples_count": 500 * n}) for n in range(10)]
    marks += [("eval_accuracy", 100.0, {"epoch_num": 1, "samples_count": 5000})]
    log = log_of(tmp_path, *marks)
    assert log.blocks == tuple(Block(10.0 * n, pytest.approx(10.0), 500.0) for n in range(10))
    assert log.eval_s is None


def test_a_stop_that_repeats_its_start_is_counted_by_the_next(tmp_path):
    marks = []
    for n in range(4):
        place = {"samples_count": 500 * n}
        marks += [("block_start", 25.0 * n, place), ("block_stop", 25.0 * n + 24, place)]
    marks += [("eval_accuracy", 100.0, {"epoch_num": 1, "samples_count": 2000})]
    log = log_of(tmp_path, *marks)
    assert [block.samples for block in log.blocks] == [500] * 4


def test_every_rank_may_tell_the_same(tmp_path):
    marks = in_order(epoch(1, 0, 50), epoch(1, 0, 50.1), epoch(2, 50, 100), epoch(2, 50.05, 100))
    log = log_of(tmp_path, *marks)
    assert [(block.begin, block.seconds) for block in log.blocks] == [(0, 50), (50, 50)]


def test_every_rank_may_tell_of_one_evaluation(tmp_path):
    marks = in_order(*(epoch(n, 30 * n - 30, 30 * n) for n in (1, 2, 3)))
    told = [evaluation(n, 30 * n, 30 * n + 0.01 * rank) for n in (1, 2, 3) for rank in range(8)]
    log = log_of(tmp_path, *in_order(marks, *told))
    assert [each.seconds for each in log.evaluations] == [30.0, 60.0, 90.0]


def test_nothing_is_trained_for_less_than_no_epoch(tmp_path):
    log = log_of(tmp_path, *in_order(epoch(1, 0, 50), epoch(2, 50, 100), evaluation(-2, 100, 100)))
    assert log.samples is None or log.samples > 0
    assert log.epochs is None or log.epochs > 0


def test_a_run_that_stopped_before_it_began_says_so(tmp_path):
    log = resnet()[:-1]
    log[-1] |= {"time_ms": log[0]["time_ms"] - 60_000}
    said = read(write(tmp_path / "result_0.txt", log)).reason
    assert "-" not in said
    assert said.endswith(" s before run_start")


def test_the_definition_of_a_benchmark_is_a_second_witness():
    assert unit_of("retinanet", 1_170_301, "5.0.0", True) == Unit(None, 1_170_301, certain=True)
    steps = unit_of("retinanet", 4572, "5.0.0", True)
    assert (steps.epoch, steps.certain) == (1_170_301, True)
    assert "train_samples is 4,572" in steps.caveat
    assert "train_samples" in unit_of("retinanet", 1_287_331, "5.0.0", True).caveat  # a tenth more
    assert unit_of("retinanet", 4572, "5.0.0", False) == Unit(None, 4572)  # open: any data set
    assert unit_of("ssd", 117_266, "0.7.0", True).caveat is None
    assert unit_of("ssd", 1_170_301, "4.1.0", True).caveat is None
    assert unit_of("gnmt", 3_965_952, "0.7.0", True) == Unit(None, 3_965_952)
    assert unit_of("resnet", None, "4.0.0", True).epoch == 1_281_167


@pytest.mark.parametrize(
    ("first", "evaluated", "base"),
    [
        (1.0, [1.05, 1.1, 1.15], 1.0),
        (1.0, [0.05, 0.1], 0.0),
        (0.0, [0.05, 0.1], 0.0),
        (1.0, [3.0, 7.0], 0.0),
        (1.0, [1.0, 2.0], 0.0),
        (1.0, [1.05], 0.0),  # one number does not tell
        (None, [1.05, 1.1], 0.0),
    ],
)
def test_some_logs_count_from_one(first, evaluated, base):
    assert counted_from(Unit(None, 1000), first, evaluated).base == base


def test_epochs_that_ended_tell_what_their_evaluations_are_called():
    assert counted_from(Unit(None, 1000), 0.0, [0.0, 1.0, 2.0], ended=1).base == -1.0
    assert counted_from(Unit(None, 1000), 1.0, [2.0, 3.0], ended=1).base == 1.0
    assert counted_from(Unit(None, 1000), 1.0, [1.0, 2.0], ended=1).base == 0.0


def test_sequences_have_a_length_where_all_have_the_same():
    assert tokens_in_a_sample("llama31_8b", None) == 8192
    assert tokens_in_a_sample("gpt3", 4096) == 4096
    assert tokens_in_a_sample("bert", 512) is None
