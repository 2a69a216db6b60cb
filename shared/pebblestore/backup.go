package pebblestore

import (
	"bufio"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"github.com/eddyhq/eddy/shared/errs"
)

// A backup is a line with the version of its format, the rows of a store, and a checksum of all that:
//
//	eddy backup 1
//	deflated:   of each row the length of its key, the key, the length of its value, the value;
//	            then 0 and the number of rows
//	32 bytes:   the SHA-256 of all bytes before
//
// Lengths and the number are uvarints. The layout of the rows has a version of its own, which is one of them.
const (
	backupName    = "eddy backup "
	backupVersion = '1'
)

// Backup writes all that the store holds at one moment of the call, which is durable, while commits go on. What it wrote is
// a backup only once it returned nil.
//
// It ends with ctx, and with unavailable when the store closes; Close waits for that, so a writer that blocks holds it up.
// Until it ends, the disk keeps what is replaced and deleted meanwhile.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	return s.read(ctx, func() (err error) {
		view := s.db.NewSnapshot()
		defer func() { err = errors.Join(err, view.Close()) }()
		if err := s.waitNewest(ctx); err != nil {
			return err
		}
		b := newBackupWriter(w)
		if err := s.eachRow(ctx, view, b.row); err != nil {
			return err
		}
		return b.finish()
	})
}

// eachRow calls do for every row of a snapshot.
func (s *Store) eachRow(ctx context.Context, view *pebble.Snapshot, do func(key, value []byte) error) (err error) {
	rows, err := view.NewIter(nil)
	if err != nil {
		return errReading(err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for ok := rows.First(); ok; ok = rows.Next() {
		if err := ctx.Err(); err != nil {
			return errs.From(err)
		}
		if s.queue.isClosed() {
			return errClosed()
		}
		value, err := rows.ValueAndErr()
		if err != nil {
			return errReading(err)
		}
		if err := do(rows.Key(), value); err != nil {
			return err
		}
	}
	if err := rows.Error(); err != nil {
		return errReading(err)
	}
	return nil
}

// backupWriter writes a backup. What it writes to keeps its first fault, so that the last step returns it.
type backupWriter struct {
	out    *bufio.Writer
	sum    hash.Hash
	packed *flate.Writer
	count  uint64
	length []byte
}

func newBackupWriter(w io.Writer) *backupWriter {
	b := &backupWriter{out: bufio.NewWriterSize(w, 64<<10), sum: sha256.New()}
	both := io.MultiWriter(b.out, b.sum)
	_, _ = io.WriteString(both, backupName+string(backupVersion)+"\n")
	b.packed, _ = flate.NewWriter(both, flate.BestSpeed) // only a level that does not exist is an error
	return b
}

func (b *backupWriter) row(key, value []byte) error {
	b.count++
	for _, part := range [][]byte{key, value} {
		if err := b.number(uint64(len(part))); err != nil {
			return err
		}
		if _, err := b.packed.Write(part); err != nil {
			return errWritingBackup(err)
		}
	}
	return nil
}

func (b *backupWriter) number(n uint64) error {
	b.length = binary.AppendUvarint(b.length[:0], n)
	if _, err := b.packed.Write(b.length); err != nil {
		return errWritingBackup(err)
	}
	return nil
}

func (b *backupWriter) finish() error {
	if err := errors.Join(b.number(0), b.number(b.count)); err != nil {
		return err
	}
	if err := b.packed.Close(); err != nil {
		return errWritingBackup(err)
	}
	_, _ = b.out.Write(b.sum.Sum(nil))
	if err := b.out.Flush(); err != nil {
		return errWritingBackup(err)
	}
	return nil
}

func errWritingBackup(err error) error { return fmt.Errorf("writing the backup: %w", err) }
