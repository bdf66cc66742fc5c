"""The local runner: run record, scheduler, console, summary."""
