package porttest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/eddyhq/eddy/shared/port"
)

func concurrencyCases() []testCase {
	const clients, rounds = 16, 25
	return []testCase{
		{"increments by many add up", func(f *fixture) {
			f.inParallel(clients, func(i int) {
				for range rounds {
					w := update(todos, "k", increment("n", 1))
					w.NoResult = i%2 == 0
					f.mustCommit(port.Commit{Writes: []port.Write{w}})
				}
			})
			f.wantText(todos, "k", fmt.Sprintf(`{"n":%d}`, clients*rounds))
		}},
		{"compare-and-set loops of many add up", func(f *fixture) {
			f.inParallel(clients, func(int) {
				for range 5 {
					f.addByCompareAndSet("k")
				}
			})
			f.wantText(todos, "k", strconv.Itoa(clients*5))
		}},
		{"of many who create, one does", func(f *fixture) {
			created := make(chan int, clients)
			f.inParallel(clients, func(i int) {
				_, err := f.Documents.Commit(f.Context(), port.Commit{
					Writes: []port.Write{ifVersion(set(todos, "k", strconv.Itoa(i)), 0)},
				})
				var conflict *port.ConflictError
				switch {
				case err == nil:
					created <- i
				case !errors.As(err, &conflict):
					f.Errorf("create: %v", err)
				}
			})
			f.same("created", len(created), 1)
			f.wantText(todos, "k", strconv.Itoa(<-created))
		}},
		{"of many commits with one cursor, one takes effect", func(f *fixture) {
			f.inParallel(clients, func(int) {
				_, err := f.Documents.Commit(f.Context(), port.Commit{
					Writes:  []port.Write{update(todos, "k", increment("n", 1))},
					Cursors: []port.Cursor{{Name: "c", Version: 1}},
				})
				if err != nil && !errors.Is(err, port.ErrStale) {
					f.Errorf("commit: %v", err)
				}
			})
			f.wantText(todos, "k", `{"n":1}`)
		}},
		{"transfers between documents keep the sum", transfers},
		{"a read sees what was acknowledged before it", func(f *fixture) {
			f.inParallel(clients, func(i int) {
				key := strconv.Itoa(i)
				for n := range rounds {
					want := strconv.Itoa(n)
					f.mustCommit(port.Commit{Writes: []port.Write{set(todos, key, want)}})
					if d, err := f.Documents.Get(f.Context(), todos, key); err != nil || string(d.Value) != want {
						f.Errorf("read %s after %s was written (%v)", d.Value, want, err)
					}
				}
			})
		}},
	}
}

// addByCompareAndSet adds one to a document that holds a number.
func (f *fixture) addByCompareAndSet(key string) {
	for {
		d, err := f.Documents.Get(f.Context(), todos, key)
		if err != nil {
			f.Errorf("get: %v", err)
			return
		}
		n, _ := strconv.Atoi(string(d.Value))
		_, err = f.Documents.Commit(f.Context(), port.Commit{
			Writes: []port.Write{ifVersion(set(todos, key, strconv.Itoa(n+1)), d.Version)},
		})
		var conflict *port.ConflictError
		if err == nil {
			return
		}
		if !errors.As(err, &conflict) {
			f.Errorf("commit: %v", err)
			return
		}
	}
}

// transfers moves amounts between accounts from many sides, each move one commit.
func transfers(f *fixture) {
	const accounts, clients, moves = 4, 8, 20
	f.inParallel(clients, func(i int) {
		for n := range moves {
			from, to := (i+n)%accounts, (i+n+1)%accounts
			f.mustCommit(port.Commit{Writes: []port.Write{
				update(todos, strconv.Itoa(from), increment("n", -1)),
				update(todos, strconv.Itoa(to), increment("n", 1)),
			}})
		}
	})
	sum := 0
	for i := range accounts {
		var account struct{ N int }
		if err := f.get(todos, strconv.Itoa(i)).Value.Decode(&account); err != nil {
			f.Fatalf("account %d: %v", i, err)
		}
		sum += account.N
	}
	f.same("sum", sum, 0)
}

// mustCommit is commit for goroutines, which must not end the case.
func (f *fixture) mustCommit(commit port.Commit) {
	if _, err := f.Documents.Commit(f.Context(), commit); err != nil {
		f.Errorf("commit: %v", err)
	}
}

// inParallel runs n of the same and waits for them.
func (f *fixture) inParallel(n int, run func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { run(i) })
	}
	all.Wait()
}

func ended(f *fixture) context.Context {
	ctx, cancel := context.WithCancel(f.Context())
	cancel()
	return ctx
}
