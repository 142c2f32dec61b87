"""The command line of the host: one module a command, imports inside so that `--help` is quick."""
