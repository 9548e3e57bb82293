"""Reading `toombos.toml`: layers, placeholders, references, and the line of every problem."""
