"""The command ``tfbundle``: one module a subcommand, each with a click command called ``command``."""
