"""The dashboard of a project in W&B: a report that anybody who may see the project can change.

W&B answers only to who is logged in; even to describe a report its library asks the server. May not
know runs: a dashboard is drawn by the server, of what is in the project.
"""

from typing import Any

from ttt.errors import MissingExtra, TttError


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
    """A grid over the training runs, one over the summaries."""
    trained = reports.Runset(project=project, name="runs", filters="JobType = 'train'")
    grouped = reports.Runset(
        project=project, name="sizes", filters="JobType = 'train'", groupby=["group"]
    )
    told = reports.Runset(project=project, name="summaries", filters="JobType = 'summary'")
    return [
        reports.H1("Scaling"),
        reports.PanelGrid(runsets=[trained], panels=_scaling(reports)),
        reports.H1("Convergence"),
        reports.PanelGrid(runsets=[grouped], panels=_convergence(reports)),
        reports.H1("Differences"),
        reports.PanelGrid(runsets=[trained], panels=[reports.RunComparer(diff_only=True)]),
        reports.H1("Experiments"),
        reports.PanelGrid(runsets=[told], panels=_study(reports)),
    ]


def _scaling(reports: Any) -> list[Any]:
    """Runs by size: ideal scaling is a straight line in these."""
    workers = reports.Config("workers")
    return [
        reports.ScatterPlot(
            title=title, x=workers, y=reports.SummaryMetric(name), log_x=True, log_y=True
        )
        for title, name in (
            ("Time to train (s) against workers", "time_to_train_s"),
            ("Samples a second against workers", "samples_per_s"),
        )
    ]


def _convergence(reports: Any) -> list[Any]:
    """Quality by size of the sweep, the seeds of each as a band."""
    return [
        reports.LinePlot(
            title=title,
            x=x,
            y=["eval/quality", "eval/target"],
            groupby="Group",
            groupby_aggfunc="mean",
            groupby_rangefunc="minmax",
        )
        for title, x in (
            ("Quality over seconds", "seconds"),
            ("Quality over samples", "samples"),
        )
    ]


def _study(reports: Any) -> list[Any]:
    """What `ttt report` made of it: curves with the ideal beside them, and the table."""
    line = reports.LinePlot
    return [
        line(
            title="Score (s)",
            x="workers",
            metric_regex="time_to_train_s/.*",
            log_x=True,
            log_y=True,
        ),
        line(title="Time-to-train efficiency", x="workers", metric_regex="efficiency/.*"),
        reports.WeavePanelSummaryTable(table_name="experiments"),
    ]
