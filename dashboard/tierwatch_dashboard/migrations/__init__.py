"""The database's schema, step by step; ``database.open_database`` takes a file to the last one."""
