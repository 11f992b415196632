"""What is ours and not the paper's: a hierarchy of regions with a level of detail, and borders at full size."""
