package pebblestore

import (
	"context"
	"encoding/binary"

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
	row      string
	old, new document.Value
	version  int64 // the version found; 0: no document
	changed  bool
	followed bool
	faults   []document.Fault
}

// stageCommit first evaluates everything, then stages it, so that a rejected commit leaves nothing.
func (s *Store) stageCommit(g *group, commit *port.Commit) ([]port.Result, error) {
	if err := s.checkCursors(commit.Cursors); err != nil {
		return nil, err
	}
	effects := s.effects[:0]
	defer func() { clear(effects) }()
	for i := range commit.Writes {
		e, err := s.evaluate(i, &commit.Writes[i])
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
func (s *Store) evaluate(index int, w *port.Write) (e effect, err error) {
	s.scratch = appendDocumentKey(s.scratch[:0], w.Collection, w.Key)
	e.row = string(s.scratch)
	e.followed = w.Op != port.Check && s.follow(w.Collection)
	// A set that nobody asks about need not be read.
	if e.followed || !w.NoResult || w.IfVersion != nil || w.Op != port.Set {
		if e.old, e.version, err = s.currentDocument(s.scratch); err != nil {
			return e, err
		}
	}
	if w.IfVersion != nil && *w.IfVersion != e.version {
		return e, &port.ConflictError{Index: index, Version: e.version}
	}
	e.new = e.old
	switch w.Op {
	case port.Set:
		e.new, e.changed = w.Value, true
	case port.Delete:
		e.new, e.changed = nil, e.old != nil
	case port.Update:
		e.new, e.faults, err = document.Apply(e.old, w.Ops)
		e.changed = len(e.faults) < len(w.Ops)
	case port.Check:
	}
	return e, err
}

// currentDocument returns a document as the commits before leave it.
func (s *Store) currentDocument(row []byte) (document.Value, int64, error) {
	if pending, ok := s.pending.get(row); ok {
		return pending.value, pending.version, nil
	}
	stored, err := s.get(row)
	if err != nil {
		return nil, 0, err
	}
	return decodeDocument(stored)
}

// stageWrite puts the effect of a write into the group, with its record.
func (s *Store) stageWrite(g *group, w *port.Write, e *effect, cause port.Cause) port.Result {
	result := port.Result{Version: e.version, Faults: e.faults}
	if !w.NoResult {
		result.Old, result.New = e.old, e.new
	}
	if !e.changed {
		return result
	}
	result.Version = s.nextVersion(g)
	if e.new == nil {
		g.deleteDocument(e.row)
		s.pending.put(e.row, pendingRow{group: g})
	} else {
		g.setDocument(e.row, e.new, result.Version)
		s.pending.put(e.row, pendingRow{group: g, version: result.Version, value: e.new})
	}
	if e.followed {
		s.stageRecord(g, port.Record{Cause: cause, Change: &port.Change{
			Collection: w.Collection,
			Key:        w.Key,
			Old:        e.old,
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

// setDocument puts the row of a document into the batch.
func (g *group) setDocument(row string, value document.Value, version int64) {
	g.sync = true
	op := g.batch.SetDeferred(len(row), 8+len(value))
	copy(op.Key, row)
	binary.BigEndian.PutUint64(op.Value, uint64(version))
	copy(op.Value[8:], value)
	mustStage(op.Finish())
}

func (g *group) deleteDocument(row string) {
	g.sync = true
	op := g.batch.DeleteDeferred(len(row))
	copy(op.Key, row)
	mustStage(op.Finish())
}

// decodeDocument reads the row of a document. Its value shares memory with the row.
func decodeDocument(row []byte) (document.Value, int64, error) {
	switch {
	case row == nil:
		return nil, 0, nil
	case len(row) < 8:
		return nil, 0, errReading(errCorrupt)
	}
	return document.Value(row[8:]), int64(binary.BigEndian.Uint64(row)), nil
}
