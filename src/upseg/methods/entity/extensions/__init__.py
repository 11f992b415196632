"""What is ours and not the paper's, off by default: for images full of small objects, and for clean label maps."""
