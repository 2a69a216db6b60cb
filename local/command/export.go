package command

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/eddyhq/eddy/local/remote"
)

// exportFormat is the number in the first line of an export. Another one is refused.
const exportFormat = 1

// The lines around the documents of an export: without the last one it is cut off.
type (
	exportHead struct {
		Eddy   string `json:"eddy"` // "export"
		Format int    `json:"format"`
	}
	exportEnd struct {
		Eddy      string `json:"eddy"` // "end"
		Documents int64  `json:"documents"`
	}
)

const exportAbout = `
The first line is {"eddy":"export","format":1}, the last {"eddy":"end","documents":n}. Each line between them is
a document {"scope","key","value"}, or a stream's item {"stream_name","group_id","item_id","value"}, with its
version and, where it has one, the time of its expiry. Each is one that was there while the export ran.
"-" for FILE is the standard output.`

func exportCommand() Command {
	return Command{
		Name: "export", Arguments: "FILE|-", Summary: "Writes all documents and stream items as JSON lines", about: exportAbout,
		run: func(c *call) error {
			application := c.applicationFlags()
			force := c.flags.Bool("force", false, "replace FILE when it is there")
			return c.ask(application, func(client *remote.Client, path string) error {
				write := func(w io.Writer) error {
					return buffered(w, func(w io.Writer) error { return c.export(client, w) })
				}
				if path == "-" {
					return write(c.Stdout)
				}
				return writeFile(path, *force, func(file *os.File) error { return write(file) })
			})
		},
	}
}

func (c *call) export(client *remote.Client, w io.Writer) error {
	progress := c.progress("documents")
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	if err := lines.Encode(exportHead{"export", exportFormat}); err != nil {
		return err
	}
	for cursor := ""; ; {
		var page struct {
			Documents []json.RawMessage `json:"documents"`
			Cursor    string            `json:"cursor"`
		}
		if err := client.Invoke(c.ctx, "data::export", cursorOf(cursor), &page); err != nil {
			return err
		}
		for _, document := range page.Documents {
			if err := lines.Encode(document); err != nil {
				return err
			}
		}
		progress.add(len(page.Documents))
		if cursor = page.Cursor; cursor == "" {
			break
		}
	}
	progress.end()
	return lines.Encode(exportEnd{"end", progress.count})
}

// cursorOf is the payload that asks for the page at a cursor.
func cursorOf(cursor string) map[string]any {
	if cursor == "" {
		return map[string]any{}
	}
	return map[string]any{"cursor": cursor}
}

const importAbout = `
Documents of the same name are replaced; others stay. Nothing is told of it: no reaction runs and no client sees a
frame, for what the documents led to comes with them. Expired documents are left out. An import that ended early
can be run again. FILE is read through before anything is imported; "-" is the standard input, which is not.`

func importCommand() Command {
	return Command{
		Name: "import", Arguments: "FILE|-", Summary: "Reads what export wrote into an application", about: importAbout,
		run: func(c *call) error {
			return c.ask(c.applicationFlags(), func(client *remote.Client, path string) error {
				if path == "-" {
					return c.importAll(client, c.Stdin)
				}
				return readFile(path, func(file *os.File) error { return c.importFile(client, file) })
			})
		},
	}
}

// importFile imports an export that is whole.
func (c *call) importFile(client *remote.Client, file *os.File) error {
	if err := readExport(file, func(json.RawMessage) error { return nil }); err != nil {
		return fmt.Errorf("%s: %w; nothing was imported", file.Name(), err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return c.importAll(client, file)
}

// The bounds of one call of data::import.
const (
	importDocuments = 25
	importBytes     = 1_000_000 // of the 1 MiB that a request may have
)

// importer sends documents in calls that are as large as they may be.
type importer struct {
	ctx      context.Context //nolint:containedctx // it lives as long as the import
	client   *remote.Client
	progress *progress
	batch    []json.RawMessage
	bytes    int
	expired  int64
}

func (c *call) importAll(client *remote.Client, in io.Reader) error {
	i := &importer{ctx: c.ctx, client: client, progress: c.progress("documents")}
	err := readExport(in, i.add)
	if err == nil {
		err = i.flush()
	}
	i.progress.end()
	if i.expired > 0 {
		fmt.Fprintf(c.Stderr, "%d of them had expired and were left out\n", i.expired)
	}
	return err
}

func (i *importer) add(document json.RawMessage) error {
	if len(i.batch) == importDocuments || i.bytes+len(document) > importBytes {
		if err := i.flush(); err != nil {
			return err
		}
	}
	i.batch, i.bytes = append(i.batch, document), i.bytes+len(document)+1
	return nil
}

func (i *importer) flush() error {
	if len(i.batch) == 0 {
		return nil
	}
	var done struct{ Imported, Expired int64 }
	if err := i.client.Invoke(i.ctx, "data::import", map[string]any{"documents": i.batch}, &done); err != nil {
		return fmt.Errorf("after %d documents: %w", i.progress.count, err)
	}
	i.expired += done.Expired
	i.progress.add(len(i.batch))
	i.batch, i.bytes = nil, 0
	return nil
}

// maxLine is how long a line of an export can be: a document of 400 KB, whose characters may all be escaped.
const maxLine = 4 << 20

var errCutOff = errors.New("the export is cut off: its last line is missing")

// readExport calls each with every document of an export, and fails when it is none, or not whole.
func readExport(r io.Reader, each func(document json.RawMessage) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	var documents int64
	ended := false
	for number := 1; lines.Scan(); number++ {
		line := lines.Bytes()
		var mark *struct { // null leaves it nil
			exportHead
			Documents *int64 `json:"documents"`
		}
		if err := json.Unmarshal(line, &mark); err != nil || mark == nil {
			return fmt.Errorf("line %d is no JSON object: %.40q", number, line)
		}
		switch {
		case ended:
			return fmt.Errorf("line %d comes after the end", number)
		case number == 1:
			if err := mark.check(); err != nil {
				return err
			}
		case mark.Eddy == "end":
			if mark.Documents == nil || *mark.Documents != documents {
				return fmt.Errorf("the export is damaged: it has %d documents, and not as many as its last line says", documents)
			}
			ended = true
		default:
			documents++
			if err := each(bytes.Clone(line)); err != nil {
				return err
			}
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read the export: %w", err)
	}
	if !ended {
		return errCutOff
	}
	return nil
}

func (h exportHead) check() error {
	switch {
	case h.Eddy != "export":
		return errors.New(`this is no export: its first line is not {"eddy":"export","format":1}`)
	case h.Format != exportFormat:
		return fmt.Errorf("the export has the format %d, and this Eddy reads %d", h.Format, exportFormat)
	default:
		return nil
	}
}
