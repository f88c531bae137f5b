"""The transition of the task, its rewards, the metrics, and searches over toolchains."""
