"""The commands of the command line, one module each; `upseg.cli` puts them together."""
