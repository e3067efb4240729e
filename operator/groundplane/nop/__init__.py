"""Resources that stand for nothing: what they say of themselves is what their spec tells them to.  For examples, tests and load without a cloud."""
