"""The doctor's checks of a device: peaks, precisions, training steps, and checks that break."""

import subprocess
import sys
import time

import pytest
import torch

from ground import HUNG, environment
from ttt import shipped
from ttt.distributed.world import Solo
from ttt.doctor import compute, device, gpus, precision, steps
from ttt.doctor.checks import with_torch
from ttt.doctor.device import Guard
from ttt.doctor.examination import Check, Context, Stage, examine
from ttt.doctor.findings import Level, Observation, ok
from ttt.machine import peaks
from ttt.schema.data.images import ImageDataConfig
from ttt.schema.run import RunConfig

CPU = torch.device("cpu")
RUN = RunConfig(data=ImageDataConfig())
GPU = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
]


def seen(*facts, hosts="abcdefgh"):
    return [Observation(rank, hosts[rank], fact) for rank, fact in enumerate(facts)]


@pytest.mark.parametrize(
    ("kind", "capability", "name", "sms", "megahertz", "data_sheet"),
    [
        ("fp16", (7, 0), "Tesla V100-SXM2-16GB", 80, 1530, 125e12),
        ("fp16", (7, 5), "Tesla T4", 40, 1590, 65e12),
        ("bf16", (8, 0), "NVIDIA A100-SXM4-40GB", 108, 1410, 312e12),
        ("tf32", (8, 0), "NVIDIA A100-SXM4-40GB", 108, 1410, 156e12),
        ("bf16", (8, 6), "NVIDIA A40", 84, 1740, 149.7e12),
        ("bf16", (8, 6), "NVIDIA GeForce RTX 3090", 82, 1695, 71e12),
        ("fp32", (8, 6), "NVIDIA GeForce RTX 3090", 82, 1695, 35.6e12),
        ("bf16", (8, 9), "NVIDIA L4", 58, 2040, 121e12),
        ("bf16", (9, 0), "NVIDIA H100 80GB HBM3", 132, 1830, 989.4e12),
        ("tf32", (9, 0), "NVIDIA H100 80GB HBM3", 132, 1830, 494.7e12),
        ("fp32", (9, 0), "NVIDIA H100 80GB HBM3", 132, 1980, 66.9e12),
        ("bf16", (12, 0), "NVIDIA GeForce RTX 5090", 170, 2407, 209.5e12),
    ],
)
def test_peaks_are_those_of_data_sheets_at_their_clocks(
    kind, capability, name, sms, megahertz, data_sheet
):
    found = peaks.flop_per_s(kind, capability, name, sms, megahertz)
    assert found == pytest.approx(data_sheet, rel=0.01)


def test_a_peak_of_which_a_part_is_unknown_is_unknown():
    assert peaks.flop_per_s("bf16", (11, 0), "new", 100, 1000) is None
    assert peaks.flop_per_s("bf16", (9, 0), "no NVML", 132, None) is None
    assert peaks.flop_per_s("bf16", (7, 5), "has none", 40, 1590) is None


def product(rate, peak):
    facts = compute.Compute(
        "H200", 1, {"bf16": rate}, "13.0", None, None, gpus=True, peaks={"bf16": peak}
    )
    [finding] = compute.judge_rates(seen(facts))
    return finding


def test_a_product_far_below_the_peak_is_a_warning():
    fine = product(788e12, 1070e12)
    assert fine.level is Level.ok
    assert fine.text == (
        "bf16 788 TFLOP/s on H200, 74% of the peak of 1,070 TFLOP/s at its highest clock"
    )
    assert fine.data["peak_flop_per_s"] == {0: 1070e12}
    slow = product(400e12, 1070e12)
    assert slow.level is Level.warning
    assert (
        "37% of the peak of 1,070 TFLOP/s at its highest clock; expected is at least 50%"
        in slow.text
    )
    assert "CLOCK,POWER" in slow.advice
    unknown = product(788e12, None)
    assert (unknown.level, unknown.text) == (Level.ok, "bf16 788 TFLOP/s on H200")


def test_arithmetic_is_put_back():
    flags = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [one.allow_tf32 for one in flags]
    with compute.arithmetic("tf32") as dtype:
        assert dtype is torch.float32
        assert all(one.allow_tf32 for one in flags)
        with compute.arithmetic("fp32"):
            assert not any(one.allow_tf32 for one in flags)
    assert [one.allow_tf32 for one in flags] == before


def test_precisions_of_this_cpu_are_what_their_names_say():
    [finding] = precision.judge(seen(precision.look(CPU)))
    assert finding.level is Level.ok
    assert 0 < finding.data["relative_error"]["fp32"] < 1e-5
    assert 1e-3 < finding.data["relative_error"]["bf16"] < 1e-2


def test_fp32_that_is_rounded_like_tf32_is_found(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(compute._DTYPES, "fp32", torch.float16)  # 11 bits, as many as tf32 has
    found = list(precision.judge(seen(precision.look(CPU))))
    assert [one.level for one in found] == [Level.failure] * 2
    assert "the fp32 product has a relative error of" in found[0].text
    assert "the fp32 convolution has a relative error of" in found[1].text
    assert "NVIDIA_TF32_OVERRIDE" in found[0].advice


def exact(**errors):
    return precision.Precision(dict(errors), dict(errors))


def test_tf32_that_is_not_used_is_a_warning():
    well = exact(fp32=3e-7, tf32=3e-4, bf16=3e-3, fp16=4e-4)
    assert [one.level for one in precision.judge(seen(well))] == [Level.ok]
    found = list(precision.judge(seen(well, exact(fp32=3e-7, tf32=3e-7, bf16=3e-3, fp16=4e-4))))
    assert [one.level for one in found] == [Level.warning] * 2
    assert found[0].text == "precision=tf32 does not compute the product in tf32: rank 1 on b"
    [broken, _] = precision.judge(seen(exact(fp32=float("nan"))))
    assert (broken.level, broken.data["relative_error"]) == (Level.failure, {0: None})


def test_every_optimizer_of_the_configuration_is_tried():
    files = {path.stem for path in (shipped.conf() / "optim").glob("*.yaml")}
    assert set(steps.optimizers()) == files


def test_steps_on_this_cpu_come_to_the_weights_of_float64():
    [finding] = steps.judge(seen(steps.look(CPU)))
    assert finding.level is Level.ok
    for errors in finding.data["relative_error"][0].values():
        assert 0 < errors["fp32"] < 1e-4
        assert errors["fp32"] < errors["bf16"] < 0.1


def judged_with_scaler_step(monkeypatch: pytest.MonkeyPatch, step):
    """What is found in fp16 if the GradScaler takes its steps so."""
    monkeypatch.setattr(compute, "kinds", lambda device: ["fp16"])
    assert [one.level for one in steps.judge(seen(steps.look(CPU)))] == [Level.ok]
    real, scaler = torch.amp.GradScaler.step, torch.amp.GradScaler

    def taken(self, optimizer):  # the reference in float64 has no scale
        return step(optimizer) if self.is_enabled() else real(self, optimizer)

    monkeypatch.setattr(scaler, "step", taken)
    monkeypatch.setattr(scaler, "update", lambda self: None)
    return list(steps.judge(seen(steps.look(CPU))))


def test_an_update_that_is_left_out_is_found(monkeypatch: pytest.MonkeyPatch):
    found = judged_with_scaler_step(monkeypatch, lambda optimizer: None)
    assert [one.level for one in found] == [Level.failure] * len(steps.optimizers())


def test_gradients_that_are_not_unscaled_are_found(monkeypatch: pytest.MonkeyPatch):
    found = judged_with_scaler_step(monkeypatch, lambda optimizer: optimizer.step())
    assert {one.level for one in found} == {Level.failure}
    assert "sgd in fp16: weights after 3 updates differ from float64 on the CPU by" in found[0].text


def test_weights_that_are_no_numbers_are_wrong():
    [finding] = steps.judge(seen(steps.Steps({"sgd": {"fp32": float("nan")}})))
    assert finding.level is Level.failure
    assert finding.data["relative_error"] == {0: None}


def test_ranks_may_have_other_precisions():
    first, second = steps.Steps({"sgd": {"fp32": 1e-6}}), steps.Steps({"sgd": {"bf16": 0.9}})
    [finding] = steps.judge(seen(first, second))
    assert finding.level is Level.failure
    assert finding.text.endswith("by 0.9 of the change of the weights; allowed is 0.4: rank 1 on b")
    [fine] = steps.judge(seen(first, steps.Steps({"sgd": {"bf16": 0.01}})))
    assert fine.text.endswith("as a share of the change: fp32 1.0e-06, bf16 1.0e-02")


def broken(_=None):
    raise RuntimeError("CUDA error: out of memory\nmore lines")


def test_a_check_that_breaks_is_a_finding_and_the_others_go_on():
    made = [
        Check("one", Stage.device, broken, lambda seen, _: []),
        Check("two", Stage.device, lambda _: 2, lambda seen, _: [ok("two", str(seen[0].facts))]),
    ]
    first, second = examine(Context(None, guard=Guard(CPU)), made)
    assert first.level is Level.failure
    assert first.text.endswith("RuntimeError: CUDA error: out of memory")
    assert (second.level, second.text) == (Level.ok, "2")


def test_no_check_is_made_on_a_gpu_that_is_lost(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(device, "_answers", lambda device: False)
    made = [
        Check("one", Stage.device, broken, lambda seen, _: []),
        Check("two", Stage.device, lambda _: pytest.fail("was made"), lambda seen, _: []),
    ]
    _, second = examine(Context(None, guard=Guard(CPU)), made)
    assert "does not answer since the check 'one'" in second.text


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=HUNG,
        check=False,
    )


def test_a_check_that_does_not_return_ends_the_process():
    done = python(
        "import time\n"
        "from ttt.doctor.device import watched\n"
        "with watched('first', 60): pass\n"
        "with watched('copy rate', 0.1): time.sleep(200)\n"
    )
    assert done.returncode == 5
    assert "the check 'copy rate' on " in done.stderr
    assert "Traceback" not in done.stderr


class TestOnAGpu:
    pytestmark = GPU

    def test_all_checks_pass_within_a_minute(self):
        there = compute.choose("auto", 0)
        begin = time.monotonic()
        made = [one for one in with_torch(Solo(CPU), there) if one.stage is Stage.device]
        context = Context(None, RUN, guard=Guard(there), facts={"GPUs": gpus.look(0)})
        found = list(examine(context, made))
        assert time.monotonic() - begin < 60
        print(*found, sep="\n")
        assert [one for one in found if one.level is Level.failure] == []
        names = {one.name for one in found}
        assert {"matrix product", "precision", "training step", "image decoding"} <= names

    def test_a_product_is_below_the_peak(self):
        found = compute.look(compute.choose("auto", 0), gpus=True)
        for kind, most in found.peaks.items():
            if most is not None:  # an architecture that the table does not have
                assert 0.1 * most < found.flop_per_s[kind] < most

    def test_a_lost_gpu_is_named(self):
        done = python(
            "import torch\n"
            "from ttt.doctor.device import Guard\n"
            "from ttt.doctor.examination import Check, Context, Stage, examine\n"
            "gpu = torch.device('cuda', 0)\n"
            "def outside(_):\n"
            "    return torch.zeros(1, device=gpu)[torch.tensor([9], device=gpu)].cpu()\n"
            "made = [Check(name, Stage.device, outside, lambda seen, _: ()) for name in 'ab']\n"
            "for one in examine(Context(None, guard=Guard(gpu)), made):\n"
            "    print(one.text, flush=True)\n"
        )
        assert "device-side assert" in done.stdout.splitlines()[0]
        assert "does not answer since the check 'a'" in done.stdout.splitlines()[1]
