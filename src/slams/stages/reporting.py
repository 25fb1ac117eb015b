"""The stage that collects results into figures and one HTML page."""

from __future__ import annotations

from pathlib import Path

from slams.config.schema import Config
from slams.errors import UserError
from slams.metrics.printing import print_departures, print_methods, print_observations
from slams.runs.record import is_finished
from slams.runtime.files import read_table
from slams.runtime.ranks import say
from slams.stages.places import finished_assimilations, tracking_store, trained_directory
from slams.tracking.runs import attach

__all__ = ["report"]

# Tables that are printed where reports are real, of which the last one only cycles have.
_OBSERVED = {"observation_space": print_observations, "departures": print_departures}


def report(config: Config, dry_run: bool = False) -> Path:
    """Write `report/index.html` of the recipe's assimilation and all its settings; print both.

    Args:
        config: The recipe.
        dry_run: Whether only to print which runs the report would be made of.

    Raises:
        UserError: There is no finished assimilation, or its results are missing.
    """
    from slams.report import write_report

    directories = finished_assimilations(config)
    if dry_run:
        say("the report would be made of " + ", ".join(str(d) for d in directories))
        return directories[0]
    table = directories[0] / "results.parquet"
    try:
        results = read_table(table)
    except (OSError, ValueError) as error:  # pyarrow's errors are subclasses
        raise UserError(
            f"{table} is {'damaged' if table.exists() else 'missing'}; run `slams assimilate` "
            f"again with resume=overwrite"
        ) from error
    networks = [trained_directory(config, stage) for stage in ("vae", "score")]
    page = write_report(
        directories,
        *(network if is_finished(network) else None for network in networks),
        output=directories[0] / "report",
        options=config.report,
    )
    attach(tracking_store(config), directories[0], page.parent, "report")
    print_methods(results)
    if config.observations.stations.source.kind:
        for name, show in _OBSERVED.items():
            path = directories[0] / f"{name}.parquet"
            try:
                if path.exists() and len(table := read_table(path)):
                    show(table)
            except (OSError, ValueError):
                say(f"{path} cannot be read: its statistics are omitted")
    say(f"report: {page}")
    return page
