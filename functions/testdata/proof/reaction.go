package proof

import (
	"context"

	"github.com/eddyhq/eddy/shared/eddy"
)

// Watched is what Watch tells of.
type Watched struct {
	Text string `json:"text"`
}

// Seen is every change of one document, in the order they were handled in.
type Seen struct {
	Changes []Change `json:"changes"`
}

// Change is a change as Watch was told of it.
type Change struct {
	Kind    eddy.Kind `json:"kind"`
	Expired bool      `json:"expired"`
	Old     *Watched  `json:"old"`
	New     *Watched  `json:"new"`
	Version int64     `json:"version"`
}

var (
	watched = eddy.Scope[Watched]("proof-watched")
	seen    = eddy.Scope[Seen]("proof-seen")
)

// Watch tells of every change.
func Watch(ctx context.Context, c eddy.Change[Watched]) error {
	told := Change{Kind: c.Kind, Expired: c.Expired, Old: c.Old, New: c.New, Version: c.Version}
	_, err := seen.Update(ctx, c.Key, eddy.Append(told, "changes"))
	return err
}

// Ball goes to and fro between two scopes: each stroke writes it to the other one, until there were as many as it says.
type Ball struct {
	Strokes int64 `json:"strokes"`
	Until   int64 `json:"until"`
}

var (
	pings = eddy.Scope[Ball]("proof-pings")
	pongs = eddy.Scope[Ball]("proof-pongs")
)

// Ping strikes the ball to the other side.
func Ping(ctx context.Context, c eddy.Change[Ball]) error { return strike(ctx, c, pongs) }

// Pong strikes it back.
func Pong(ctx context.Context, c eddy.Change[Ball]) error { return strike(ctx, c, pings) }

func strike(ctx context.Context, c eddy.Change[Ball], to *eddy.ScopeHandle[Ball]) error {
	if c.New == nil || c.New.Strokes >= c.New.Until {
		return nil
	}
	return to.Set(ctx, c.Key, Ball{Strokes: c.New.Strokes + 1, Until: c.New.Until})
}
