"""The environment, single and batched, and what goes around it."""
