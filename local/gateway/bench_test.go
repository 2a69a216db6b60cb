package gateway

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/eddyhq/eddy/shared/eddy"
)

// silent is a response that nobody reads.
type silent struct{ header http.Header }

func (s silent) Header() http.Header            { return s.header }
func (s silent) Write(text []byte) (int, error) { return len(text), nil }
func (s silent) WriteHeader(int)                {}

// BenchmarkADoor is what a request costs that does nothing, without the network.
func BenchmarkADoor(b *testing.B) {
	type input struct {
		Title string `json:"title"`
	}
	app := eddy.New()
	eddy.Register(app, "test::nothing", func(context.Context, input) (eddy.None, error) { return eddy.None{}, nil },
		eddy.HTTP("POST /nothing"))
	g, err := Open(app, Config{Data: "data", FS: vfs.NewMem(), LogFormat: "text", Log: io.Discard})
	if err != nil {
		b.Fatal(err)
	}
	defer g.Close(context.Background())
	g.logger = slog.New(slog.DiscardHandler)
	for name, path := range map[string]string{"route": "/nothing", "invoke": "/_eddy/invoke/test::nothing"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			body := strings.NewReader(`{"title":"x"}`)
			r := httptest.NewRequestWithContext(b.Context(), "POST", "http://127.0.0.1"+path, body)
			r.Header.Set("Content-Type", "application/json")
			for b.Loop() {
				body.Seek(0, io.SeekStart)
				g.ServeHTTP(silent{http.Header{}}, r)
			}
		})
	}
}
