package pebblestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"

	"github.com/eddyhq/eddy/shared/errs"
)

// failure remembers the first fault after which the store cannot know what the disk holds. It is Pebble's logger too,
// since that is how Pebble tells of some of them.
type failure struct {
	logger *slog.Logger
	once   sync.Once
	first  error         // set before failed is closed
	failed chan struct{} // closed by the first fault

	opened  atomic.Bool   // whether Pebble is
	closing chan struct{} // closed before Pebble is
}

func newFailure(logger *slog.Logger) *failure {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &failure{logger: logger, failed: make(chan struct{}), closing: make(chan struct{})}
}

// fail makes the store refuse commits from now on.
func (f *failure) fail(err error) {
	f.once.Do(func() {
		f.logger.Error("the store failed and takes no more writes: find out why the disk fails, then restart", "error", err)
		f.first = err
		close(f.failed)
	})
}

// err returns unavailable once the store failed.
func (f *failure) err() error {
	if f.cause() == nil {
		return nil
	}
	return errs.New(errs.Unavailable, "the store failed and takes no writes until it is restarted")
}

// cause returns the first fault; nil while there is none.
func (f *failure) cause() error {
	select {
	case <-f.failed:
		return f.first
	default:
		return nil
	}
}

// guard does something to the disk, unless there was a fault before, and returns none. That a file is there, or is not, is no
// fault.
func (f *failure) guard(do func() error) error {
	select {
	case <-f.failed:
		return nil
	default:
	}
	err := do()
	if err == nil || errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f.fail(err)
	return nil
}

// listener hears of what fails in the background, and of damage wherever it is met. What Pebble could not write in the
// background stays in its log, where the next start finds it.
func (f *failure) listener() *pebble.EventListener {
	return &pebble.EventListener{
		BackgroundError: f.fail,
		DataCorruption: func(info pebble.DataCorruptionInfo) {
			f.fail(fmt.Errorf("%s is damaged: %w", info.Path, info.Details))
		},
		WriteStallBegin: func(info pebble.WriteStallBeginInfo) {
			f.logger.Warn("writes wait for the disk", "reason", info.Reason)
		},
	}
}

// Infof logs what Pebble does, at debug level.
func (f *failure) Infof(format string, args ...any) {
	if f.logger.Enabled(context.Background(), slog.LevelDebug) {
		f.logger.Debug("pebble: " + fmt.Sprintf(format, args...))
	}
}

// Errorf logs a fault that Pebble lives with.
func (f *failure) Errorf(format string, args ...any) {
	f.logger.Error("pebble: " + fmt.Sprintf(format, args...))
}

// Fatalf is called where Pebble cannot go on, and must not return. Ending the process is safe at any moment: the next start
// recovers all that was acknowledged.
func (f *failure) Fatalf(format string, args ...any) {
	err := fmt.Errorf(format, args...)
	f.fail(err)
	panic(err)
}
