package state

import (
	"fmt"
	"unicode/utf8"

	"github.com/eddyhq/eddy/shared/errs"
)

// The longest names, in bytes of UTF-8.
const (
	MaxScope = 1024
	MaxKey   = 512
)

// ValidScope returns nil when name can name a scope: valid UTF-8 of 1 to MaxScope bytes. Otherwise it returns an
// invalid_argument about the field scope.
func ValidScope(name string) error { return ValidName("scope", name, MaxScope) }

// ValidKey returns nil when name can be the key of a document: valid UTF-8 of 1 to MaxKey bytes. Otherwise it returns
// an invalid_argument about the field key.
func ValidKey(name string) error { return ValidName("key", name, MaxKey) }

// ValidName returns nil when name is valid UTF-8 of 1 to longest bytes, and otherwise an invalid_argument about the
// field.
func ValidName(field, name string, longest int) error {
	switch {
	case name == "" || len(name) > longest:
		return errs.Invalid(errs.Detail{Field: field,
			Problem: fmt.Sprintf("must have from 1 to %d bytes, not %d", longest, len(name))})
	case !utf8.ValidString(name):
		return errs.Invalid(errs.Detail{Field: field, Problem: "must be valid UTF-8"})
	default:
		return nil
	}
}
