"""Many images: inputs, jobs, the journal, workers."""
