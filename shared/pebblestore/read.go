package pebblestore

import (
	"bytes"
	"context"
	"errors"

	"github.com/cockroachdb/pebble/v2"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// maxPageBytes is how much of values a page holds before it ends.
const maxPageBytes = 4 << 20

// Get returns a document; see port.Documents.
func (s *Store) Get(ctx context.Context, c port.Collection, key string) (document port.Document, err error) {
	document.Key = key
	err = s.read(ctx, func() error {
		row, err := s.getDurable(ctx, documentKey(c, key))
		if err != nil {
			return err
		}
		d, err := decodeDocument(row)
		if err != nil {
			return errReading(err)
		}
		if !s.isExpired(&d) {
			document = d.document(key)
		}
		return nil
	})
	if err != nil {
		return port.Document{}, err
	}
	return document, nil
}

// List returns a page of a collection; see port.Documents. A page ends early when its values are large.
func (s *Store) List(ctx context.Context, c port.Collection, q port.Query) (page port.Page, err error) {
	if q.Limit <= 0 {
		return port.Page{}, errs.New(errs.InvalidArgument, "limit: must be positive")
	}
	err = s.read(ctx, func() error {
		if page, err = s.page(c, q); err != nil {
			return errReading(err)
		}
		return s.waitSeen(ctx, documentKey(c, q.Prefix))
	})
	if err != nil {
		return port.Page{}, err
	}
	return page, nil
}

func (s *Store) page(c port.Collection, q port.Query) (page port.Page, err error) {
	prefix := documentKey(c, q.Prefix)
	start := prefix
	if from := after(documentKey(c, q.After)); q.After != "" && bytes.Compare(from, start) > 0 {
		start = from
	}
	rows, err := s.db.NewIter(&pebble.IterOptions{LowerBound: start, UpperBound: end(prefix)})
	if err != nil {
		return port.Page{}, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	size := 0
	for ok := rows.First(); ok; ok = rows.Next() {
		if n := len(page.Documents); n == q.Limit || size >= maxPageBytes {
			page.More, page.Next = true, page.Documents[n-1].Key
			return page, nil
		}
		document, err := s.readDocument(rows)
		if err != nil {
			return port.Page{}, err
		}
		if !document.Exists() {
			continue
		}
		size += len(document.Value)
		page.Documents = append(page.Documents, document)
	}
	return page, rows.Error()
}

// readDocument returns a copy of the document at an iterator, none when its time is up.
func (s *Store) readDocument(rows *pebble.Iterator) (port.Document, error) {
	row, err := rows.ValueAndErr()
	if err != nil {
		return port.Document{}, err
	}
	d, err := decodeDocument(append(make([]byte, 0, len(row)), row...))
	if err != nil || s.isExpired(&d) {
		return port.Document{}, err
	}
	_, key := splitDocumentKey(rows.Key())
	return d.document(key), nil
}

func (d *stored) document(key string) port.Document {
	return port.Document{Key: key, Value: d.value, Version: d.version, Expires: d.expires}
}

// Collections returns the collections that hold something; see port.Documents. It seeks from one to the next: its cost
// is their number, not that of their documents.
func (s *Store) Collections(ctx context.Context, prefix string) (collections []port.Collection, err error) {
	err = s.read(ctx, func() error {
		first := append([]byte{documentSpace}, prefix...)
		if collections, err = s.collections(first); err != nil {
			return errReading(err)
		}
		return s.waitSeen(ctx, first)
	})
	if err != nil {
		return nil, err
	}
	return collections, nil
}

func (s *Store) collections(first []byte) (collections []port.Collection, err error) {
	rows, err := s.db.NewIter(&pebble.IterOptions{LowerBound: first, UpperBound: end(first)})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for ok := rows.First(); ok; {
		document, err := s.readDocument(rows)
		if err != nil {
			return nil, err
		}
		if !document.Exists() {
			ok = rows.Next()
			continue
		}
		c, _ := splitDocumentKey(rows.Key())
		collections = append(collections, c)
		ok = rows.SeekGE(end(documentKey(c, "")))
	}
	return collections, rows.Error()
}

// Snapshot returns all documents of a collection, in order of their keys, or only the one at key when key is not "",
// and the position of the log that they reflect: the changes of the collection at or below the position are in, none
// above is. All of it is durable.
func (s *Store) Snapshot(ctx context.Context, c port.Collection, key string) (
	documents []port.Document, position uint64, err error,
) {
	err = s.read(ctx, func() error {
		if documents, position, err = s.snapshot(c, key); err != nil {
			return errReading(err)
		}
		return s.waitNewest(ctx)
	})
	if err != nil {
		return nil, 0, err
	}
	return documents, position, nil
}

func (s *Store) snapshot(c port.Collection, key string) (documents []port.Document, position uint64, err error) {
	view := s.db.NewSnapshot()
	defer func() { err = errors.Join(err, view.Close()) }()
	if position, err = clockPosition(view); err != nil {
		return nil, 0, err
	}
	first := documentKey(c, key)
	bounds := &pebble.IterOptions{LowerBound: first, UpperBound: after(bytes.Clone(first))}
	if key == "" {
		bounds.UpperBound = end(first)
	}
	rows, err := view.NewIter(bounds)
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for ok := rows.First(); ok; ok = rows.Next() {
		document, err := s.readDocument(rows)
		if err != nil {
			return nil, 0, err
		}
		if document.Exists() {
			documents = append(documents, document)
		}
	}
	return documents, position, rows.Error()
}

// clockPosition returns the position of the last record in a snapshot: each batch with records stores it.
func clockPosition(view *pebble.Snapshot) (position uint64, err error) {
	row, closer, err := view.Get([]byte(clockRow))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	clock, err := numbers(row, 2)
	if err != nil {
		return 0, err
	}
	return clock[1], nil
}
