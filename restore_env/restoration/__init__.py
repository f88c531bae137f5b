"""The transition, rewards, metrics and the search over toolchains."""
