"""What the benchmark scripts share: the methods compared, cached runs over the images of a data set, and reports."""
