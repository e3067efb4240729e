"""Pure decisions: data in, data out.  No clock, no log, no environment, no network."""
