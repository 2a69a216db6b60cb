package pebblestore

import "sync/atomic"

// Stats are counts since Open, and sizes as they are now.
type Stats struct {
	Commits   int64  // that are durable
	Rejected  int64  // conflicts, stale ones and the like
	Groups    int64  // batches; one sync each, or less where Pebble syncs several at once
	Records   int64  // appended to the log
	LogLength uint64 // records that are not trimmed

	CommittedBytes int64 // of the batches
	WrittenBytes   int64 // to disk: Pebble's log, flushes and compactions
	DiskBytes      int64 // taken now
}

// counts are what the acknowledger counts.
type counts struct {
	commits, rejected, groups, records, bytes atomic.Int64
}

// add counts a settled group.
func (c *counts) add(g *group) {
	rejected := 0
	for _, r := range g.requests {
		if r.err != nil {
			rejected++
		}
	}
	if g.err != nil {
		rejected = len(g.requests)
	}
	c.rejected.Add(int64(rejected))
	c.commits.Add(int64(len(g.requests) - rejected))
	if g.bytes > 0 {
		c.groups.Add(1)
	}
	c.records.Add(int64(len(g.records)))
	c.bytes.Add(g.bytes)
}

// Stats returns the counts and sizes; all zero after Close. It is made for a scrape every few seconds.
func (s *Store) Stats() Stats {
	s.life.RLock()
	defer s.life.RUnlock()
	if s.closed {
		return Stats{}
	}
	stats := Stats{
		Commits:        s.counts.commits.Load(),
		Rejected:       s.counts.rejected.Load(),
		Groups:         s.counts.groups.Load(),
		Records:        s.counts.records.Load(),
		LogLength:      s.Head() - s.trimmed.Load(),
		CommittedBytes: s.counts.bytes.Load(),
	}
	metrics := s.db.Metrics()
	levels := metrics.Total()
	stats.WrittenBytes = int64(metrics.WAL.BytesWritten + levels.TableBytesFlushed + levels.TableBytesCompacted)
	stats.DiskBytes = int64(metrics.DiskSpaceUsage())
	return stats
}
