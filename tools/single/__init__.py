"""The training of one tool."""
