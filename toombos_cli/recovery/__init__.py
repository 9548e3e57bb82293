"""Recovery from a complete failure: the guide's procedure, step by step, up to the first failure."""
