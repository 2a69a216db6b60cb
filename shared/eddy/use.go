package eddy

// Handle is what Uses takes: a scope, a stream, the ReadOnly of one, Invokes, or Enqueues.
type Handle interface{ use() Use }

// Use is one thing that a function touches. Exactly one of Scope, Stream, Function and Queue is set.
type Use struct {
	Scope    string `json:"scope,omitempty"`
	Stream   string `json:"stream,omitempty"`
	Function string `json:"function,omitempty"`
	Queue    string `json:"queue,omitempty"`
	ReadOnly bool   `json:"read_only,omitempty"`
}

func (u Use) use() Use { return u }

// Invokes is the handle of a function, for Call and Void.
func Invokes(functionID string) Use { return Use{Function: functionID} }

// Enqueues is the handle of a queue, for Enqueue.
func Enqueues(queue string) Use { return Use{Queue: queue} }

// Uses declares what a function touches. It becomes the function's permissions, and is enforced everywhere: undeclared
// access is permission_denied, naming what is missing. What triggers a function need not be declared, unless the
// function itself reads or writes it.
func Uses(handles ...Handle) Option {
	return func(f *Function) {
		for _, h := range handles {
			if h == nil {
				f.mistake("a handle given to eddy.Uses is nil")
				continue
			}
			u := h.use()
			f.checkUse(u)
			f.Uses = append(f.Uses, u)
			f.access.allow(u)
		}
	}
}

// access is the Uses of one function, by name. The value says whether writing is allowed too.
type access struct {
	scopes, streams map[string]bool
	functions       map[string]bool
	queues          map[string]bool
}

func (a *access) allow(u Use) {
	allow := func(names *map[string]bool, name string) {
		if *names == nil {
			*names = make(map[string]bool)
		}
		(*names)[name] = (*names)[name] || !u.ReadOnly
	}
	switch {
	case u.Scope != "":
		allow(&a.scopes, u.Scope)
	case u.Stream != "":
		allow(&a.streams, u.Stream)
	case u.Function != "":
		allow(&a.functions, u.Function)
	case u.Queue != "":
		allow(&a.queues, u.Queue)
	}
}
