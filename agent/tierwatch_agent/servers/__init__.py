"""Generation servers: which process is one, and what each tells of its jobs."""
