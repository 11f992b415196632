"""One folder per published method, the same file names in each."""
