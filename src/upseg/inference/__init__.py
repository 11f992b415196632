"""From files to results: reading images, finding models, running over folders."""
