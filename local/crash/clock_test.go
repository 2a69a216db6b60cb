package crash_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/eddyhq/eddy/local/gateway"
)

// asQuickGateway is set in the environment of a process that is to be a gateway with a quick clock: to when that begins.
const asQuickGateway = "EDDY_CRASH_QUICK_GATEWAY"

// quickness is how many seconds pass on a quick clock in one.
const quickness = 60

// quickClock goes faster than time does, from a moment on, in whatever process: so it goes on over a restart.
type quickClock struct{ began time.Time }

// newQuickClock returns a clock that begins now.
func newQuickClock() *quickClock { return &quickClock{began: time.Now().Round(0)} }

func (c *quickClock) now() time.Time { return c.began.Add(time.Since(c.began) * quickness) }

// environment is what start gives to a process that is to go by the clock.
func (c *quickClock) environment() string {
	return asQuickGateway + "=" + strconv.FormatInt(c.began.UnixNano(), 10)
}

// serveQuickly is gateway.Main but for the clock, which no flag moves.
func serveQuickly(began string) error {
	nanos, err := strconv.ParseInt(began, 10, 64)
	if err != nil {
		return err
	}
	clock := quickClock{began: time.Unix(0, nanos)}
	config := gateway.DefaultConfig()
	config.Log, config.Now = os.Stderr, clock.now
	flag.StringVar(&config.HTTP, "http", "", "")
	flag.StringVar(&config.Stream, "stream", "", "")
	flag.StringVar(&config.Data, "data", "", "")
	flag.BoolVar(&config.DuplicateDeliveries, "duplicate-deliveries", false, "")
	flag.Parse()
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	g, err := gateway.Run(app(), config)
	if err != nil {
		return err
	}
	fmt.Printf("  HTTP  %s\n", g.URL())
	<-interrupted.Done()
	draining, cancel := context.WithTimeout(context.Background(), gateway.DrainTime)
	defer cancel()
	return g.Close(draining)
}
