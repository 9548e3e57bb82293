"""What a step of a test says about a response, for `smoke` and `load`: variables, conditions, captures."""
