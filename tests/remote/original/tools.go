//go:build tools

// Package original names the function that build.py builds, so that go.mod and go.sum pin all it needs.
package original

import (
	_ "github.com/crossplane-contrib/function-cel-filter"
)
