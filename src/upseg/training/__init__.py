"""Training with Lightning: data, schedules, callbacks, the command line. Needs the `train` extra."""
