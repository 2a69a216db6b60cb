package dynamo

import (
	"math"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/port"
)

// stamp is what the writes of one commit have in common.
type stamp struct {
	id      string // of the write
	now     int64  // microseconds of the Unix epoch
	expires int64  // of tombstones
	cause   port.Cause
	silent  bool
}

func (s *Store) stamp(cause port.Cause, silent bool) stamp {
	return stamp{id: s.newID(), now: s.now().UnixMicro(), expires: s.expiry(tombstoneLife), cause: cause, silent: silent}
}

// time is when the writes were planned first.
func (st *stamp) time() time.Time { return time.UnixMicro(st.now) }

// next returns the version that a write gives to a row. The one between is that of the expiry, where there is one.
func (st *stamp) next(r *row) int64 {
	switch {
	case r.lapsed:
		return r.version + 2
	case r.exists:
		return r.version + 1
	default:
		return st.now + 1
	}
}

// plan is how one write is done. A blind plan was made without reading: DynamoDB alone looks at what is there. A pinned one
// was made of the row at, and holds only as long as that stays.
type plan struct {
	*expression // nil: there is nothing to ask of DynamoDB

	at      *row
	writes  bool // else it only states a condition
	fast    bool // it changes members of the document where they lie
	creates bool // afterwards there may be a document where there was none

	// These of a pinned plan; of a blind set, new.
	old, new document.Value
	version  int64
	faults   []document.Fault
}

// result returns what a pinned plan does.
func (p *plan) result() port.Result {
	return port.Result{Old: p.old, New: p.new, Version: p.version, Faults: p.faults}
}

// pinned plans a write to a row that was read.
func (st *stamp) pinned(w *port.Write, at *row) (p plan, err error) {
	found := at.documentVersion()
	if w.IfVersion != nil && *w.IfVersion != found {
		return p, &port.ConflictError{Version: found}
	}
	p = plan{at: at, version: found}
	if at.isDocument() {
		if p.old, err = decodeValue(at.value); err != nil {
			return p, err
		}
	}
	p.new = p.old
	switch w.Op {
	case port.Set:
		p.new, p.writes = w.Value, true
	case port.Delete:
		p.new, p.writes = nil, p.old != nil
	case port.Update:
		p.new, p.faults, err = document.Apply(p.old, w.Ops)
		p.writes = len(p.faults) < len(w.Ops)
	case port.Check:
	}
	switch {
	case err != nil:
		return p, err
	case !p.writes:
		p.expression = newExpression()
		if at.lapsed {
			p.requireRow(at)
		} else {
			p.requireVersion(found)
		}
		return p, nil
	case p.new == nil:
		p.expression = st.deletion()
	default:
		p.creates = p.old == nil
		if p.expression, err = st.replacement(p.new, at); err != nil {
			return p, err
		}
		p.expire(w, at.isDocument(), st.time())
	}
	p.requireRow(at)
	p.version = st.next(at)
	return p, nil
}

// blind plans a write without reading; ok is false when that cannot be done. told says that DynamoDB will tell what was
// there before: it does for a single write, not in a transaction.
func (st *stamp) blind(w *port.Write, told bool) (p plan, ok bool, err error) {
	if !told && !w.NoResult {
		return p, false, nil
	}
	switch {
	case w.Op == port.Set:
		p = plan{writes: true, new: w.Value, creates: w.IfVersion == nil || *w.IfVersion == 0}
		if p.expression, err = st.replacement(w.Value, nil); err == nil {
			p.expire(w, false, st.time())
		}
	case w.Op == port.Update && isWhole(w.Ops) && w.IfVersion != nil && *w.IfVersion != 0:
		p = plan{writes: true, new: w.Ops[0].Value}
		p.expression, err = st.replacement(p.new, nil)
	case w.Op == port.Delete && told && (w.IfVersion == nil || *w.IfVersion != 0):
		p = plan{writes: true, expression: st.deletion()}
		p.require("attribute_exists(" + p.name(deployed.Value) + ")")
	case w.Op == port.Update && isFast(w.Ops):
		p = plan{writes: true, fast: true}
		p.expression, err = st.change(w.Ops)
	case w.Op == port.Check && !told:
		if w.IfVersion == nil {
			return p, true, nil
		}
		p.expression = newExpression()
	default:
		return p, false, nil
	}
	if err != nil {
		return p, true, err
	}
	p.require(p.current(st.time()))
	if w.IfVersion != nil {
		p.requireVersion(*w.IfVersion)
	}
	return p, true, nil
}

// isWhole reports whether an update does nothing but give the document another value.
func isWhole(ops []document.Op) bool {
	return len(ops) == 1 && ops[0].Type == document.OpSet && len(ops[0].Path) == 0 && ops[0].Value != nil
}

// expire has the document expire when the write says. An update leaves that as it is, where there was a document.
func (e *expression) expire(w *port.Write, document bool, now time.Time) {
	at := w.ExpiresAt(now)
	switch {
	case at != 0:
		e.set(deployed.Expires, number(at))
	case w.Op == port.Set || !document:
		e.remove(deployed.Expires)
	}
}

// begin returns an update of what every write of a document updates. One of an expired row says which version the expiry was.
func (st *stamp) begin(at *row) *expression {
	e := newExpression()
	now := e.value(number(st.now))
	version := e.name(deployed.Version)
	step := int64(1)
	if at != nil && at.lapsed {
		step = 2
		e.set(lapsedName, number(at.version+1))
	}
	e.sets = append(e.sets,
		version+" = if_not_exists("+version+", "+now+") + "+e.value(number(step)),
		e.name(deployed.Updated)+" = "+now)
	e.set(deployed.WriteID, text(st.id))
	if st.silent {
		e.set(silentName, text(st.id))
	}
	if st.cause.Root == "" {
		e.remove(deployed.Root)
	} else {
		e.set(deployed.Root, text(st.cause.Root))
	}
	if len(st.cause.Chain) == 0 {
		e.remove(deployed.Chain)
		return e
	}
	chain := make([]types.AttributeValue, len(st.cause.Chain))
	for i, function := range st.cause.Chain {
		chain[i] = text(function)
	}
	e.set(deployed.Chain, &types.AttributeValueMemberL{Value: chain})
	return e
}

// replacement gives the row a new value; at is the row when it was read. When the document expires is left as it is.
func (st *stamp) replacement(v document.Value, at *row) (*expression, error) {
	encoded, err := encodeValue(v)
	if err != nil {
		return nil, err
	}
	e := st.begin(at)
	e.set(deployed.Value, encoded)
	e.set(deployed.Size, number(int64(v.Size())))
	created := e.name(deployed.Created)
	if at != nil && at.lapsed {
		e.set(deployed.Created, number(st.now))
	} else {
		e.sets = append(e.sets, created+" = if_not_exists("+created+", "+e.value(number(st.now))+")")
	}
	return e, nil
}

// deletion makes the row a tombstone.
func (st *stamp) deletion() *expression {
	e := st.begin(nil)
	e.set(deployed.Expires, number(st.expires))
	e.remove(deployed.Value, deployed.Size, deployed.Created)
	return e
}

const (
	maxFastOps   = 10
	maxFastValue = 1024 // bytes of a scalar
	maxNumber    = 21   // bytes of a number, as document.Value.Size counts them
)

// isFast reports whether operations have the same effect as an update expression, so that nothing has to be read: adding
// to a number, or setting a scalar, in members of the document.
func isFast(ops []document.Op) bool {
	if len(ops) == 0 || len(ops) > maxFastOps {
		return false
	}
	for i, op := range ops {
		if len(op.Path) != 1 || slices.ContainsFunc(ops[:i], func(o document.Op) bool { return o.Path[0] == op.Path[0] }) {
			return false
		}
		switch op.Type {
		case document.OpIncrement, document.OpDecrement:
		case document.OpSet:
			if len(op.Value) == 0 || len(op.Value) > maxFastValue || op.Value[0] == '{' || op.Value[0] == '[' {
				return false
			}
		default:
			return false
		}
	}
	_, faults, err := document.Apply(nil, ops)
	return err == nil && len(faults) == 0
}

// change is the update expression for operations that are fast. Its conditions hold where it does the same as
// document.Apply: in an object, where integers stay within 64 bits and the document within its size. The size that the row
// tells is an upper bound, which each change raises by the most that it can add; once it is too high, the condition
// fails, and the row is replaced, with its true size.
func (st *stamp) change(ops []document.Op) (*expression, error) {
	e := st.begin(nil)
	e.require("attribute_type(" + e.name(deployed.Value) + ", " + e.value(text("M")) + ")")
	growth := 0
	for i := range ops {
		op := &ops[i]
		member := e.field(op.Path[0])
		growth += len(op.Path[0]) + 1
		if op.Type == document.OpSet {
			v, err := encodeValue(op.Value)
			if err != nil {
				return nil, err
			}
			e.sets = append(e.sets, member+" = "+e.value(v))
			growth += op.Value.Size()
			continue
		}
		sign := " + "
		if op.Type == document.OpDecrement {
			sign = " - "
		}
		e.sets = append(e.sets, member+" = if_not_exists("+member+", "+e.value(number(0))+")"+sign+e.value(number(op.By)))
		lowest, highest := addends(op)
		e.require("(attribute_not_exists(" + member + ") OR " +
			member + " BETWEEN " + e.value(number(lowest)) + " AND " + e.value(number(highest)) + ")")
		growth += maxNumber
	}
	size := e.name(deployed.Size)
	e.sets = append(e.sets, size+" = "+size+" + "+e.value(number(int64(growth))))
	e.require(size + " <= " + e.value(number(int64(document.MaxSize-growth))))
	return e, nil
}

// addends returns the integers from lowest to highest to which op can be applied without leaving the range of 64 bits.
func addends(op *document.Op) (lowest, highest int64) {
	lowest, highest = math.MinInt64, math.MaxInt64
	switch increments := op.Type == document.OpIncrement; {
	case increments && op.By > 0:
		highest -= op.By
	case increments:
		lowest -= op.By
	case op.By > 0:
		lowest += op.By
	default:
		highest += op.By
	}
	return lowest, highest
}
