package door

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/idempotency"
	"github.com/eddyhq/eddy/shared/operator"
)

// The headers of an invoke.
const (
	actionHeader = "X-Eddy-Action"
	delayHeader  = "X-Eddy-Delay"
)

// invoke calls any function by id, at once or, with X-Eddy-Action, later.
func (d *Door) invoke(w http.ResponseWriter, r *http.Request) error {
	payload, err := ReadBody(w, r)
	if err != nil {
		return err
	}
	if len(payload) == 0 {
		payload = []byte("{}")
	}
	call := operator.Call{Function: r.PathValue("function_id"), Payload: payload, RequestID: RequestIDOf(w)}
	action, delay := r.Header.Get(actionHeader), r.Header.Get(delayHeader)
	call.Idempotency, err = idempotency.OfCall(r.Header, call.Function, payload, action, delay)
	if err != nil {
		return err
	}
	queue, enqueue := strings.CutPrefix(action, "enqueue:")
	switch {
	case enqueue:
		return d.enqueue(w, r, call, queue, delay)
	case delay != "":
		return errs.New(errs.InvalidArgument, "%s is for %s: enqueue:<queue>", delayHeader, actionHeader)
	case action == "void":
		delivery, err := d.Operator.Void(r.Context(), call)
		return tellDelivery(w, delivery, err)
	case action != "":
		return errs.New(errs.InvalidArgument, "%s is %q; it can be void or enqueue:<queue>", actionHeader, action)
	}
	result, err := d.Operator.Invoke(r.Context(), call)
	if err != nil {
		return err
	}
	tellReplayed(w, result.Replayed)
	WriteJSON(w, http.StatusOK, result.JSON)
	return nil
}

// enqueue answers as soon as the message is durable.
func (d *Door) enqueue(w http.ResponseWriter, r *http.Request, call operator.Call, queue, delay string) error {
	wait, err := readDelay(delay)
	if err != nil {
		return err
	}
	delivery, err := d.Operator.Enqueue(r.Context(), queue, call, wait)
	return tellDelivery(w, delivery, err)
}

func tellDelivery(w http.ResponseWriter, delivery operator.Delivery, err error) error {
	if err != nil {
		return err
	}
	tellReplayed(w, delivery.Replayed)
	WriteJSON(w, http.StatusAccepted, []byte(`{"delivery_id":"`+delivery.ID+`"}`))
	return nil
}

// readDelay reads whole seconds; nil when there are none.
func readDelay(text string) (*time.Duration, error) {
	if text == "" {
		return nil, nil
	}
	seconds, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return nil, errs.New(errs.InvalidArgument, "%s is %q; it is a number of whole seconds", delayHeader, text)
	}
	delay := time.Duration(seconds) * time.Second
	return &delay, nil
}

func tellReplayed(w http.ResponseWriter, replayed bool) {
	if replayed {
		w.Header().Set(idempotency.ReplayedHeader, "true")
	}
}
