package conformance

import (
	"strconv"
	"testing"
	"time"
)

// rate checks a route of the proof app that lets one request a second through, and three at once.
func (s *suite) rate(t *testing.T) {
	if !s.Local {
		t.Skip("only of a process on this machine: in the cloud API Gateway counts, and not exactly")
	}
	s.needs(t, "proof::limited")
	const requests, burst = 12, 3
	began := time.Now()
	answers := make([]answer, requests)
	atOnce(t, requests, func(i int) (err error) {
		answers[i], err = s.do(t.Context(), request{method: "GET", path: "/proof/limited"})
		return err
	})
	through, wait := 0, 0
	for _, a := range answers {
		if a.status == 200 {
			through++
			continue
		}
		a.wantError(t, "rate_limited")
		seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
		if err != nil || seconds < 1 {
			t.Errorf("Retry-After is %q, want whole seconds", a.header.Get("Retry-After"))
		}
		wait = max(wait, seconds)
	}
	if most := burst + int(time.Since(began).Seconds()) + 1; through == 0 || through == requests || through > most {
		t.Errorf("%d of %d requests were let through, want some and at most %d", through, requests, most)
	}
	timer := time.NewTimer(time.Duration(wait) * time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
	s.get(t, "/proof/limited").wantJSON(t, 200, `null`)
}
