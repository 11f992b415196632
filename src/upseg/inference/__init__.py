"""Where images were read and models found before: scripts that import from here go on working."""
