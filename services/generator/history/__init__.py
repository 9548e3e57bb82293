"""The stored history of generations, in SQLite or PostgreSQL."""
