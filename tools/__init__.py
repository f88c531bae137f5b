"""Recipes that produce toolboxes; run them from a checkout, as `python -m tools.train_toolbox`."""
