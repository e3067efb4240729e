"""The Cluster port, twice: a real API server over HTTP, and one SQLite file."""
