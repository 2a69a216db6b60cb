package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/eddyhq/eddy/local/remote"
	"github.com/eddyhq/eddy/shared/pebblestore"
)

const defaultData = ".eddy"

const backupAbout = `
A gateway that runs goes on serving while it is backed up; the backup is its data at one moment, all that it owes
to reactions, queues and schedules included. Where none runs the data directory itself is read. FILE appears when
it is whole, on disk, and was read again.`

func backupCommand() Command {
	return Command{
		Name: "backup", Arguments: "FILE", Summary: "Writes all that a gateway keeps into a file", about: backupAbout,
		run: func(c *call) error {
			application := c.applicationFlags()
			data := c.flags.String("data", defaultData,
				"`directory` of the data, read when no gateway answers; given without -url, nothing else is; or EDDY_DATA")
			force := c.flags.Bool("force", false, "replace FILE when it is there")
			return c.ask(application, func(client *remote.Client, path string) error {
				b := backup{call: c, client: client, data: c.orEnvironment("data", *data, "EDDY_DATA")}
				b.onlyData = c.given("data") && !c.given("url")
				b.onlyURL = c.given("url") || c.Getenv("EDDY_URL") != ""
				return writeFile(path, *force, b.into)
			})
		},
	}
}

// backup is one run of the command.
type backup struct {
	*call
	client            *remote.Client
	data              string
	onlyData, onlyURL bool
}

// into writes the backup into a file and verifies it.
func (b backup) into(file *os.File) error {
	progress := b.progress("bytes")
	if err := b.write(io.MultiWriter(file, progress)); err != nil {
		return err
	}
	progress.end()
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return pebblestore.VerifyBackup(b.ctx, file)
}

func (b backup) write(w io.Writer) error {
	if b.onlyData {
		return b.fromDirectory(w)
	}
	body, err := b.client.Get(b.ctx, "/_eddy/backup")
	switch {
	case err == nil:
		defer body.Close()
		_, err = io.Copy(w, body)
		return err
	case remote.IsNobody(err) && !b.onlyURL:
		return b.fromDirectory(w)
	default:
		return err
	}
}

func (b backup) fromDirectory(w io.Writer) error {
	if _, err := os.Stat(b.data); err != nil {
		return fmt.Errorf("nothing answers at %s, and there is no data to read: %w", b.client.URL, err)
	}
	return backupDirectory(b.ctx, b.data, w)
}

// backupDirectory backs up the data of a gateway that does not run.
func backupDirectory(ctx context.Context, dir string, w io.Writer) (err error) {
	store, err := pebblestore.Open(dir, pebblestore.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	return store.Backup(ctx, w)
}

const restoreAbout = `
The directory must not exist, or be empty. All of the backup is checked before a gateway can open it, and then that
goes on where the other one was: with the reactions, messages and ticks that it still owed at that time.`

func restoreCommand() Command {
	return Command{
		Name: "restore", Arguments: "FILE", Summary: "Makes a data directory of what backup wrote", about: restoreAbout,
		run: func(c *call) error {
			data := c.flags.String("data", defaultData, "`directory` to make; or EDDY_DATA")
			arguments, err := c.parse(1)
			if err != nil {
				return err
			}
			dir := c.orEnvironment("data", *data, "EDDY_DATA")
			progress := c.progress("bytes")
			err = readFile(arguments[0], func(file *os.File) error {
				return pebblestore.Restore(c.ctx, io.TeeReader(file, progress), dir, nil)
			})
			if err != nil {
				return err
			}
			progress.end()
			fmt.Fprintf(c.Stdout, "%s is restored; serve it with: go run ./local -data %s\n", dir, dir)
			return nil
		},
	}
}
