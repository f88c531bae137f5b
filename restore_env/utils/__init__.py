"""What every other part uses: checks, files, serialization, tensors, threads, progress."""
