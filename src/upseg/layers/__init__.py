"""Network modules that two methods or more use."""
