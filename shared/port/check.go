package port

import "github.com/eddyhq/eddy/shared/errs"

// CheckWrites refuses, as invalid_argument, writes that no store can do: a set without a value, an unknown operation, two
// writes of one document, a time to live where there is none.
func CheckWrites(writes []Write) error {
	for i := range writes {
		w := &writes[i]
		switch w.Op {
		case Set:
			if w.Value == nil {
				return errs.New(errs.InvalidArgument, "write %d: a set needs a value", i)
			}
		case Update, Delete, Check:
			if w.TTL != 0 || w.Expires != 0 {
				return errs.New(errs.InvalidArgument, "write %d: only a set says when its document expires", i)
			}
		default:
			return errs.New(errs.InvalidArgument, "write %d: unknown operation %q", i, w.Op)
		}
		if w.TTL < 0 || w.Expires < 0 {
			return errs.New(errs.InvalidArgument, "write %d: a document cannot expire before it is written", i)
		}
	}
	return checkDistinct(writes)
}

func checkDistinct(writes []Write) error {
	if len(writes) < 2 {
		return nil
	}
	type name struct {
		collection Collection
		key        string
	}
	seen := make(map[name]struct{}, len(writes))
	for i := range writes {
		seen[name{writes[i].Collection, writes[i].Key}] = struct{}{}
		if len(seen) == i {
			return errs.New(errs.InvalidArgument, "write %d: the commit names its document twice", i)
		}
	}
	return nil
}

// CheckSize refuses, as too_large, a commit that leaves so many bytes.
func CheckSize(bytes int) error {
	if bytes > MaxCommit {
		return errs.New(errs.TooLarge, "the commit leaves %d bytes, more than the %d it may: divide it", bytes, MaxCommit)
	}
	return nil
}
