"""One program per published number, with its results beside it."""
