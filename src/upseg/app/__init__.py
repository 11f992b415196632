"""The page: open a photo, point at what is wanted, correct it, take it away; and the HTTP API that the page uses."""
