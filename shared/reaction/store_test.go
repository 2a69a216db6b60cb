package reaction_test

import (
	"context"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/pebblestore"
	"github.com/eddyhq/eddy/shared/pebblestore/pebbletest"
	"github.com/eddyhq/eddy/shared/port"
)

func open(t pebbletest.TB) *pebblestore.Store {
	t.Helper()
	return pebbletest.Open(t, pebblestore.Options{})
}

var scope = port.Scope("s")

func set(key, value string) port.Write {
	return port.Write{Op: port.Set, Collection: scope, Key: key, Value: document.Value(value)}
}

func commit(t pebbletest.TB, docs port.Documents, writes ...port.Write) []port.Result {
	t.Helper()
	results, err := docs.Commit(context.Background(), port.Commit{Writes: writes})
	if err != nil {
		t.Fatal(err)
	}
	return results
}

func increment(key string, by int64) port.Write {
	ops := []document.Op{{Type: document.OpIncrement, Path: []string{"n"}, By: by}}
	return port.Write{Op: port.Update, Collection: scope, Key: key, Ops: ops}
}
