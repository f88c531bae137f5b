"""The environment, single and batched, its rendering and a wrapper."""
