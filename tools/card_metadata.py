"""Begin model cards with what the Hugging Face Hub reads of them, such as the licence of the weights.

    python -m tools.card_metadata --folders my-agent/ --licence mit --datasets CID22

The programs that train write cards with an unknown licence: whose the weights are, chooses it. Cards that were written
before version 0.2 have no metadata at all.
"""

from dataclasses import dataclass
from pathlib import Path

from restore_env.training.model_card import write_metadata
from restore_env.training.program import check_paths, run_program
from restore_env.utils.checks import Options, Text
from restore_env.utils.serialization import CARD


@dataclass(kw_only=True)
class Args(Options):
    """Begin model cards with what the Hugging Face Hub reads of them.

    Raises:
        ValueError: if an option is empty.
    """

    folders: tuple[Path, ...]
    """Toolbox and policy folders with a model card (README.md)."""
    licence: Text
    """Licence of the weights, as the Hub spells it, such as mit or cc-by-4.0."""
    datasets: tuple[Text, ...] = ()
    """Names of the data sets that were trained on."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Cards that are there and can be written."""

    args: Args


def plan(args: Args) -> Plan:
    """Find the cards.

    Raises:
        ValueError: if there is no folder, or one has no card.
    """
    if not args.folders:
        raise ValueError("folders: none are given")
    for folder in args.folders:
        if not (folder / CARD).is_file():
            raise ValueError(f"folders: {str(folder)!r} has no model card, {CARD}")
    check_paths({}, files={"--folders": [folder / CARD for folder in args.folders]})
    return Plan(args=args)


def run(plan: Plan) -> None:
    """Write the metadata."""
    for folder in plan.args.folders:
        write_metadata(folder, plan.args.licence, plan.args.datasets)


def main(args: Args) -> None:
    """Write the metadata into all cards."""
    run(plan(args))


if __name__ == "__main__":
    run_program(main, Args)
