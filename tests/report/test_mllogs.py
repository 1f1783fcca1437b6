import json
import statistics

import pytest

from compliance_logs import find, ours, record, resnet, text, write
from ttt.compliance import target_of
from ttt.report.read.mllogs import read
from ttt.report.run import Block, Rejected, Run

NVIDIA = "mlperf_results/v4.0/NVIDIA/results"


def _read(tmp_path, log):
    run = read(write(tmp_path / "result_0.txt", log))
    assert isinstance(run, Run)
    return run


def _tree(root, system, description, benchmark="resnet", log=None):
    folder = root / "results" / system / benchmark
    folder.mkdir(parents=True)
    (root / "systems").mkdir(exist_ok=True)
    (root / "systems" / f"{system.split('/')[0]}.json").write_text(description)
    return write(folder / "result_0.txt", log or resnet())


def test_what_a_good_log_says(tmp_path):
    run = _read(tmp_path, resnet())
    assert (run.benchmark, run.division, run.ruleset, run.official) == (
        "resnet", "closed", "4.0.0", True,
    )  # fmt: skip
    assert (run.status, run.passed, run.problems, run.reason) == ("success", True, (), None)
    assert (run.submitter, run.system, run.seed) == ("somebody", "a machine", 3)
    assert (run.global_batch, run.train_samples) == (64, 1_281_167)
    assert (run.time_to_train_s, run.elapsed_s, run.init_s) == (120.0, 120.0, 60.0)
    assert (run.epochs, run.samples, run.quality) == (2.0, 2_562_334.0, 0.7591)
    assert [(each.seconds, each.epochs) for each in run.evaluations] == [(0.0, 1.0), (60.0, 2.0)]
    assert run.stopped == 1_700_000_180.0
    assert (run.target, run.higher_is_better) == (0.759, True)  # by the rules
    assert run.nodes is run.accelerators is run.accelerator_name is None


def test_our_own_log_says_its_target(tmp_path):
    run = _read(tmp_path, ours())
    assert (run.target, run.higher_is_better, run.precision) == (0.97, True, "fp32")
    assert (run.official, run.passed) == (False, True)


@pytest.mark.parametrize(
    ("benchmark", "ruleset", "target"),
    [
        ("llama31_8b", "6.1.0", (3.3, False)),
        ("unet3d", "4.0.0", (0.908, True)),
        ("cosmoflow", "3.0.0", (0.124, False)),
        ("bert", "0.7.0", None),  # depends on the batch
        ("maskrcnn", "3.0.0", None),  # has two
        ("qwen35_397b_grpo", "6.1.0", None),  # is in the log
        ("resnet", "6.1.0", None),
        ("../evil", "4.0.0", None),
    ],
)
def test_targets_stand_in_the_rules(benchmark, ruleset, target):
    assert target_of(benchmark, ruleset) == target


@pytest.mark.parametrize(
    ("system", "seconds", "epochs", "first", "median", "rate", "accelerators"),
    [
        ("eos_ngc24.04_mxnet", 798.4, 35, 32.8, 22.37, 7160, 8),
        ("eos_n8_ngc24.04_mxnet", 150.3, 35, 9.5, 4.08, 4908, 64),
        ("eos_n316_ngc24.04_mxnet", 13.9, 70, 0.22, 0.186, 2725, 2528),
        ("coreweave_hgxh100_n448_ngc23.04_mxnet", 11.0, 77, 0.41, 0.127, 2815, 3584),
        ("h200_ngc24.04_mxnet", 721.1, 35, 31.6, 20.14, 7950, 8),
    ],
)
def test_published_resnet_logs(shared, system, seconds, epochs, first, median, rate, accelerators):
    run = read(shared / NVIDIA / system / "resnet" / "result_0.txt")
    assert run.time_to_train_s == pytest.approx(seconds, abs=0.06)
    assert (run.epochs, run.accelerators, run.seed is None) == (epochs, accelerators, False)
    assert run.blocks[0].seconds == pytest.approx(first, abs=0.05)
    median_of_all = statistics.median(block.seconds for block in run.blocks)
    assert median_of_all == pytest.approx(median, rel=3e-3)
    assert run.steady_samples_per_s / accelerators == pytest.approx(rate, rel=1e-3)
    assert len(run.blocks) == epochs
    assert run.description["host_processor_model_name"].startswith("Intel(R) Xeon(R)")


def test_published_logs_that_have_no_epochs_or_count_samples(shared):
    dlrm = read(shared / NVIDIA / "eos_ngc24.04_merlin_hugectr" / "dlrm_dcnv2" / "result_0.txt")
    assert (len(dlrm.blocks), len(dlrm.evaluations)) == (16, 16)
    assert dlrm.epochs == pytest.approx(0.8, abs=0.001)
    assert sum(block.samples for block in dlrm.blocks) == pytest.approx(dlrm.samples)
    amd = read(
        shared / "mlperf_results/v5.1/AMD/results/MI355X_EPYC_9575F_pytorch/llama31_8b/result_0.txt"
    )
    assert {block.samples for block in amd.blocks} == {12288.0}
    assert (amd.samples, amd.epochs) == (172000.0, None)  # its train_samples is what it trained
    assert amd.accelerator_memory_bytes == 288 * 10**9


def test_prefixes_of_ranks_colours_and_line_ends_do_not_matter(tmp_path):
    clean = _read(tmp_path, resnet())
    lines = text(resnet()).splitlines()
    shown = [f"3: \x1b[32m{line}" for line in lines]
    shown[4] = f"3: {lines[0]} 2: {lines[4]}"  # two processes on one line: the last one counts
    path = tmp_path / "result_0.txt"
    path.write_bytes("\r\n".join(["", "step 1 loss 3", *shown, ""]).encode())
    assert read(path) == clean


def test_a_torn_log_is_a_run_that_died(tmp_path):
    path = tmp_path / "result_0.txt"
    path.write_text(text(resnet())[:-40])
    run = read(path)
    assert (run.status, run.time_to_train_s, run.elapsed_s) == ("died", None, None)
    assert run.reason == "no run_stop; last record eval_accuracy 60.0 s after run_start"
    assert run.passed is False
    assert "cut off" in run.problems[0]
    assert (run.benchmark, run.epochs, len(run.evaluations)) == ("resnet", 2.0, 2)


def test_a_log_without_run_start_has_no_time(tmp_path):
    log = [each for each in resnet() if each["key"] != "run_start"]
    run = _read(tmp_path, log)
    assert (run.status, run.reason, run.time_to_train_s) == ("died", "no run_start", None)


def test_an_aborted_run_has_no_time_to_train(tmp_path):
    log = resnet()
    find(log, "run_stop")["metadata"]["status"] = "aborted"
    run = _read(tmp_path, log)
    assert (run.status, run.time_to_train_s, run.elapsed_s) == ("aborted", None, 120.0)
    assert run.reason == "run_stop says aborted"


@pytest.mark.parametrize(
    ("key", "time_ms", "seconds", "said", "trusted"),
    [
        ("run_stop", 1_600_000_000_000, None, "which no clock can say", False),
        ("run_stop", 1_700_000_060_000, None, "run_stop is 0 s after run_start", False),
        ("run_stop", float("nan"), None, "", True),
        ("run_stop", "1700000180000", 120.0, "", True),
        ("run_stop", 1_703_000_000_000, 2_999_940.0, "run_stop is 35 days after run_start", False),
        # As in a result of round v0.7, whose clock was typed in and which was published so.
        ("run_start", 1_699_944_829_760, 55_350.24, "before init_stop, which comes first", False),
        ("init_start", None, 120.0, "time_ms is None, not a number", True),
    ],
)
def test_absurd_clocks(tmp_path, key, time_ms, seconds, said, trusted):
    log = resnet()
    find(log, key)["time_ms"] = time_ms
    run = _read(tmp_path, log)
    assert run.time_to_train_s == pytest.approx(seconds) if seconds else run.elapsed_s is None
    assert said in " ".join(run.problems)
    assert run.clock_trusted == trusted


BY_THE_CLOCK = (
    "train_s eval_s eval_fraction eval_interval_s samples_per_s steady_samples_per_s".split()
)


@pytest.mark.parametrize(
    ("key", "minute", "said"),
    [
        ("run_start", 0.5, "run_start says it was 30 s before init_stop, which comes first"),
        ("cache_clear", 1.5, "run_start says it was 30 s before cache_clear, which comes first"),
        ("run_start", 1.5, "time runs backwards: block_start says it was 30 s before run_start"),
        ("block_stop", 1.25, "time runs backwards: eval_start says it was 15 s before block_stop"),
        ("eval_stop", 200, "time runs backwards: block_start says it was 11880 s before eval_stop"),
    ],
)
def test_a_clock_that_contradicts_itself_tells_the_time_and_nothing_else(
    tmp_path, key, minute, said
):
    log = resnet()
    find(log, key)["time_ms"] = record(key, minute=minute)["time_ms"]
    good, run = _read(tmp_path, resnet()), _read(tmp_path, log)
    assert (good.clock_trusted, good.problems) == (True, ())
    assert run.clock_trusted is False
    assert run.problems == (said,)
    assert run.time_to_train_s == 60 * (3 - (minute if key == "run_start" else 1))
    assert (run.blocks, run.evaluations) == ((), ())
    assert {name: getattr(run, name) for name in BY_THE_CLOCK} == dict.fromkeys(BY_THE_CLOCK)
    assert (run.epochs, run.samples, run.quality) == (good.epochs, good.samples, good.quality)


def test_what_is_no_contradiction(tmp_path):
    log = resnet()
    find(log, "run_start")["time_ms"] -= 900  # another process wrote it
    find(log, "run_stop")["time_ms"] -= 90_000  # of the checkpoint that passed
    late = record("submission_platform", "a machine", minute=-9)
    run = _read(tmp_path, [*log, late, record("cache_clear", True, minute=99)])
    assert (run.clock_trusted, run.time_to_train_s) == (True, 30.9)
    assert len(run.evaluations) == 2


def test_the_scale_of_one_of_many_models_is_in_its_log(tmp_path):
    scale = [record("number_of_nodes", 4), record("accelerators_per_node", "8")]
    assert _read(tmp_path, [*scale, *resnet()]).instance_scale == 32
    assert _read(tmp_path, [scale[0], record("accelerators_per_node", 0)]).instance_scale == 4
    assert _read(tmp_path, resnet()).instance_scale is None
    assert _read(tmp_path, [record("number_of_nodes", "x"), scale[1]]).instance_scale is None


def test_a_log_that_was_appended_to_has_the_time_of_its_first_whole_run(tmp_path):
    rerun = [record("run_start", minute=50), record("run_stop", minute=90, status="success")]
    assert _read(tmp_path, [*resnet(), *rerun]).time_to_train_s == 120.0
    before = [record("run_start", minute=-9), record("eval_accuracy", 0.1, minute=-8, epoch_num=9)]
    run = _read(tmp_path, [*before, *resnet()])
    assert (run.time_to_train_s, len(run.evaluations)) == (120.0, 2)


def test_values_of_any_type_leave_the_rest(tmp_path):
    log = resnet()
    for key, value in [("seed", "x"), ("global_batch_size", None), ("train_samples", {"a": 1})]:
        find(log, key)["value"] = value
    find(log, "eval_accuracy")["value"] = {"BBOX": 0.3}
    find(log, "eval_accuracy", 1)["metadata"] = ["epoch_num"]
    run = _read(tmp_path, log)
    assert run.seed is run.global_batch is run.train_samples is run.epochs is None
    assert [each.quality for each in run.evaluations] == [0.7591]
    assert run.time_to_train_s == 120.0


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"\x7fELF\0\0\0", "the file is binary"),
        (b"epoch 1\n" * 9, "no :::MLLOG record"),
    ],
)
def test_what_is_no_log_is_rejected(tmp_path, content, why):
    path = tmp_path / "result_0.txt"
    path.write_bytes(content)
    rejected = read(path)
    assert isinstance(rejected, Rejected)
    assert why in rejected.reason


def test_a_line_that_is_too_long_is_passed_over(tmp_path):
    path = tmp_path / "result_0.txt"
    noise = "x" * 3_000_000
    path.write_text(f":::MLLOG {noise}\n{noise}\n{text(resnet())}")
    run = read(path)
    assert run.time_to_train_s == 120.0
    assert (run.passed, run.problems) == (False, ("line 1 has 3000010 characters, over 32768",))


def test_the_tree_tells_system_and_round(tmp_path):
    told = {
        "submitter": "Acme", "number_of_nodes": "4", "accelerators_per_node": 8,
        "accelerator_model_name": "X1", "accelerator_memory_capacity": "80 GB",
    }  # fmt: skip
    run = read(_tree(tmp_path / "training_results_v3.1" / "Acme", "big", json.dumps(told)))
    assert (run.submitter, run.system, run.nodes, run.accelerators) == ("Acme", "big", 4, 32)
    assert (run.accelerator_name, run.accelerator_memory_bytes) == ("X1", 80 * 10**9)
    assert (run.description, run.ruleset) == (told, "3.1.0")


def test_hpc_has_a_folder_more(tmp_path):
    log = resnet()
    find(log, "submission_benchmark")["value"] = "deepcam"
    root = tmp_path / "hpc_results_v3.0" / "Acme"
    folder = root / "results" / "big" / "strong" / "deepcam"
    folder.mkdir(parents=True)
    (root / "systems").mkdir()
    (root / "systems" / "big.json").write_text('{"number_of_nodes": "2"}')
    run = read(write(folder / "result_0.txt", log))
    assert (run.system, run.nodes, run.accelerators, run.ruleset) == ("big", 2, None, "3.0.0")


@pytest.mark.parametrize(("content", "said"), [("{", "damaged"), ("[]", "holds no mapping")])
def test_a_damaged_systems_file_is_told(tmp_path, content, said):
    run = read(_tree(tmp_path, "big", content))
    assert (run.system, run.description, run.nodes) == ("big", {}, None)
    assert said in run.problems[0]
    assert run.passed is True


def test_the_finest_pieces_of_training_are_taken_without_evaluations(tmp_path):
    def timed(key, seconds, **metadata):
        return record(key, minute=1 + seconds / 60, **metadata)

    log = [each for each in resnet() if each["key"].split("_")[0] not in ("block", "eval")]
    log[-1:] = [
        timed("block_start", 0, first_epoch_num=1, epoch_count=2),
        timed("epoch_start", 0, epoch_num=1),
        timed("epoch_stop", 10, epoch_num=1),
        timed("epoch_start", 10, epoch_num=2),
        timed("eval_start", 16, epoch_num=2),  # before the epoch is closed
        timed("eval_stop", 19, epoch_num=2),
        timed("epoch_stop", 20, epoch_num=2),
        timed("block_stop", 20, first_epoch_num=1),
        log[-1],
    ]
    assert _read(tmp_path, log).blocks == (Block(0.0, 10.0, 1281167.0), Block(10.0, 6.0, 1281167.0))
    without = [each for each in log if not each["key"].startswith("epoch_")]
    assert _read(tmp_path, without).blocks == (Block(0.0, 16.0, 2562334.0),)
