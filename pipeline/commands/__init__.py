"""The commands of `throughline`, a module per group; pipeline/cli.py has the table."""
