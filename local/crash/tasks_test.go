package crash_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"
	"time"
)

// tasks are what a client has asked for, numbered from 1. Each is to be done once; one whose answer was lost may be.
type tasks struct {
	last int
	lost map[int]bool // whose answers were lost
}

// note takes the end of a request for the next task.
func (k *tasks) note(j *journal, what string, r reply) {
	switch r.outcome {
	case unsent: // the number is for another time
	case refused:
		j.fault("%s %d was refused: %v", what, k.last+1, r)
	case uncertain:
		j.uncertain++
		k.last++
		if k.lost == nil {
			k.lost = make(map[int]bool)
		}
		k.lost[k.last] = true
	case acknowledged:
		j.acknowledged++
		k.last++
	}
}

// check compares the tasks with how often each was done. Those that are not due need not be done yet.
func (k *tasks) check(what string, times map[int]int, due func(n int) bool, lost, doubled promise) (found findings) {
	times = maps.Clone(times)
	for n := 1; n <= k.last; n++ {
		if times[n] == 0 && due(n) && !k.lost[n] {
			found.found(lost, 1, "%s %d was never done", what, n)
		}
		if times[n] > 1 {
			found.found(doubled, times[n]-1, "%s %d was done %d times", what, n, times[n])
		}
		delete(times, n)
	}
	found.found(doubled, len(times), "%s: nobody asked for %v", what, times)
	return found
}

func always(int) bool { return true }

// byNumber reads how often each task was done.
func (d doneTimes) byNumber() map[int]int {
	times := make(map[int]int)
	for text, n := range d {
		number, err := strconv.Atoi(text)
		if err != nil {
			number = 0 // which nobody asks for
		}
		times[number] = n
	}
	return times
}

// checkOrder compares the tasks with those that a FIFO queue has handed out, in that order.
func (k *tasks) checkOrder(what string, seen []int) (found findings) {
	times := make(map[int]int)
	for i, n := range seen {
		times[n]++
		if i > 0 && n < seen[i-1] {
			found.found(messagesUnordered, 1, "%s %d came after %d", what, n, seen[i-1])
		}
	}
	found.add(k.check(what, times, always, messagesLost, messagesDoubled))
	return found
}

// paid are the payments of a client. It sends each again until it is answered: so it always knows how many there are, but for
// the one it is at.
type paid struct {
	n       int
	pending bool // the next one was sent
}

// note takes the end of the request for the next payment, or of the one before, sent once more.
func (p *paid) note(j *journal, what string, again bool, r reply) {
	var answer entry
	unpack(r, &answer)
	switch {
	case r.outcome == refused:
		j.fault("%s was refused: %v; %+v before", what, r, *p)
	case again && r.outcome == acknowledged && (answer.N != p.n || r.header.Get("Idempotent-Replayed") != "true"):
		j.fault("%s was answered %v; it was the same before: %+v", what, r, *p)
	case again || r.outcome == unsent:
	case r.outcome == uncertain:
		j.uncertain++
		p.pending = true
	case answer.N != p.n+1:
		j.fault("%s was answered %v; %+v before", what, r, *p)
	default:
		j.acknowledged++
		p.n++
		p.pending = false
	}
}

// check compares the payments with what the account holds.
func (p *paid) check(what string, holds int) (found findings) {
	most := p.n
	if p.pending {
		most++
	}
	found.found(writesLost, max(0, p.n-holds), "%s: %d of %d payments are there", what, holds, p.n)
	found.found(effectsDoubled, max(0, holds-most), "%s: %d payments are there, of %d that were made", what, holds, most)
	return found
}

// check compares purses with the moves there may have been, of which one is left.
func checkMoves(what string, moves *belief[int], from, to int) (found findings) {
	if from != -to {
		found.found(halfDone, 1, "%s: one purse holds %d, the other %d", what, from, to)
		return found
	}
	possible := slices.Clone(*moves)
	switch {
	case moves.saw(func(n int) bool { return n == to }):
	case to < slices.Min(possible):
		found.found(writesLost, 1, "%s: %d moves are there, of %v", what, to, possible)
	default:
		found.found(effectsDoubled, 1, "%s: %d moves are there, of %v", what, to, possible)
	}
	return found
}

// leased are documents that expire, a task each.
type leased struct {
	tasks
	due []time.Time // by number less one: when it has expired for sure, by the clock of the gateway
}

// check compares them with how often each has expired.
func (l *leased) check(what string, times map[int]int, now time.Time) findings {
	isOver := func(n int) bool { return now.After(l.due[n-1]) }
	return l.tasks.check(what, times, isOver, expiriesLost, expiriesDoubled)
}

// checkTicks compares the ticks of the schedule with the times at which it was due.
func checkTicks(t ticked) (found findings) {
	if t.Runs == 0 {
		return found
	}
	due := t.Last - t.First + 1
	found.found(ticksLost, int(max(0, due-t.Runs-t.Missed)), "due %d times: %+v", due, t)
	found.found(ticksDoubled, int(max(0, t.Runs+t.Missed-due)), "due %d times: %+v", due, t)
	found.found(ticksDoubled, t.Disorder, "%+v", t)
	return found
}

func TestTasks(t *testing.T) {
	t.Parallel()
	asked := tasks{last: 4, lost: map[int]bool{3: true}}
	tests := []struct {
		name  string
		times map[int]int
		want  map[promise]int
	}{
		{"all are done", map[int]int{1: 1, 2: 1, 3: 1, 4: 1}, nil},
		{"one without an answer need not be", map[int]int{1: 1, 2: 1, 4: 1}, nil},
		{"one that is lost is found", map[int]int{1: 1, 3: 1, 4: 1}, map[promise]int{messagesLost: 1}},
		{"one that is done twice is found", map[int]int{1: 1, 2: 1, 3: 3, 4: 1}, map[promise]int{messagesDoubled: 2}},
		{"one that nobody asked for is found", map[int]int{1: 1, 2: 1, 4: 1, 5: 1}, map[promise]int{messagesDoubled: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			found := asked.check("job", test.times, always, messagesLost, messagesDoubled)
			if !maps.Equal(found.broken, test.want) {
				t.Errorf("found %v, want %v: %q", found.broken, test.want, found.faults)
			}
		})
	}
}

func TestOrderOfTasks(t *testing.T) {
	t.Parallel()
	asked := tasks{last: 3, lost: map[int]bool{2: true}}
	tests := []struct {
		name string
		seen []int
		want map[promise]int
	}{
		{"they came in order", []int{1, 2, 3}, nil},
		{"with a gap where an answer was lost", []int{1, 3}, nil},
		{"one that overtook another is found", []int{2, 1, 3}, map[promise]int{messagesUnordered: 1}},
		{"one that came twice is found", []int{1, 2, 2, 3}, map[promise]int{messagesDoubled: 1}},
		{"one that is lost is found", []int{1, 2}, map[promise]int{messagesLost: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if found := asked.checkOrder("order", test.seen); !maps.Equal(found.broken, test.want) {
				t.Errorf("found %v, want %v: %q", found.broken, test.want, found.faults)
			}
		})
	}
}

func TestDuties(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	lease := func(due time.Duration) *leased {
		return &leased{tasks: tasks{last: 1}, due: []time.Time{now.Add(due)}}
	}
	tests := []struct {
		name string
		got  findings
		want map[promise]int
	}{
		{"payments are as they were answered", (&paid{n: 2}).check("", 2), nil},
		{"one without an answer may be there", (&paid{n: 2, pending: true}).check("", 3), nil},
		{"or not", (&paid{n: 2, pending: true}).check("", 2), nil},
		{"one that is lost is found", (&paid{n: 2}).check("", 1), map[promise]int{writesLost: 1}},
		{"one that was made twice is found", (&paid{n: 2, pending: true}).check("", 4), map[promise]int{effectsDoubled: 1}},
		{"moves are whole", checkMoves("", &belief[int]{2}, -2, 2), nil},
		{"one without an answer may be there", checkMoves("", &belief[int]{2, 3}, -3, 3), nil},
		{"half a move is found", checkMoves("", &belief[int]{2, 3}, -3, 2), map[promise]int{halfDone: 1}},
		{"a lost move is found", checkMoves("", &belief[int]{2, 3}, -1, 1), map[promise]int{writesLost: 1}},
		{"one that was made twice is found", checkMoves("", &belief[int]{2, 3}, -4, 4), map[promise]int{effectsDoubled: 1}},
		{"a lease that is over has expired once", lease(-time.Second).check("", map[int]int{1: 1}, now), nil},
		{"one that is not need not", lease(time.Second).check("", nil, now), nil},
		{"one that is over and did not is found", lease(-time.Second).check("", nil, now), map[promise]int{expiriesLost: 1}},
		{"one that did twice is found", lease(-time.Second).check("", map[int]int{1: 2}, now), map[promise]int{expiriesDoubled: 1}},
		{"every tick has run or was counted", checkTicks(ticked{First: 10, Last: 14, Runs: 3, Missed: 2}), nil},
		{"a lost tick is found", checkTicks(ticked{First: 10, Last: 14, Runs: 3, Missed: 1}), map[promise]int{ticksLost: 1}},
		{"a doubled one is found", checkTicks(ticked{First: 10, Last: 14, Runs: 4, Missed: 2}), map[promise]int{ticksDoubled: 1}},
		{"one out of order is found", checkTicks(ticked{First: 10, Last: 14, Runs: 5, Disorder: 1}), map[promise]int{ticksDoubled: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if !maps.Equal(test.got.broken, test.want) {
				t.Errorf("found %v, want %v: %q", test.got.broken, test.want, test.got.faults)
			}
		})
	}
}

func TestPaymentsAreAnswered(t *testing.T) {
	t.Parallel()
	answer := func(n int, replayed string) reply {
		return reply{outcome: acknowledged, status: 200, body: fmt.Appendf(nil, `{"n":%d}`, n),
			header: map[string][]string{"Idempotent-Replayed": {replayed}}}
	}
	tests := []struct {
		name   string
		reply  reply
		again  bool
		want   paid
		faults int
	}{
		{"a payment is answered with its number", answer(3, ""), false, paid{n: 3}, 0},
		{"one that was done already is, too", answer(3, "true"), false, paid{n: 3}, 0},
		{"one that was done twice is found", answer(4, ""), false, paid{n: 2, pending: true}, 1},
		{"without an answer it is sent again", reply{outcome: uncertain}, false, paid{n: 2, pending: true}, 0},
		{"the one before has its answer", answer(2, "true"), true, paid{n: 2, pending: true}, 0},
		{"another answer to that is found", answer(3, "true"), true, paid{n: 2, pending: true}, 1},
		{"and one that was not kept", answer(2, ""), true, paid{n: 2, pending: true}, 1},
		{"a refusal is found", reply{outcome: refused, status: 422}, false, paid{n: 2, pending: true}, 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			j, p := &journal{}, paid{n: 2, pending: true}
			p.note(j, "pay", test.again, test.reply)
			if p != test.want || len(j.faults) != test.faults {
				t.Errorf("%+v and the faults %q, want %+v and %d", p, j.faults, test.want, test.faults)
			}
		})
	}
}
