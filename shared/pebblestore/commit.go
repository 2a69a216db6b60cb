package pebblestore

import (
	"context"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

// Commit does all of the commit or nothing of it; see port.Documents. What it did is in the log in this order: the
// changes in the order of the writes, the events, the calls.
func (s *Store) Commit(ctx context.Context, commit port.Commit) ([]port.Result, error) {
	if err := port.CheckWrites(commit.Writes); err != nil {
		return nil, err
	}
	var results []port.Result
	err := s.do(ctx, func(g *group) (err error) {
		results, err = s.stageCommit(g, &commit)
		return err
	})
	if err != nil {
		return nil, err
	}
	return results, nil
}

// effect is what a write of a commit would do.
type effect struct {
	row     string
	old     stored // what was found; nothing when its time is up
	lapsed  stored // what was found, if its time is up
	new     document.Value
	expires int64 // of new
	changed bool
	told    bool // whether the change is a record
	faults  []document.Fault
}

// stageCommit first evaluates everything, then stages it, so that a rejected commit leaves nothing.
func (s *Store) stageCommit(g *group, commit *port.Commit) ([]port.Result, error) {
	if err := s.checkCursors(commit.Cursors); err != nil {
		return nil, err
	}
	effects := s.effects[:0]
	defer func() { clear(effects) }()
	for i := range commit.Writes {
		e, err := s.evaluate(i, &commit.Writes[i], commit.Silent)
		if err != nil {
			return nil, err
		}
		effects = append(effects, e)
	}
	s.effects = effects
	if err := checkSize(effects); err != nil {
		return nil, err
	}
	results := make([]port.Result, len(commit.Writes))
	for i := range commit.Writes {
		results[i] = s.stageWrite(g, &commit.Writes[i], &effects[i], commit.Cause)
	}
	s.stageMessages(g, commit)
	for _, cursor := range commit.Cursors {
		s.stageCursor(g, cursor)
	}
	for i := range commit.Failed {
		s.stageLetter(g, &commit.Failed[i])
	}
	return results, nil
}

// checkSize refuses a commit that leaves more than one may. A value counts less than twice the length of its text, so most
// commits need not be counted.
func checkSize(effects []effect) error {
	length, size := 0, 0
	for i := range effects {
		length += len(effects[i].new)
	}
	if length <= port.MaxCommit/2 {
		return nil
	}
	for i := range effects {
		if effects[i].changed {
			size += effects[i].new.Size()
		}
	}
	return port.CheckSize(size)
}

// evaluate returns what a write would do, or why it cannot.
func (s *Store) evaluate(index int, w *port.Write, silent bool) (e effect, err error) {
	s.scratch = appendDocumentKey(s.scratch[:0], w.Collection, w.Key)
	e.row = string(s.scratch)
	followed := w.Op != port.Check && s.follows(w.Collection)
	e.told = followed && !silent
	// A set that nobody asks about need not be read.
	if followed || !w.NoResult || w.IfVersion != nil || w.Op != port.Set {
		if e.old, err = s.currentDocument(s.scratch); err != nil {
			return e, err
		}
		if s.isExpired(&e.old) {
			e.old, e.lapsed = stored{}, e.old
		}
	}
	if w.IfVersion != nil && *w.IfVersion != e.old.version {
		return e, &port.ConflictError{Index: index, Version: e.old.version}
	}
	e.new, e.expires = e.old.value, e.old.expires
	switch w.Op {
	case port.Set:
		e.new, e.expires, e.changed = w.Value, w.ExpiresAt(s.now()), true
	case port.Delete:
		e.new, e.changed = nil, e.old.value != nil
	case port.Update:
		e.new, e.faults, err = document.Apply(e.old.value, w.Ops)
		e.changed = len(e.faults) < len(w.Ops)
	case port.Check:
	}
	return e, err
}

// follows reports whether changes of a collection are told.
func (s *Store) follows(c port.Collection) bool { return !c.IsOwn() && s.follow(c) }

// currentDocument returns a document as the commits before leave it.
func (s *Store) currentDocument(row []byte) (stored, error) {
	if pending, ok := s.pending.get(row); ok {
		return stored{pending.value, pending.version, pending.expires}, nil
	}
	value, err := s.get(row)
	if err != nil {
		return stored{}, err
	}
	d, err := decodeDocument(value)
	if err != nil {
		return stored{}, errReading(err)
	}
	return d, nil
}

// stageWrite puts the effect of a write into the group, with its record.
func (s *Store) stageWrite(g *group, w *port.Write, e *effect, cause port.Cause) port.Result {
	result := port.Result{Version: e.old.version, Faults: e.faults}
	if !w.NoResult {
		result.Old, result.New = e.old.value, e.new
	}
	if !e.changed {
		return result
	}
	if e.lapsed.value != nil {
		s.stageExpiry(g, e.row, &e.lapsed)
	}
	result.Version = s.nextVersion(g)
	if e.new == nil {
		s.stageRemoval(g, e.row, e.old.expires)
	} else {
		s.stageDocument(g, e.row, stored{e.new, result.Version, e.expires}, e.old.expires)
	}
	if e.told {
		s.stageRecord(g, port.Record{Cause: cause, Change: &port.Change{
			Collection: w.Collection,
			Key:        w.Key,
			Old:        e.old.value,
			New:        e.new,
			Version:    result.Version,
		}})
	}
	return result
}

// stageMessages puts the events and calls of a commit into the log.
func (s *Store) stageMessages(g *group, commit *port.Commit) {
	for i := range commit.Events {
		s.stageRecord(g, port.Record{Cause: commit.Cause, Event: &commit.Events[i]})
	}
	for i := range commit.Calls {
		call := &commit.Calls[i]
		s.stageRecord(g, port.Record{Cause: commit.Cause, Target: call.Function, Call: call})
	}
}

// stageRecord gives a record the next position of the log.
func (s *Store) stageRecord(g *group, r port.Record) {
	g.clock.position++
	r.Position = g.clock.position
	s.scratch = appendRecord(s.scratch[:0], &r)
	g.set(logKey(r.Position), s.scratch)
	g.records = append(g.records, r)
}

// nextVersion returns a version above all that were given before.
func (s *Store) nextVersion(g *group) int64 {
	g.clock.version = max(s.now().UnixMicro(), g.clock.version+1)
	return g.clock.version
}

// stageDocument puts a document into the group in the place of one that was to expire at before; 0: never.
func (s *Store) stageDocument(g *group, row string, d stored, before int64) {
	g.setDocument(row, d)
	s.pending.put(row, pendingRow{group: g, version: d.version, value: d.value, expires: d.expires})
	if before != 0 && before != d.expires {
		g.delete(expiryKey(before, row))
	}
	if d.expires != 0 {
		expiry := expiryKey(d.expires, row)
		g.set(expiry, nil)
		s.expiries.lower(expiry)
	}
}

// stageRemoval removes a document, which was to expire at before, with the group.
func (s *Store) stageRemoval(g *group, row string, before int64) {
	g.deleteDocument(row)
	s.pending.put(row, pendingRow{group: g})
	if before != 0 {
		g.delete(expiryKey(before, row))
	}
}

// setDocument puts the row of a document into the batch.
func (g *group) setDocument(row string, d stored) {
	g.sync = true
	head := appendDocumentHead(make([]byte, 0, 16), d)
	op := g.batch.SetDeferred(len(row), len(head)+len(d.value))
	copy(op.Key, row)
	copy(op.Value[copy(op.Value, head):], d.value)
	mustStage(op.Finish())
}

func (g *group) deleteDocument(row string) {
	g.sync = true
	op := g.batch.DeleteDeferred(len(row))
	copy(op.Key, row)
	mustStage(op.Finish())
}
