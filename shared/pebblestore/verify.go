package pebblestore

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/eddyhq/eddy/shared/errs"
)

// maxBackupPart bounds the key of a row, and its value. No row of a store is anywhere near it.
const maxBackupPart = 64 << 20

var (
	errNoBackup = errors.New("this is no backup of Eddy's, or its beginning is damaged")
	errCutOff   = errors.New("the backup is cut off: it ends before its checksum")
	errDamaged  = errors.New("the backup is damaged: it is not what was written")
)

// VerifyBackup reads a backup to its end. It returns nil when all of it is there as it was written, by no newer version.
func VerifyBackup(ctx context.Context, r io.Reader) error {
	return readBackup(ctx, r, func(_, _ []byte) error { return nil })
}

// readBackup calls do with every row of a backup, which it may use until it returns. That the rows are those which were
// written is known only once readBackup returns nil.
func readBackup(ctx context.Context, r io.Reader, do func(key, value []byte) error) error {
	b := &backupReader{source: bufio.NewReaderSize(r, 64<<10), sum: sha256.New(), taken: make([]byte, 0, 4<<10)}
	if err := b.readName(); err != nil {
		return err
	}
	b.rows = bufio.NewReader(flate.NewReader(b))
	var layout []byte
	for {
		if err := ctx.Err(); err != nil {
			return errs.From(err)
		}
		more, err := b.next()
		if err != nil {
			return err
		}
		if !more {
			break
		}
		key, value := b.key.Bytes(), b.value.Bytes()
		if string(key) == formatRow {
			layout = bytes.Clone(value)
		}
		if err := do(key, value); err != nil {
			return err
		}
	}
	if err := b.readSum(); err != nil {
		return err
	}
	return checkLayout(layout)
}

// checkLayout refuses rows of a newer layout, and such that no store wrote.
func checkLayout(value []byte) error {
	version, err := numbers(value, 1)
	if err != nil || version[0] == 0 {
		return errDamaged
	}
	if version[0] > format {
		return fmt.Errorf("the backup holds format %d, written by a newer Eddy; this one reads up to %d", version[0], format)
	}
	return nil
}

// backupReader takes a backup apart. As a reader it is the source, with what is taken from it in the checksum.
type backupReader struct {
	source *bufio.Reader
	failed error  // what the source failed with, or io.EOF
	taken  []byte // what is not in the checksum yet
	sum    hash.Hash
	rows   *bufio.Reader // what was deflated

	key, value bytes.Buffer // of the row that was read
	last       []byte       // its key
	count      uint64
}

// readName reads the first line.
func (b *backupReader) readName() error {
	line := make([]byte, len(backupName)+2)
	if _, err := io.ReadFull(b, line); err != nil {
		return b.fault()
	}
	name, version, end := string(line[:len(backupName)]), line[len(backupName)], line[len(backupName)+1]
	if name != backupName || version < '1' || version > '9' || end != '\n' {
		return errNoBackup
	}
	if version > backupVersion {
		return fmt.Errorf("the backup has version %c, written by a newer Eddy; this one reads up to %c", version, backupVersion)
	}
	return nil
}

// next reads a row, or what is behind the last one.
func (b *backupReader) next() (more bool, err error) {
	size, err := binary.ReadUvarint(b.rows)
	if err != nil {
		return false, b.fault()
	}
	if size == 0 {
		return false, b.readCount()
	}
	if err := b.readPart(&b.key, size); err != nil {
		return false, err
	}
	if size, err = binary.ReadUvarint(b.rows); err != nil {
		return false, b.fault()
	}
	if bytes.Compare(b.key.Bytes(), b.last) <= 0 { // rows are written in order
		return false, b.fault()
	}
	b.last = append(b.last[:0], b.key.Bytes()...)
	b.count++
	return true, b.readPart(&b.value, size)
}

// readPart reads a key or a value. Its memory grows with what is really there.
func (b *backupReader) readPart(part *bytes.Buffer, size uint64) error {
	if part.Reset(); size > maxBackupPart {
		return errDamaged
	}
	if _, err := io.CopyN(part, b.rows, int64(size)); err != nil {
		return b.fault()
	}
	return nil
}

// readCount reads the number of rows, with which what was deflated ends.
func (b *backupReader) readCount() error {
	if count, err := binary.ReadUvarint(b.rows); err != nil || count != b.count {
		return b.fault()
	}
	if _, err := b.rows.ReadByte(); !errors.Is(err, io.EOF) {
		return b.fault()
	}
	return nil
}

// readSum reads the checksum, with which the backup ends.
func (b *backupReader) readSum() error {
	b.settle()
	want, found := b.sum.Sum(nil), make([]byte, sha256.Size)
	if _, err := io.ReadFull(b, found); err != nil {
		return b.fault()
	}
	if !bytes.Equal(found, want) {
		return errDamaged
	}
	if _, err := b.ReadByte(); !errors.Is(err, io.EOF) {
		return b.fault()
	}
	return nil
}

// fault returns why a part could not be read.
func (b *backupReader) fault() error {
	switch {
	case b.failed == nil:
		return errDamaged
	case errors.Is(b.failed, io.EOF):
		return errCutOff
	default:
		return fmt.Errorf("reading the backup: %w", b.failed)
	}
}

// ReadByte takes a byte from the source. Inflating takes all bytes so, lest it takes any that are behind its end.
func (b *backupReader) ReadByte() (byte, error) {
	next, err := b.source.ReadByte()
	if err != nil {
		b.failed = err
		return 0, err
	}
	if b.taken = append(b.taken, next); len(b.taken) == cap(b.taken) {
		b.settle()
	}
	return next, nil
}

// Read takes bytes from the source.
func (b *backupReader) Read(p []byte) (int, error) {
	n, err := b.source.Read(p)
	b.settle()
	b.sum.Write(p[:n])
	if err != nil {
		b.failed = err
	}
	return n, err
}

// settle adds what was taken byte by byte to the checksum.
func (b *backupReader) settle() {
	b.sum.Write(b.taken)
	b.taken = b.taken[:0]
}
