"""Finding, loading, saving and publishing models."""
