"""One YAML file per AWS kind; a same-named module beside it holds what data cannot say (`aws.hooks.Hooks`)."""
