"""Studies made by hand, for tests of the forms in which they are shown."""

from pathlib import Path

from ttt.report.analyze.study import Study, study
from ttt.report.run import Block, Evaluation, Found, Rejected, Run

NOWHERE = Path("results/nowhere/result_0.txt")
HOSTILE = "<script>alert('x')</script>&\"$\\frac{\x1b[31m_"


def run(name: str, seed: int, seconds: float = 600.0, **changes: object) -> Run:
    """One of the runs of a system on resnet: eight accelerators, five evaluations."""
    samples = 1e6 * float(changes.get("epochs") or 35.0)  # type: ignore[arg-type]
    values: dict[str, object] = {
        "path": Path("results") / name / "resnet" / f"result_{seed}.txt",
        "source": "MLPerf log",
        "digest": name,
        "submitter": "Acme",
        "system": name,
        "benchmark": "resnet",
        "seed": seed,
        "status": "success",
        "metric": "top1",
        "target": 0.759,
        "higher_is_better": True,
        "quality": 0.76,
        "global_batch": 4096,
        "time_to_train_s": seconds,
        "elapsed_s": seconds,
        "eval_interval_s": seconds / 5,
        "epochs": 35.0,
        "samples": samples,
        "train_s": seconds / 1.1,
        "samples_per_s": 1.1 * samples / seconds,
        "steady_samples_per_s": 1.1 * samples / seconds,
        "nodes": 1,
        "accelerators": 8,
        "accelerator_name": "H100",
        "passed": True,
        "official": False,
        "ruleset": "4.0.0",
        "division": "closed",
        "evaluations": tuple(
            Evaluation(seconds * part / 5, 0.759 - 0.1 * (5 - part)) for part in range(1, 6)
        ),
        "blocks": tuple(Block(seconds * part / 5, seconds / 5, samples / 5) for part in range(5)),
    }
    return Run(**(values | changes))  # type: ignore[arg-type]


def runs(name: str, seconds: float = 600.0, count: int = 3, **changes: object) -> list[Run]:
    return [run(name, seed, seconds * (1 + 0.01 * seed), **changes) for seed in range(1, count + 1)]


def of(*groups: list[Run], rejected: tuple[Rejected, ...] = ()) -> Study:
    return study(Found(tuple(run for group in groups for run in group), rejected))


def sweep(**others: object) -> Study:
    """8, 64 and 512 accelerators of one kind, 8 of another, and a log nobody can read.

    Args:
        others: What is known of the other kind instead.
    """
    return of(
        runs("acme_8", 600.0),
        runs("acme_64", 100.0, accelerators=64, nodes=8),
        runs("acme_512", 40.0, accelerators=512, nodes=64, global_batch=16384, epochs=50.0),
        runs("other_8", 900.0, submitter="Beta", accelerator_name="MI300X", **others),
        rejected=(Rejected(Path("results/broken"), "is no MLPerf log"),),
    )


def hostile() -> Study:
    """The same words everywhere a log can put them."""
    words = {
        "submitter": HOSTILE,
        "system": HOSTILE,
        "benchmark": HOSTILE,
        "metric": HOSTILE,
        "accelerator_name": HOSTILE,
        "ruleset": HOSTILE,
        "division": HOSTILE,
        "precision": HOSTILE,
        "problems": (HOSTILE,),
        "description": {"framework": HOSTILE, "host_processor_model_name": HOSTILE},
    }
    return of(
        runs("one", **words),
        runs("two", 90.0, **words | {"accelerators": 64}),
        [run("three", 1, **words | {"status": HOSTILE, "reason": HOSTILE, "accelerators": 2})],
        rejected=(Rejected(Path(HOSTILE), HOSTILE), Rejected(Path("\udcff"), "\udcff")),
    )
