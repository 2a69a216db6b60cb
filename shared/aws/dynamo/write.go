package dynamo

import (
	"context"
	"errors"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// Races for a document are run so often, with waits below the ceiling. Each time, somebody else has won.
const (
	maxRaces    = 64
	raceCeiling = 100 * time.Millisecond
)

// solo is a commit of one write on its way.
type solo struct {
	*Store
	stamp
	write *port.Write

	at      *row // what is known of the row; nil: nothing
	general bool // no blind plan will do
	lost    bool // a request was sent of which nobody knows whether it was done
}

// commitWrite commits one write.
func (s *Store) commitWrite(ctx context.Context, w *port.Write, cause port.Cause, silent bool) (port.Result, error) {
	o := solo{Store: s, stamp: s.stamp(cause, silent), write: w}
	for try := range maxRaces {
		p, err := o.plan(ctx)
		if err != nil {
			return port.Result{}, o.planned(ctx, err)
		}
		if !p.writes {
			return p.result(), nil
		}
		if p.creates {
			if err := s.enter(ctx, w.Collection); err != nil {
				return port.Result{}, err
			}
		}
		result, done, err := o.send(ctx, &p)
		if done || err != nil {
			return result, err
		}
		if p.at == nil {
			continue // that was no race: the blind plan did not fit what is there
		}
		if err := pauseBelow(ctx, try, raceCeiling); err != nil {
			return port.Result{}, err
		}
	}
	return port.Result{}, errTooOften()
}

// plan returns the next plan, which may need a read.
func (o *solo) plan(ctx context.Context) (plan, error) {
	if o.at == nil && !o.general {
		if p, ok, err := o.blind(o.write, true); ok || err != nil {
			return p, err
		}
	}
	if o.at == nil {
		found, err := o.getRow(ctx, o.write.Collection, o.write.Key)
		if err != nil {
			return plan{}, err
		}
		o.at = &found
	}
	return o.pinned(o.write, o.at)
}

// send does a plan. When it is not done and there is no error, the next plan has to be made of what is known by now.
func (o *solo) send(ctx context.Context, p *plan) (result port.Result, done bool, err error) {
	const operation = "UpdateItem"
	var out *dynamodb.UpdateItemOutput
	request := p.request(o.documents, key(string(o.write.Collection), o.write.Key))
	err = o.do(ctx, operation, false, func(ctx context.Context) (err error) {
		out, err = o.client.UpdateItem(ctx, request)
		return err
	})
	if err == nil {
		result, err = o.result(ctx, p, out.Attributes)
		return result, true, err
	}
	if found, ok := conditionFailed(err); ok {
		return o.missed(ctx, p, found)
	}
	switch {
	case p.fast && isInvalid(err):
		o.general = true
		return result, false, nil
	case errors.As(err, &errLost{}):
		return o.recover(ctx, p, err)
	default:
		return result, true, o.failed(ctx, operation, err)
	}
}

// result returns what a plan did that found the old item.
func (o *solo) result(ctx context.Context, p *plan, old item) (port.Result, error) {
	if p.at != nil {
		return p.result(), nil
	}
	found, err := o.readRow(ctx, old)
	if err != nil {
		return port.Result{}, err
	}
	found.lapsed = false // it was not when it was written to, which the plan demands
	result := port.Result{Version: o.next(&found)}
	if o.write.NoResult {
		return result, nil
	}
	if result.Old, err = o.valueOf(ctx, &found); err != nil {
		return port.Result{}, err
	}
	result.New = p.new
	if p.fast {
		result.New, result.Faults, err = document.Apply(result.Old, o.write.Ops)
	}
	return result, err
}

// missed judges an item for which the condition of a plan did not hold.
func (o *solo) missed(ctx context.Context, p *plan, item item) (result port.Result, done bool, err error) {
	found, err := o.readRow(ctx, item)
	if err != nil {
		return result, true, err
	}
	version := found.documentVersion()
	switch {
	case found.writeID == o.id:
		return o.landed(ctx, p, &found)
	case o.lost:
		return result, true, errUnknown(nil)
	case o.write.IfVersion != nil && version != *o.write.IfVersion:
		return result, true, &port.ConflictError{Version: version}
	}
	o.at = &found
	if p.at != nil && found.isDocument() && !o.general && o.write.Op == port.Update && isFast(o.write.Ops) {
		o.at = nil // a blind plan wins every race
	}
	return result, false, nil
}

// recover finds out what became of a plan whose reply was lost. It is done again only where what is there shows that it was
// not done before, and will not be done twice. A document that has expired since shows nothing: the plan may yet be done.
func (o *solo) recover(ctx context.Context, p *plan, cause error) (result port.Result, done bool, err error) {
	o.log(ctx, "UpdateItem", cause)
	o.lost = true
	found, err := o.getRow(ctx, o.write.Collection, o.write.Key)
	if err != nil {
		return result, true, err
	}
	untouched := !found.exists
	switch {
	case p.at != nil:
		untouched = untouched || p.at.exists && p.at.version == found.version && p.at.lapsed == found.lapsed
	case o.write.IfVersion != nil && *o.write.IfVersion != 0:
		untouched = untouched || *o.write.IfVersion == found.version && !found.lapsed
	}
	switch {
	case found.writeID == o.id:
		return o.landed(ctx, p, &found)
	case untouched:
		o.at = &found
		return result, false, nil
	default:
		return result, true, errUnknown(cause)
	}
}

// landed returns the result of a plan that was done, as the row shows, though nobody said so.
func (o *solo) landed(ctx context.Context, p *plan, found *row) (result port.Result, done bool, err error) {
	result.Version = found.version
	switch {
	case o.write.NoResult:
		return result, true, nil
	case p.at == nil && (o.write.IfVersion == nil || *o.write.IfVersion != 0):
		return port.Result{}, true, errs.New(errs.Unavailable,
			"the document was written, but the store did not answer with what was there before")
	}
	result.Old, result.Faults = p.old, p.faults
	result.New, err = o.valueOf(ctx, found)
	return result, true, err
}
