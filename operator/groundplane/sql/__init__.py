"""What is inside of PostgreSQL servers: databases, roles, grants, schemas, extensions, default privileges."""
