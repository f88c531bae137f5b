"""The joint training of tools along toolchains."""
