package stack

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
)

// What one event source mapping takes.
const (
	maxFilters = 5
	maxPattern = 4_096 // characters
)

// filters returns the patterns of the records of the documents' stream that somebody listens to: items and events of
// streams, calls, and the scopes that have reactions. A record that matches any of them reaches the router.
//
// A deletion is an update, to a tombstone. What is removed is what has expired, and of that only documents matter: they
// alone have a size. (That is asked in place of the value, as only a leaf of the record can be asked for.)
func filters(app *eddy.App) []string {
	scopes := listenedScopes(app)
	items, events, calls := prefix(port.StreamSpace), prefix(deployed.OutboxEvents), prefix(deployed.OutboxCalls)
	written := selection{names: []string{"INSERT", "MODIFY"}}
	expired := selection{names: []string{"REMOVE"}, old: map[string]any{
		deployed.Size: map[string]any{"N": []any{map[string]bool{"exists": true}}},
	}}
	return append(
		written.patterns([]any{items, events, calls}, scopes, maxFilters-1),
		expired.patterns([]any{items}, scopes, 1)...)
}

func prefix(of string) map[string]string { return map[string]string{"prefix": of} }

// selection is what a filter asks of a record besides its partition.
type selection struct {
	names []string       // of events
	old   map[string]any // of the row before; nil: nothing
}

// patterns returns at most so many patterns of the selected records in partitions, and in those of scopes. Where the names
// of the scopes do not fit into them, every scope is let through, and the router drops what nobody hears.
func (s selection) patterns(partitions []any, scopes []string, most int) (patterns []string) {
	keys := slices.Clone(partitions)
	for _, scope := range scopes {
		with := append(slices.Clone(keys), string(port.Scope(scope)))
		if len(s.pattern(with)) <= maxPattern {
			keys = with
			continue
		}
		patterns = append(patterns, s.pattern(keys))
		keys = []any{string(port.Scope(scope))} // the longest name alone fits
	}
	patterns = append(patterns, s.pattern(keys))
	if len(patterns) > most {
		return []string{s.pattern(append(partitions, prefix(port.StateSpace)))}
	}
	return patterns
}

// pattern is the text of the filter for partitions, of which each is a key or a prefix.
func (s selection) pattern(partitions []any) string {
	row := map[string]any{"Keys": map[string]any{deployed.PK: map[string]any{"S": partitions}}}
	if s.old != nil {
		row["OldImage"] = s.old
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(map[string]any{"eventName": s.names, "dynamodb": row}); err != nil {
		panic(err) // strings and maps of them always have a JSON form
	}
	return string(bytes.TrimSpace(b.Bytes()))
}

// listenedScopes returns the names of the scopes that have a reaction, in their order.
func listenedScopes(app *eddy.App) []string {
	var scopes []string
	for _, f := range app.Functions() {
		for _, t := range f.Changes {
			if t.Scope != "" {
				scopes = append(scopes, t.Scope)
			}
		}
	}
	slices.Sort(scopes)
	return slices.Compact(scopes)
}
