package port

import "time"

// ExpiresAt returns what Document.Expires is of a document that a Set writes now: the end of its TTL, rounded up to whole
// seconds, or else its Expires.
func (w *Write) ExpiresAt(now time.Time) int64 {
	if w.TTL == 0 {
		return w.Expires
	}
	end := now.Add(w.TTL)
	seconds := end.Unix()
	if end.Nanosecond() > 0 {
		seconds++
	}
	return seconds
}

// IsExpired reports whether a document with that Expires is no more.
func IsExpired(expires int64, now time.Time) bool { return expires != 0 && now.Unix() >= expires }
