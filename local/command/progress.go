package command

import (
	"fmt"
	"io"
	"os"
	"time"
)

// progress tells on one line how far long work is.
type progress struct {
	out     io.Writer
	now     func() time.Time
	what    string // "documents"
	live    bool   // out is a terminal, where a line can be written over
	started time.Time
	told    time.Time
	count   int64
}

// interval is how often the line is written anew.
const interval = 500 * time.Millisecond

func (c *call) progress(what string) *progress {
	p := &progress{out: c.Stderr, now: c.Now, what: what, started: c.Now()}
	if file, ok := c.Stderr.(*os.File); ok {
		info, err := file.Stat()
		p.live = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

// add counts what was done since the last time.
func (p *progress) add(n int) {
	p.count += int64(n)
	if now := p.now(); p.live && now.Sub(p.told) >= interval {
		p.told = now
		fmt.Fprintf(p.out, "\r%s", p.line())
	}
}

// Write implements io.Writer: the count is of bytes.
func (p *progress) Write(text []byte) (int, error) {
	p.add(len(text))
	return len(text), nil
}

// end writes the line for the last time.
func (p *progress) end() {
	if p.live {
		fmt.Fprint(p.out, "\r")
	}
	fmt.Fprintln(p.out, p.line())
}

func (p *progress) line() string {
	rate := float64(p.count) / max(p.now().Sub(p.started).Seconds(), 0.001)
	return fmt.Sprintf("%d %s, %.0f a second", p.count, p.what, rate)
}
