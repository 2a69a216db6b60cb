package engine_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/eddyhq/eddy/functions"
	"github.com/eddyhq/eddy/local/engine"
	"github.com/eddyhq/eddy/shared/operator"
)

// BenchmarkCreate makes todos from 32 clients and waits until both reactions to each have ended: three durable writes.
func BenchmarkCreate(b *testing.B) {
	e, err := engine.Open(functions.App(), b.TempDir(), engine.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := e.Close(context.Background()); err != nil {
			b.Error(err)
		}
	}()
	b.SetParallelism(16)
	b.ReportAllocs()
	var n atomic.Int64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			payload := fmt.Appendf(nil, `{"title":"todo number %d of this run, with a title of some length"}`, n.Add(1))
			if _, err := e.Invoke(b.Context(), operator.Call{Function: "todos::create", Payload: payload}); err != nil {
				b.Error(err)
			}
		}
	})
	if err := e.Settle(b.Context()); err != nil {
		b.Fatal(err)
	}
}
