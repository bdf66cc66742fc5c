"""`throughline schema diff` and `throughline schema accept`."""

import tyro

from pipeline import config as settings
from pipeline.commands.flags import StoreFlags, answer_without_action, say
from pipeline.errors import EXIT_DONE


def schema(arguments: list[str]) -> int:
    """Show how the newest proposal differs from the reviewed schema, or accept it."""
    actions = {"diff": _diff, "accept": _accept}
    action, *rest = arguments or ["--help"]
    if action not in actions:
        return answer_without_action("schema", action, actions)
    flags = tyro.cli(StoreFlags, prog=f"throughline schema {action}", args=rest)
    return actions[action](flags.config())


def _diff(config: settings.Config) -> int:
    from pipeline.trust import schema_review
    from pipeline.trust.proposal import proposed_schema

    proposal = proposed_schema(config)
    differences = schema_review.diff(
        schema_review.read(config.schema), schema_review.read(proposal)
    )
    say("\n".join(schema_review.lines(differences)))
    return EXIT_DONE


def _accept(config: settings.Config) -> int:
    from pipeline.trust import schema_review
    from pipeline.trust.proposal import proposed_schema

    proposal = proposed_schema(config)
    schema_review.accept(proposal, config.schema)
    say(
        f"{config.schema} is now what {proposal} proposed; review it, narrow what is "
        "too wide, and commit it"
    )
    return EXIT_DONE
