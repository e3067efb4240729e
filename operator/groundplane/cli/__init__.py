"""The command line: one module per command; it builds everything and wires it together."""
