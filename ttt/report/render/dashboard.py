"""The dashboard of a project in W&B: a report that all members of the project can change.

W&B answers only to who is logged in; even to describe a report its library asks the server. May not
know runs: a dashboard is drawn by the server, of what is in the project.
"""

from typing import Any

from ttt.errors import MissingExtra, TttError

_BY_SIZE = (
    ("Time to train (s)", "time_to_train_s"),
    ("Samples a second", "samples_per_s"),
)


def create(project: str) -> str:
    """Make a dashboard of everything in a project of the default entity.

    Args:
        project: Its name.

    Returns:
        Where it is to be seen.

    Raises:
        MissingExtra: wandb-workspaces is not installed.
        TttError: The server refuses.
    """
    try:
        import wandb_workspaces.reports.v2 as reports  # noqa: PLC0415  asks for a login when used
    except ImportError as error:
        raise MissingExtra("wandb-workspaces", "wandb", "a dashboard in W&B") from error
    try:
        report = reports.Report(
            project=project,
            title=f"Time to train {project}",
            description="Made by ttt report --wandb online",
            blocks=[reports.TableOfContents(), *_blocks(reports, project)],
            width="fluid",
        )
        report.save()
        return str(report.url)
    except Exception as error:  # of its own, pydantic's and the transport's: no common base
        raise TttError(f"W&B refuses it: {' '.join(str(error).split())}") from error


def _blocks(reports: Any, project: str) -> list[Any]:
    """Grids over the training runs, one over the summaries."""
    trained = {"project": project, "filters": "JobType = 'train'"}
    runs = reports.Runset(name="runs", **trained)
    sizes = reports.Runset(name="sizes", groupby=["group"], **trained)
    summaries = reports.Runset(project=project, name="summaries", filters="JobType = 'summary'")
    grids = {
        "Scaling": (runs, [_scatter(reports, *each) for each in _BY_SIZE]),
        "Convergence": (sizes, [_quality(reports, x) for x in ("seconds", "samples")]),
        "Differences": (runs, [reports.RunComparer(diff_only=True)]),
        "Experiments": (summaries, _study(reports)),
    }
    return [
        block
        for title, (runset, panels) in grids.items()
        for block in (reports.H1(title), reports.PanelGrid(runsets=[runset], panels=panels))
    ]


def _scatter(reports: Any, title: str, name: str) -> Any:
    """Runs by size: ideal scaling is a straight line in these."""
    x, y = reports.Config("workers"), reports.SummaryMetric(name)
    return reports.ScatterPlot(title=f"{title} against workers", x=x, y=y, log_x=True, log_y=True)


def _quality(reports: Any, x: str) -> Any:
    """Quality by size of the sweep, the seeds of each as a band."""
    return reports.LinePlot(
        title=f"Quality over {x}",
        x=x,
        y=["eval/quality", "eval/target"],
        groupby="Group",
        groupby_aggfunc="mean",
        groupby_rangefunc="minmax",
    )


def _study(reports: Any) -> list[Any]:
    """What `ttt report` made of it: curves with the ideal beside them, and the table."""
    line, score = reports.LinePlot, "time_to_train_s/.*"
    return [
        line(title="Score (s)", x="workers", metric_regex=score, log_x=True, log_y=True),
        line(title="Time-to-train efficiency", x="workers", metric_regex="efficiency/.*"),
        reports.WeavePanelSummaryTable(table_name="experiments"),
    ]
