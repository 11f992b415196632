"""The parts of `tools/same_behaviour.py`: what is given in, what is done with it, how results are compared."""
