package functions_test

import (
	"testing"

	"github.com/eddyhq/eddy/functions"
)

func TestTheAppHasNoMistakes(t *testing.T) {
	t.Parallel()
	if err := functions.App().Validate(); err != nil {
		t.Error(err)
	}
}
