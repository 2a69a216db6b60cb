package command

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// partial is the end of the name of a file that is not whole yet.
const partial = ".partial"

// writeFile makes the file at path of what write writes: whole and durable, or not at all. It does not replace one unless force.
func writeFile(path string, force bool, write func(file *os.File) error) error {
	if err := mayWrite(path, force); err != nil {
		return err
	}
	file, err := os.OpenFile(path+partial, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	err = write(file)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err == nil {
		err = mayWrite(path, force) // it may have taken long
	}
	if err == nil {
		err = os.Rename(path+partial, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(path+partial))
	}
	return syncDir(filepath.Dir(path))
}

// readFile has read read the file at path.
func readFile(path string, read func(file *os.File) error) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(read(file), file.Close())
}

// mayWrite refuses a path that is taken, unless force.
func mayWrite(path string, force bool) error {
	if _, err := os.Stat(path); err == nil && !force {
		return fmt.Errorf("%s is there already: choose another name, or replace it with -force", path)
	}
	return nil
}

// syncDir makes durable which files a directory has.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// buffered has write write to w in large pieces.
func buffered(w io.Writer, write func(w io.Writer) error) error {
	b := bufio.NewWriterSize(w, 1<<16)
	if err := write(b); err != nil {
		return err
	}
	return b.Flush()
}
