package state

import (
	"fmt"
	"unicode/utf8"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/payload"
	"github.com/eddyhq/eddy/shared/port"
)

// The longest names, in bytes of UTF-8.
const (
	MaxScope = 1024
	MaxKey   = 512
)

// maxCollection is how many bytes the port.Collection of a scope may have, in which '/', '%' and control bytes count
// three: what keys of DynamoDB hold.
const maxCollection = len(port.StateSpace) + MaxScope

// ValidScope returns nil when name can name a scope: valid UTF-8 of 1 to MaxScope bytes, in which '/', '%' and
// control bytes count three. Otherwise it returns an invalid_argument about the field scope.
func ValidScope(name string) error {
	if err := ValidName("scope", name, MaxScope); err != nil {
		return err
	}
	if len(port.Scope(name)) > maxCollection {
		return errs.Invalid(errs.Detail{Field: "scope", Problem: tooLongEscaped})
	}
	return nil
}

const tooLongEscaped = "must have at most 1024 bytes, of which '/', '%' and control characters count three"

// ReadScope reads the required field scope, which names one.
func ReadScope(fields *payload.Fields) port.Collection {
	name := fields.Name("scope", MaxScope)
	scope := port.Scope(name)
	if len(name) <= MaxScope && len(scope) > maxCollection {
		fields.Fault("scope", tooLongEscaped)
	}
	return scope
}

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
