"""Helpers without knowledge of the task: checks, files, serialization, tensors, threads and progress bars."""
