package eddy_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/transaction"
)

// doing runs a function that may write things, and does something, on an engine.
func doing(t *testing.T, m *memory, do func(ctx context.Context) error) error {
	t.Helper()
	app := eddy.New()
	m.app = app
	eddy.Register(app, "a::other", gives[string])
	eddy.Register(app, "a::b", func(ctx context.Context, _ eddy.None) (eddy.None, error) {
		return eddy.None{}, do(ctx)
	}, eddy.Uses(things, eddy.Invokes("a::other")))
	f, _ := app.Function("a::b")
	invocation := m.invocation()
	invocation.IdempotencyKey = "key"
	invocation.Cause = port.Cause{Root: "root", Chain: []string{"a::b"}}
	_, err := f.Invoke(t.Context(), invocation, nil)
	return err
}

func TestTransactCommitsOnceAndReadsWhatItWrote(t *testing.T) {
	t.Parallel()
	m := newMemory(nil)
	err := doing(t, m, func(ctx context.Context) error {
		return eddy.Transact(ctx, func(ctx context.Context) error {
			if err := things.Set(ctx, "a", thing{Name: "A"}); err != nil {
				return err
			}
			seen, err := things.Get(ctx, "a")
			if err != nil || seen.Name != "A" {
				return fmt.Errorf("it sees %+v, %w", seen, err)
			}
			_, err = eddy.Void(ctx, "a::other", eddy.None{})
			return errors.Join(err, things.Set(ctx, "b", thing{Name: "B"}))
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(m.commits) != 1 || len(m.commits[0].Writes) != 2 || len(m.commits[0].Calls) != 1 {
		t.Fatalf("it committed %+v", m.commits)
	}
	if cause := m.commits[0].Cause; cause.Root != "root" || cause.Depth() != 1 {
		t.Errorf("it committed because of %+v", cause)
	}
}

func TestTransactLeavesNothingWhenItFails(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func() error{
		"an error": func() error { return eddy.ConditionNotMet("no") },
		"a panic":  func() error { panic("no") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMemory(nil)
			err := doing(t, m, func(ctx context.Context) error {
				return eddy.Transact(ctx, func(ctx context.Context) error {
					if err := things.Set(ctx, "a", thing{}); err != nil {
						return err
					}
					return end()
				})
			})
			if err == nil || len(m.commits) != 0 {
				t.Errorf("%v, committed %+v", err, m.commits)
			}
		})
	}
}

func TestTransactRunsAgainWhenItLosesARace(t *testing.T) {
	t.Parallel()
	m := newMemory(nil)
	runs := 0
	err := doing(t, m, func(ctx context.Context) error {
		if err := things.Set(ctx, "a", thing{Count: 1}); err != nil {
			return err
		}
		return eddy.Transact(ctx, func(ctx context.Context) error {
			runs++
			if runs == 1 {
				m.beforeSet = func() {
					w := port.Write{Op: port.Set, Collection: port.Scope("things"), Key: "a", Value: document.Value(`{"count":10,"name":""}`)}
					if _, err := m.write(w); err != nil {
						t.Error(err)
					}
				}
			}
			_, err := things.Modify(ctx, "a", func(value *thing) error {
				value.Count++
				return nil
			})
			return err
		})
	})
	if err != nil || runs != 2 {
		t.Fatalf("%d runs, %v", runs, err)
	}
	if got := string(m.documents[port.Scope("things")]["a"].Value); got != `{"count":11,"name":""}` {
		t.Errorf("it left %s", got)
	}
}

func TestTransactFailsWithAConditionThatCannotHold(t *testing.T) {
	t.Parallel()
	m := newMemory(nil)
	err := doing(t, m, func(ctx context.Context) error {
		return eddy.Transact(ctx, func(ctx context.Context) error {
			return things.Set(ctx, "a", thing{}, eddy.IfVersion(7))
		})
	})
	wantCode(t, "a version that is not there", err, eddy.CodeConflict)
}

func TestTransactIsAPartOfTheTransactionAround(t *testing.T) {
	t.Parallel()
	refused := errors.New("no")
	m := newMemory(nil)
	buffer := transaction.New(m)
	app := eddy.New()
	eddy.React(app, "a::b", func(ctx context.Context, _ eddy.Change[thing]) error {
		err := eddy.Transact(ctx, func(ctx context.Context) error {
			return errors.Join(things.Set(ctx, "a", thing{Count: 1}), things.Set(ctx, "b", thing{Count: 1}))
		})
		if err != nil {
			return err
		}
		err = eddy.Transact(ctx, func(ctx context.Context) error {
			_, err := things.Modify(ctx, "a", func(value *thing) error {
				value.Count++
				return nil
			})
			return errors.Join(err, things.Set(ctx, "c", thing{}), refused)
		})
		if !errors.Is(err, refused) {
			t.Errorf("it fails with %v", err)
		}
		seen, err := things.Get(ctx, "a")
		if seen.Count != 1 {
			t.Errorf("it left %+v", seen)
		}
		return err
	}, things.Changes(), eddy.Uses(things))
	f, _ := app.Function("a::b")
	invocation := m.invocation()
	invocation.Engine = eddy.Over(buffer, m)
	record := &port.Record{Change: &port.Change{Collection: port.Scope("things"), Key: "k", New: document.Value(`{}`), Version: 1}}
	if err := f.React(t.Context(), invocation, record); err != nil {
		t.Fatal(err)
	}
	if commit := buffer.End(); len(m.commits) != 0 || len(commit.Writes) != 2 {
		t.Errorf("%d commits reached the store before the end, which writes %+v", len(m.commits), commit.Writes)
	}
}

func TestHeadersSetInATransactAreThoseOfTheResponse(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	eddy.Register(app, "a::b", func(ctx context.Context, _ eddy.None) (eddy.None, error) {
		return eddy.None{}, eddy.Transact(ctx, func(ctx context.Context) error {
			return eddy.Transact(ctx, func(ctx context.Context) error {
				eddy.SetHeader(ctx, "X-Seen", eddy.Request(ctx).Header.Get("X-Who"))
				return nil
			})
		})
	}, eddy.HTTP("GET /x"))
	if got := get(t, app, newMemory(app)).Header.Get("X-Seen"); got != "me" {
		t.Errorf("the header is %q", got)
	}
}

// keysOfCalls runs a function that makes two calls in a Transact, which loses so many races, and one after it. It returns
// the keys that the calls had.
func keysOfCalls(t *testing.T, races int) (keys []string) {
	t.Helper()
	app := eddy.New()
	eddy.Register(app, "a::inner", func(ctx context.Context, _ eddy.None) (eddy.None, error) {
		keys = append(keys, eddy.IdempotencyKey(ctx))
		return eddy.None{}, nil
	})
	m := newMemory(app)
	m.put(port.Scope("things"), "a", `{}`)
	inner := func(ctx context.Context) error {
		_, err := eddy.Call[eddy.None](ctx, "a::inner", eddy.None{})
		return err
	}
	eddy.Register(app, "a::outer", func(ctx context.Context, _ eddy.None) (eddy.None, error) {
		err := eddy.Transact(ctx, func(ctx context.Context) error {
			if races > 0 {
				races--
				m.beforeSet = func() { m.put(port.Scope("things"), "a", `{}`) }
			}
			_, err := things.Modify(ctx, "a", func(*thing) error { return nil })
			return errors.Join(err, inner(ctx), inner(ctx))
		})
		return eddy.None{}, errors.Join(err, inner(ctx))
	}, eddy.Uses(things, eddy.Invokes("a::inner")))
	f, _ := app.Function("a::outer")
	invocation := m.invocation()
	invocation.IdempotencyKey = "key"
	if _, err := f.Invoke(t.Context(), invocation, nil); err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestCallsOfATransactKeepTheirKeysWhenItRunsAgain(t *testing.T) {
	t.Parallel()
	once := keysOfCalls(t, 0)
	if len(once) != 3 || once[0] == once[1] || once[1] == once[2] || once[0] == once[2] {
		t.Fatalf("three calls have the keys %v", once)
	}
	want := slices.Concat(once[:2], once[:2], once)
	if diff := cmp.Diff(want, keysOfCalls(t, 2)); diff != "" {
		t.Errorf("the keys of three runs (-want +got):\n%s", diff)
	}
}

func TestATimeToLiveThatIsNone(t *testing.T) {
	t.Parallel()
	for name, write := range map[string]func(ctx context.Context) error{
		"of nothing":     func(ctx context.Context) error { return things.Set(ctx, "a", thing{}, eddy.TTL(0)) },
		"below nothing":  func(ctx context.Context) error { return things.Set(ctx, "a", thing{}, eddy.TTL(-time.Second)) },
		"of a deletion":  func(ctx context.Context) error { return things.Delete(ctx, "a", eddy.TTL(time.Second)) },
		"of no document": func(ctx context.Context) error { return things.Delete(ctx, "a", eddy.TTL(0)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMemory(nil)
			err := doing(t, m, func(ctx context.Context) error { return eddy.Transact(ctx, write) })
			wantCode(t, "a time to live "+name, err, eddy.CodeInvalidArgument)
		})
	}
}

func TestOnlyASetDecidesWhenADocumentExpires(t *testing.T) {
	t.Parallel()
	m := newMemory(nil)
	end := m.Now().Add(time.Minute)
	change := func(value *thing) error {
		value.Count++
		return nil
	}
	err := doing(t, m, func(ctx context.Context) error {
		expires := func(want time.Time) {
			t.Helper()
			if entry, err := things.Entry(ctx, "a"); err != nil || !entry.Expires.Equal(want) {
				t.Errorf("it expires at %s, %v; want %s", entry.Expires, err, want)
			}
		}
		err := things.Set(ctx, "a", thing{}, eddy.TTL(time.Minute))
		expires(end)
		_, modified := things.Modify(ctx, "a", change)
		_, updated := things.Update(ctx, "a", eddy.Merge(map[string]string{"name": "A"}))
		expires(end)
		transacted := eddy.Transact(ctx, func(ctx context.Context) error {
			_, err := things.Modify(ctx, "a", change)
			return errors.Join(err, things.Increment(ctx, "a", "count", 1))
		})
		expires(end)
		again := eddy.Transact(ctx, func(ctx context.Context) error {
			err := things.Set(ctx, "a", thing{}, eddy.TTL(time.Hour))
			_, modified := things.Modify(ctx, "a", change)
			return errors.Join(err, modified)
		})
		expires(m.Now().Add(time.Hour))
		last := things.Set(ctx, "a", thing{})
		expires(time.Time{})
		return errors.Join(err, modified, updated, transacted, again, last)
	})
	if err != nil {
		t.Error(err)
	}
}

func TestATimeToLiveIsPartOfTheWrite(t *testing.T) {
	t.Parallel()
	m := newMemory(nil)
	err := doing(t, m, func(ctx context.Context) error {
		return things.Set(ctx, "a", thing{}, eddy.TTL(time.Minute))
	})
	if err != nil || m.commits[0].Writes[0].TTL != time.Minute {
		t.Errorf("%v, %+v", err, m.commits)
	}
}

func TestDerivedKeysDoNotDependOnWhatElseARunCalls(t *testing.T) {
	t.Parallel()
	keys := func(others int) (keys []string) {
		app := eddy.New()
		eddy.Register(app, "a::inner", func(ctx context.Context, in thing) (eddy.None, error) {
			if in.Name == "x" {
				keys = append(keys, eddy.IdempotencyKey(ctx))
			}
			return eddy.None{}, nil
		})
		eddy.Register(app, "a::outer", func(ctx context.Context, _ eddy.None) (eddy.None, error) {
			for i := range others {
				if _, err := eddy.Call[eddy.None](ctx, "a::inner", thing{Count: i}); err != nil {
					return eddy.None{}, err
				}
			}
			for range 2 {
				if _, err := eddy.Call[eddy.None](ctx, "a::inner", thing{Name: "x"}); err != nil {
					return eddy.None{}, err
				}
			}
			return eddy.None{}, nil
		}, eddy.Uses(eddy.Invokes("a::inner")))
		invocation := newMemory(app).invocation()
		invocation.IdempotencyKey = "key"
		outer, _ := app.Function("a::outer")
		if _, err := outer.Invoke(t.Context(), invocation, nil); err != nil {
			t.Fatal(err)
		}
		return keys
	}
	first, second := keys(0), keys(3)
	if len(first) != 2 || first[0] == "" || first[0] == first[1] {
		t.Errorf("two equal calls have the keys %v", first)
	}
	if fmt.Sprint(first) != fmt.Sprint(second) {
		t.Errorf("the same calls have the keys %v, then %v", first, second)
	}
}
