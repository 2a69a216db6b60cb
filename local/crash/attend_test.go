package crash_test

import (
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// maxLease is the longest life of a lease, in seconds of the gateway's clock; leaseSlack how much later than it should be its
// end may be told: that clock is quick, and the gateway looks at it now and then.
const (
	maxLease   = 30
	leaseSlack = 120 * time.Second
)

// duties are what a client has asked for beside the documents it writes.
type duties struct {
	jobs   tasks
	orders tasks
	paid   paid
	moves  belief[int]
	leases leased
}

// attend makes one request for something that is to happen once, and reports whether the gateway is still there.
func (w *writer) attend() bool {
	switch w.random.IntN(5) {
	case 0:
		return w.askForJob()
	case 1:
		return w.placeOrder()
	case 2:
		return w.pay()
	case 3:
		return w.move()
	default:
		return w.lease()
	}
}

func (w *writer) askForJob() bool {
	action := "enqueue:jobs"
	if w.random.IntN(2) == 0 {
		action = "void"
	}
	r := w.client.later("crash::job", action, task{w.name, w.jobs.last + 1})
	w.jobs.note(w.journal, "job of "+w.name, r)
	return r.err == nil
}

func (w *writer) placeOrder() bool {
	r := w.client.later("crash::order", "enqueue:orders", task{w.name, w.orders.last + 1})
	w.orders.note(w.journal, "order of "+w.name, r)
	return r.err == nil
}

// pay makes a payment, with the same key as long as there is no answer, or once more one that was answered.
func (w *writer) pay() bool {
	n := w.paid.n + 1
	again := n > 1 && w.random.IntN(4) == 0
	if again {
		n--
	}
	what := fmt.Sprintf("payment %d of %s", n, w.name)
	r := w.client.send(http.MethodPost, "/payments", http.Header{"Idempotency-Key": {strconv.Itoa(n) + w.name}}, task{w.name, n})
	w.paid.note(w.journal, what, again, r)
	return r.err == nil
}

func (w *writer) move() bool {
	r := w.client.invoke("crash::move", move{From: w.name + "-from", To: w.name + "-to"})
	note(w.journal, "move of "+w.name, &w.moves, r, func(n int) (int, bool) { return n + 1, true })
	return r.err == nil
}

func (w *writer) lease() bool {
	l, seconds := &w.leases, 1+w.random.IntN(maxLease)
	n := l.last + 1
	r := w.client.invoke("state::set", map[string]any{
		"scope": "lease", "key": fmt.Sprintf("%s-%d", w.name, n), "value": task{w.name, n}, "ttl_seconds": seconds,
	})
	l.note(w.journal, "lease of "+w.name, r)
	if l.last == n {
		l.due = append(l.due, w.now().Add(time.Duration(seconds)*time.Second+leaseSlack))
	}
	return r.err == nil
}
