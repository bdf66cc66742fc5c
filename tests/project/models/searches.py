"""Runs searches in forks of a process that has imported TensorFlow, not used it.

    python -m tests.project.models.searches < REQUESTS

Requests are a JSON list; see `Request`. Prints a JSON list of what `Search.results`
returned, `null` for a search that was killed, or the error's text.
"""

import dataclasses
import json
import multiprocessing
import os
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any


@dataclass(frozen=True)
class Request:
    """A search.

    Attributes:
        directory: Of the finished trials.
        arguments: Attributes of `models.tuner.TuningArguments`.
        trials: Most trials.
        workers: Processes at once.
        kill_after: Kill it, with SIGKILL, as soon as so many trials are finished.
    """

    directory: str
    arguments: dict[str, Any]
    trials: int
    workers: int
    kill_after: int = 0


def _searched(request: Request, pipe: Connection) -> None:
    from models import tuner
    from models.search_space import Choice, Range, Space
    from pipeline.columnar import engine, progress

    reports: list[Any] = []
    engine.limit_workers(request.workers)
    progress.listen(reports.append)
    arguments = SimpleNamespace(**request.arguments)
    arguments.working_dir = request.directory
    arguments.custom_config = {**arguments.custom_config, "trials": request.trials}
    space: Space = {
        "learning_rate": Range(0.001, 0.1, log=True),
        "hidden_layers": Choice(((4,), (16,), (16, 8))),
    }
    search = tuner.Search(arguments, space)
    try:
        search.search()
    except Exception as error:  # noqa: BLE001 - the test looks at any error
        pipe.send(f"{type(error).__name__}: {error}")
    else:
        shown = [str(each) for each in reports]
        config = search.get_best_hyperparameters()[0].get_config()
        pipe.send({**search.results(), "reports": shown, "config": config})


def _answer(request: Request) -> Any:
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_searched, args=(request, theirs))
    process.start()
    theirs.close()
    if request.kill_after:
        while len(list(Path(request.directory).glob("*.json"))) < request.kill_after:
            time.sleep(0.01)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        return None
    answer = ours.recv()
    process.join()
    return answer


def main() -> None:
    """Answers the requests on standard input."""
    # Imported once for all forks.
    import models.tuner  # noqa: F401

    answers = [_answer(Request(**each)) for each in json.load(sys.stdin)]
    json.dump(answers, sys.stdout)


def as_json(requests: list[Request]) -> str:
    """Returns requests as this module reads them."""
    return json.dumps([dataclasses.asdict(each) for each in requests])


if __name__ == "__main__":
    main()
