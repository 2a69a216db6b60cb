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
// A deletion is an update, to a tombstone. What the TTL removes is a document that expired, or nothing new. Where the
// names of the scopes do not fit into the patterns, every scope is let through, and the router drops what nobody hears.
func filters(app *eddy.App) []string {
	base := []any{prefix(port.StreamSpace), prefix(deployed.OutboxEvents), prefix(deployed.OutboxCalls)}
	var patterns []string
	keys := slices.Clone(base)
	for _, scope := range listenedScopes(app) {
		with := append(slices.Clone(keys), string(port.Scope(scope)))
		if len(pattern(with)) <= maxPattern {
			keys = with
			continue
		}
		patterns = append(patterns, pattern(keys))
		keys = []any{string(port.Scope(scope))} // the longest name alone fits
	}
	patterns = append(patterns, pattern(keys))
	if len(patterns) > maxFilters {
		return []string{pattern(append(base, prefix(port.StateSpace)))}
	}
	return patterns
}

func prefix(of string) map[string]string { return map[string]string{"prefix": of} }

// pattern is the text of a filter for puts, updates and removals in partitions, of which each is a key or a prefix.
func pattern(partitions []any) string {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(map[string]any{
		"eventName": []string{"INSERT", "MODIFY", "REMOVE"},
		"dynamodb":  map[string]any{"Keys": map[string]any{deployed.PK: map[string]any{"S": partitions}}},
	})
	if err != nil {
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
