package port

import "time"

// ExpiresAt returns what Document.Expires is for a document that is written now and lives for ttl, rounded up to whole
// seconds; 0 for a ttl of 0.
func ExpiresAt(now time.Time, ttl time.Duration) int64 {
	if ttl == 0 {
		return 0
	}
	end := now.Add(ttl)
	seconds := end.Unix()
	if end.Nanosecond() > 0 {
		seconds++
	}
	return seconds
}

// IsExpired reports whether a document with that Expires is no more.
func IsExpired(expires int64, now time.Time) bool { return expires != 0 && now.Unix() >= expires }
