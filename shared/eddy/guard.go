package eddy

import (
	"context"
	"fmt"
	"slices"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// guard is the documents as one function may see them: what it has not declared with Uses is permission_denied, and
// whatever it commits carries the cause of its run.
type guard struct {
	documents port.Documents
	function  *Function
	cause     port.Cause
}

func (r *run) guard() guard { return guard{documents: r.Engine, function: r.function, cause: r.Cause} }

// Get implements port.Documents.
func (g guard) Get(ctx context.Context, c port.Collection, key string) (port.Document, error) {
	if err := g.mayRead(c); err != nil {
		return port.Document{}, err
	}
	return g.documents.Get(ctx, c, key)
}

// List implements port.Documents.
func (g guard) List(ctx context.Context, c port.Collection, q port.Query) (port.Page, error) {
	if err := g.mayRead(c); err != nil {
		return port.Page{}, err
	}
	return g.documents.List(ctx, c, q)
}

// Collections implements port.Documents: it leaves out what the function may not read.
func (g guard) Collections(ctx context.Context, prefix string) ([]port.Collection, error) {
	all, err := g.documents.Collections(ctx, prefix)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(all), func(c port.Collection) bool { return g.mayRead(c) != nil }), nil
}

// Commit implements port.Documents.
func (g guard) Commit(ctx context.Context, commit port.Commit) ([]port.Result, error) {
	if err := g.mayCommit(commit); err != nil {
		return nil, err
	}
	commit.Cause = g.cause
	return g.documents.Commit(ctx, commit)
}

func (g guard) mayCommit(commit port.Commit) error {
	for _, w := range commit.Writes {
		may := g.mayWrite
		if w.Op == port.Check {
			may = g.mayRead
		}
		if err := may(w.Collection); err != nil {
			return err
		}
	}
	for _, event := range commit.Events {
		if err := g.mayWrite(event.Group); err != nil {
			return err
		}
	}
	for _, call := range commit.Calls {
		if err := g.mayDeliver(call.Function); err != nil {
			return err
		}
	}
	return nil
}

func (g guard) mayRead(c port.Collection) error {
	if _, declared := g.declared(c); !declared {
		return g.missing(describe(c), "")
	}
	return nil
}

func (g guard) mayWrite(c port.Collection) error {
	switch writable, declared := g.declared(c); {
	case !declared:
		return g.missing(describe(c), "")
	case !writable:
		return g.missing(describe(c), " without ReadOnly")
	}
	return nil
}

func (g guard) mayInvoke(id string) error {
	if !g.function.access.functions[id] {
		return g.missing(fmt.Sprintf("eddy.Invokes(%q)", id), "")
	}
	return nil
}

// mayDeliver asks for a call that nobody waits for: by Void, or by Enqueue.
func (g guard) mayDeliver(id string) error {
	f, registered := g.function.app.Function(id)
	if !registered || f.Queue == nil {
		return g.mayInvoke(id)
	}
	if !g.function.access.queues[f.Queue.Name] && !g.function.access.functions[id] {
		return g.missing(fmt.Sprintf("eddy.Enqueues(%q)", f.Queue.Name), "")
	}
	return nil
}

func (g guard) declared(c port.Collection) (writable, declared bool) {
	if stream, _, ok := c.Group(); ok {
		writable, declared = g.function.access.streams[stream]
	} else if scope, ok := c.Scope(); ok {
		writable, declared = g.function.access.scopes[scope]
	}
	return writable, declared
}

func (g guard) missing(handle, how string) error {
	return errs.New(errs.PermissionDenied,
		"%s uses what it does not declare: add %s%s to the eddy.Uses of its registration", g.function.ID, handle, how)
}

// describe names the handle of a collection as its declaration reads.
func describe(c port.Collection) string {
	if stream, _, ok := c.Group(); ok {
		return fmt.Sprintf("eddy.Stream(%q)", stream)
	}
	scope, _ := c.Scope()
	return fmt.Sprintf("eddy.Scope(%q)", scope)
}
