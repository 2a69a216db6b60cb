package main

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// The load beside the creates: writes into a scope that has a troublesome reaction, so many a second by so many clients. It is
// small beside what the machine can do, so that what the creates lose is lost to the trouble and not to the load.
const (
	besidePace    = 100
	besideClients = 8
	importedAt    = 25 // documents in one data::import
)

// neighbour is what goes on beside the creates of the todo app.
type neighbour struct {
	what     string
	reaction string // of appBeside
	begin    func(*bench, *server) (end func() error, err error)
}

func neighbours(b *bench) []neighbour {
	const each, one = placeholder, "hot"
	return []neighbour{
		{"a reaction that always fails", "fails", writesBeside(each)},
		{"a reaction that hangs until its timeout", "hangs", writesBeside(each)},
		{"a reaction that panics", "panics", writesBeside(each)},
		{"a scope with one hot document", "counts", writesBeside(one)},
		{fmt.Sprintf("%d documents in the scope", b.documents), "", importsBefore},
	}
}

// measureIsolation measures creates with their reactions beside what must not slow them down; the baseline is the same
// gateway with nothing beside them.
func measureIsolation(ctx context.Context, b *bench) ([]row, error) {
	all := neighbours(b)
	sides := []round{func() (figures, error) { return b.createFor(ctx, b.beside(""), nothingBeside) }}
	for _, n := range all {
		sides = append(sides, func() (figures, error) {
			return b.createFor(ctx, b.beside(n.reaction), func(s *server) (func() error, error) { return n.begin(b, s) })
		})
	}
	found, err := b.interleave(ctx, sides...)
	if err != nil {
		return nil, err
	}
	alone := found[0]
	var rows []row
	for i, n := range all {
		with := found[i+1]
		rows = append(rows,
			row{what: "creates with their reactions beside " + n.what + ", creates/s",
				gateway: with.get("rate"), baseline: alone.get("rate"), target: ratioAtLeast(0.8)},
			row{what: "  reactions' lag, median, ms", gateway: with.get("delay"), baseline: alone.get("delay")},
			row{what: "  memory grown meanwhile, MiB", gateway: with.get("grown"), baseline: alone.get("grown")})
	}
	return rows, nil
}

// writesBeside begins writes at a pace, of the key or, where it is the placeholder, of a new one each.
func writesBeside(key string) func(*bench, *server) (func() error, error) {
	return func(_ *bench, s *server) (func() error, error) {
		value := `{"client":"` + clientPlaceholder + `","number":"` + strings.Replace(placeholder, key, "", 1) + `"}`
		body := `{"scope":"bench-beside","key":"` + key + `","value":` + value + `}`
		ticker := time.NewTicker(time.Second / besidePace)
		ended := make(chan struct{})
		l, err := startLoad(s.addr, besideClients, newTemplate(s.addr, "/_eddy/invoke/state::set", body), func() bool {
			select {
			case <-ticker.C:
				return true
			case <-ended:
				return false
			}
		})
		return func() error {
			ticker.Stop()
			close(ended)
			return l.stop()
		}, err
	}
}

// importsBefore has todos in the scope before the first create. They are told to nobody, so nothing counts them.
func importsBefore(b *bench, s *server) (func() error, error) {
	todos := make([]string, importedAt)
	for i := range todos {
		todos[i] = fmt.Sprintf(`{"scope":"todos","key":"imported-%s-%d","value":{"id":"imported","title":"imported",`+
			`"completed":false,"created_at":"2026-01-02T03:04:05Z"}}`, "%s", i)
	}
	c, err := dialHTTP(s.addr)
	if err != nil {
		return nil, err
	}
	defer c.close()
	documents := `{"documents":[` + strings.Join(todos, ",") + `]}`
	for n := range b.documents / importedAt {
		body := strings.ReplaceAll(documents, "%s", fmt.Sprint(n))
		if _, err := c.post("/_eddy/invoke/data::import", body); err != nil {
			return nil, fmt.Errorf("import: %w", err)
		}
	}
	return nothingBeside(s)
}
