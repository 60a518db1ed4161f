"""Which method of pruning is better than chance, and at what cost in flash, RAM and cycles."""
