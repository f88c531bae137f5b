"""Recipes that produce policies; run them from a checkout."""
