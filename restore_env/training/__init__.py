"""The mechanics that every training shares; needs the extra `train`."""
