"""The command line: one small module a command, each importing what it needs when it runs.

Commands act through the ledger, whether or not the daemon runs; none of them decides anything about a job
that the lifecycle's table does not allow. Importing a module of this room must cost nothing but Typer.
"""
