package eddy

import (
	"encoding/json"
	"time"
)

// description is how Describe shows a function.
type description struct {
	ID           string               `json:"id"`
	Triggers     []triggerDescription `json:"triggers"`
	Options      optionsDescription   `json:"options"`
	Uses         []Use                `json:"uses"`
	InputSchema  json.RawMessage      `json:"input_schema"`
	OutputSchema json.RawMessage      `json:"output_schema"`
}

type triggerDescription struct {
	Type   string `json:"type"` // "http", "state", "stream", "queue" or "cron"
	Method string `json:"method,omitempty"`
	Path   string `json:"path,omitempty"`
	Status int    `json:"status,omitempty"`
	Scope  string `json:"scope,omitempty"`
	Stream string `json:"stream_name,omitempty"`

	Rate  int `json:"rate,omitempty"` // requests per second
	Burst int `json:"burst,omitempty"`

	Queue string `json:"queue,omitempty"`
	FIFO  string `json:"fifo,omitempty"` // the member by which messages are in order
	Delay int64  `json:"delay_ms,omitempty"`

	Schedule string `json:"schedule,omitempty"`
}

type optionsDescription struct {
	Memory      int   `json:"memory_mb"`
	Timeout     int64 `json:"timeout_ms"`
	Concurrency int   `json:"concurrency"`
	MaxAttempts int   `json:"max_attempts"`

	FirstBackoff int64 `json:"first_backoff_ms"`
	MaxBackoff   int64 `json:"max_backoff_ms"`
}

// Describe returns every function of a valid app with its triggers, options, uses and schemas, as a JSON array in the
// order of the ids: the body of GET /_eddy/functions.
func Describe(app *App) json.RawMessage {
	all := []description{}
	for _, f := range app.Functions() {
		all = append(all, f.describe())
	}
	return mustEncode(all)
}

func (f *Function) describe() description {
	d := description{
		ID:       f.ID,
		Triggers: []triggerDescription{},
		Options: optionsDescription{
			Memory:      f.Memory,
			Timeout:     int64(f.Timeout / time.Millisecond),
			Concurrency: f.Concurrency,
			MaxAttempts: f.MaxAttempts,

			FirstBackoff: int64(f.FirstBackoff / time.Millisecond),
			MaxBackoff:   int64(f.MaxBackoff / time.Millisecond),
		},
		Uses:         append([]Use{}, f.Uses...),
		InputSchema:  f.InputSchema(),
		OutputSchema: f.OutputSchema(),
	}
	for _, r := range f.Routes {
		d.Triggers = append(d.Triggers,
			triggerDescription{Type: "http", Method: r.Method, Path: r.Path, Status: r.Status, Rate: r.Rate, Burst: r.Burst})
	}
	for _, t := range f.Changes {
		kind := "state"
		if t.Stream != "" {
			kind = "stream"
		}
		d.Triggers = append(d.Triggers, triggerDescription{Type: kind, Scope: t.Scope, Stream: t.Stream})
	}
	if q := f.Queue; q != nil {
		d.Triggers = append(d.Triggers,
			triggerDescription{Type: "queue", Queue: q.Name, FIFO: q.Group, Delay: int64(q.Delay / time.Millisecond)})
	}
	for _, s := range f.Schedules {
		d.Triggers = append(d.Triggers, triggerDescription{Type: "cron", Schedule: s.Expression})
	}
	return d
}
