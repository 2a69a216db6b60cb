package eddy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"sync"

	"github.com/eddyhq/eddy/shared/errs"
)

// None is the input of a function that takes none, and the output of one that gives none. Its JSON is null.
type None struct{}

// MarshalJSON returns null.
func (None) MarshalJSON() ([]byte, error) { return []byte("null"), nil }

// Register adds a function to the app under an id such as "todos::create". It runs when it is called by that id, and
// for the routes that HTTP gives it. See the package comment for how In is read; Out is written as encoding/json does,
// without escaping HTML, and a nil slice as [].
func Register[In, Out any](app *App, id string, fn func(ctx context.Context, in In) (Out, error), opts ...Option) {
	f := newFunction(app, id, reflect.TypeFor[In](), reflect.TypeFor[Out]())
	if fn == nil {
		f.mistake("the function is nil")
	}
	f.call = func(ctx context.Context, bind binding) (json.RawMessage, error) {
		var in In
		if err := bind(&in); err != nil {
			return nil, err
		}
		out, err := fn(ctx, in)
		if err != nil {
			return nil, err
		}
		return encode(out)
	}
	f.configure(opts)
	for _, route := range f.Routes {
		route.complete()
	}
	f.checkSchedules()
	app.add(f)
	app.later(func() {
		readable := f.checkType("input", f.Input, reading)
		f.checkType("output", f.Output, writing)
		for _, route := range f.Routes {
			if readable && route.valid {
				route.checkParams()
			}
		}
	})
}

// React adds a reaction to the app: fn runs for every change that the trigger lets through, at least once, in order per
// document, and as one transaction. An error means another attempt, up to MaxAttempts, unless it is marked by NoRetry.
func React[T any](
	app *App, id string, fn func(ctx context.Context, c Change[T]) error, trigger Trigger[T], opts ...Option,
) {
	f := newFunction(app, id, reflect.TypeFor[Change[T]](), reflect.TypeFor[None]())
	if fn == nil {
		f.mistake("the function is nil")
	}
	f.react = func(ctx context.Context, d delivered) error {
		c, err := newChange[T](d)
		if err != nil {
			return NoRetry(err)
		}
		return fn(ctx, c)
	}
	f.addTrigger(&trigger.change, reflect.TypeFor[T](), trigger.problems)
	f.configure(opts)
	if len(f.Routes) > 0 {
		f.mistake("a reaction has no HTTP route: register another function for it")
	}
	if f.Queue != nil || len(f.Schedules) > 0 {
		f.mistake("a reaction has neither a queue nor a schedule: register another function for it")
	}
	app.add(f)
}

// newFunction is called by what users call: three frames below them.
func newFunction(app *App, id string, in, out reflect.Type) *Function {
	f := &Function{
		ID:          id,
		Place:       caller(2),
		Memory:      DefaultMemory,
		Timeout:     DefaultTimeout,
		Concurrency: DefaultConcurrency,
		MaxAttempts: DefaultMaxAttempts,

		FirstBackoff: DefaultFirstBackoff,
		MaxBackoff:   DefaultMaxBackoff,

		Input:  in,
		Output: out,
		app:    app,
	}
	f.input = sync.OnceValue(func() *input { return newInput(f.payloadType()) })
	return f
}

func (f *Function) configure(opts []Option) {
	for _, opt := range opts {
		if opt == nil {
			f.mistake("an option is nil")
			continue
		}
		opt(f)
	}
}

func (a *App) add(f *Function) {
	f.checkID()
	if len(f.Routes) > 0 && f.Timeout > maxRouteTimeout {
		f.mistake("Timeout(%s): an HTTP request takes at most %s", f.Timeout, maxRouteTimeout)
	}
	if first, taken := a.functions[f.ID]; taken {
		f.mistake("this id is registered already, at %s", first.Place)
		return
	}
	a.functions[f.ID] = f
}

// encode writes a result. What cannot be written is a fault of the function, not of its caller.
func encode(out any) (json.RawMessage, error) {
	if v := reflect.ValueOf(out); v.Kind() == reflect.Slice && v.IsNil() && !marshals(v.Type()) && !isBytes(v.Type()) {
		return json.RawMessage("[]"), nil
	}
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(out); err != nil {
		return nil, errs.New(errs.Internal, "writing the result: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// mustEncode is encode for what is known to have a JSON form.
func mustEncode(v any) json.RawMessage {
	text, err := encode(v)
	if err != nil {
		panic(err)
	}
	return text
}

// recovered calls fn and returns the panic of it as an error.
func recovered(fn func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	fn()
	return nil
}
