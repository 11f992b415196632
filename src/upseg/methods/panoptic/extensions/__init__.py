"""What is ours and not the paper's."""
