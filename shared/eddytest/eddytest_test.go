package eddytest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/eddytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type mail struct {
	To string `json:"to"`
}

type post struct {
	Sent   int64 `json:"sent,omitempty"`
	Ticks  int64 `json:"ticks,omitempty"`
	Missed int64 `json:"missed,omitempty"`
	Gone   int64 `json:"gone,omitempty"`
}

// office is an app in which everything happens later.
func office() *eddy.App {
	app := eddy.New()
	mails, posts := eddy.Scope[mail]("mails"), eddy.Scope[post]("posts")
	eddy.Register(app, "office::send", func(ctx context.Context, in mail) (eddy.None, error) {
		return eddy.None{}, posts.Increment(ctx, in.To, "sent", 1)
	}, eddy.Queue("mails", eddy.Delay(time.Minute)), eddy.Uses(posts))
	eddy.Register(app, "office::count", func(ctx context.Context, in eddy.Tick) (eddy.None, error) {
		_, err := posts.Update(ctx, "all", eddy.Increment("ticks", 1), eddy.Increment("missed", in.Missed))
		return eddy.None{}, err
	}, eddy.Every(time.Hour), eddy.Uses(posts))
	eddy.React(app, "office::forget", func(ctx context.Context, c eddy.Change[mail]) error {
		if !c.Expired {
			return nil
		}
		return posts.Increment(ctx, c.Key, "gone", 1)
	}, mails.Changes(), eddy.Uses(posts))
	return app
}

func TestTimePassesByAdvanceAlone(t *testing.T) {
	t.Parallel()
	app := eddytest.New(t, office())
	eddytest.Call[any](app, "state::set", map[string]any{
		"scope": "mails", "key": "ada", "value": mail{"ada"}, "ttl_seconds": 3600,
	})
	app.Enqueue("mails", mail{"ada"})
	app.Settle()
	if got := app.Get("posts", "ada"); got != "" {
		t.Errorf("before its time there is %s", got)
	}
	app.Advance(time.Minute)
	app.Settle()
	if got := app.Get("posts", "ada"); got != `{"sent":1}` {
		t.Errorf("after a minute there is %s, want the message to be handled", got)
	}
	app.Advance(3 * time.Hour)
	if got := app.Get("mails", "ada"); got != "" {
		t.Errorf("past its time the document is %s", got)
	}
	app.Settle()
	if got := app.Get("posts", "ada"); got != `{"gone":1,"sent":1}` {
		t.Errorf("after three hours there is %s, want the document to have expired", got)
	}
	var all post
	if err := json.Unmarshal([]byte(app.Get("posts", "all")), &all); err != nil {
		t.Fatal(err)
	}
	// It is for the machine's clock to say whether a full hour has been passed beside these three.
	if due := all.Ticks + all.Missed; all.Ticks < 1 || due < 3 || due > 4 {
		t.Errorf("after three hours there were %d ticks that count %d as missed", all.Ticks, all.Missed)
	}
}

// recorder is a testing.TB whose failures are noted; a method that fails the test ends the goroutine.
type recorder struct {
	testing.TB
	failure string
}

func (r *recorder) Helper() {}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failure = fmt.Sprintf(format, args...)
	panic(r)
}

func TestAMistakeFailsTheTest(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		do   func(*eddytest.App)
	}{
		{"a queue that does not exist", func(a *eddytest.App) { a.Enqueue("letters", mail{"ada"}) }},
		{"a message that is no JSON", func(a *eddytest.App) { a.Enqueue("mails", make(chan int)) }},
		{"a clock that is to go back", func(a *eddytest.App) { a.Advance(-time.Second) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := &recorder{TB: t}
			app := eddytest.New(r, office())
			func() {
				defer func() { _ = recover() }()
				test.do(app)
			}()
			if r.failure == "" {
				t.Error("it is taken")
			}
		})
	}
}
