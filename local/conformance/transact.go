package conformance

import (
	"fmt"
	"strings"
	"testing"
)

// transactions checks state::transact, and a function that does the same with eddy.Transact.
func (s *suite) transactions(t *testing.T) {
	s.parallel(t, []area{
		{"shapes", func(t *testing.T) { s.tell(t, transactShapes) }},
		{"payloads", s.transactPayloads},
		{"90 writes are one transaction", s.ninetyWrites},
		{"of transactions at once that demand the same version, one succeeds, and none by half", s.transactRaces},
		{"a function's transaction is all or nothing, messages included", s.transfers},
	})
}

var transactShapes = []story{
	{"every operation answers as it does alone", []step{
		{call: "state::set", payload: `{"scope":"$name","key":"old","value":{"n":1}}`,
			want: `{"old_value":null,"new_value":{"n":1},"version":"<version>"}`},
		{call: "state::transact", payload: `{"writes":[
			{"op":"check","scope":"$name","key":"old","if_version":$version},
			{"op":"set","scope":"$name","key":"set","value":[1]},
			{"op":"update","scope":"$name","key":"updated","ops":[
				{"type":"set","path":"a","value":"b"},{"type":"increment","path":"a","by":1}]},
			{"op":"delete","scope":"$name","key":"none"}]}`,
			want: `{"results":[{"version":$version},
				{"old_value":null,"new_value":[1],"version":"<version>"},
				{"old_value":null,"new_value":{"a":"b"},"version":"<version>",
					"errors":[{"op_index":1,"code":"increment.not_number","message":"<string>"}]},
				{"old_value":null}]}`},
		{call: "state::transact", payload: `{"writes":[{"op":"delete","scope":"$name","key":"old"}]}`,
			want: `{"results":[{"old_value":{"n":1}}]}`},
		{call: "state::list", payload: `{"scope":"$name","with_keys":true}`,
			want: `{"items":[{"key":"set","value":[1],"version":"<version>"},
				{"key":"updated","value":{"a":"b"},"version":"<version>"}]}`},
	}},
	{"scopes can differ", []step{
		{call: "state::transact", payload: `{"writes":[{"op":"set","scope":"$name","key":"k","value":1},
			{"op":"set","scope":"$name-2","key":"k","value":2}]}`,
			want: `{"results":[{"old_value":null,"new_value":1,"version":"<version>"},
				{"old_value":null,"new_value":2,"version":"<version>"}]}`},
		{call: "state::get", payload: `{"scope":"$name-2","key":"k"}`, want: `2`},
	}},
	{"a check that does not hold names its write, and nothing is written", []step{
		{call: "state::transact", code: "conflict", fields: []string{"writes[1]"}, payload: `{"writes":[
			{"op":"set","scope":"$name","key":"a","value":1},{"op":"check","scope":"$name","key":"b","if_version":1}]}`},
		{call: "state::list", payload: `{"scope":"$name"}`, want: `[]`},
	}},
	{"a version that does not match names its write, and nothing is written", []step{
		{call: "state::set", payload: `{"scope":"$name","key":"c","value":0}`,
			want: `{"old_value":null,"new_value":0,"version":"<version>"}`},
		{call: "state::transact", code: "conflict", fields: []string{"writes[2]"}, payload: `{"writes":[
			{"op":"set","scope":"$name","key":"a","value":1},{"op":"delete","scope":"$name","key":"b"},
			{"op":"set","scope":"$name","key":"c","value":1,"if_version":0}]}`},
		{call: "state::transact", code: "conflict", fields: []string{"writes[0]"}, payload: `{"writes":[
			{"op":"delete","scope":"$name","key":"c","if_version":1},{"op":"set","scope":"$name","key":"a","value":1}]}`},
		{call: "state::list", payload: `{"scope":"$name"}`, want: `[0]`},
	}},
	{"a check of what does not exist holds as long as it does not", []step{
		{call: "state::transact", payload: `{"writes":[{"op":"check","scope":"$name","key":"a","if_version":0},
			{"op":"set","scope":"$name","key":"b","value":1}]}`,
			want: `{"results":[{"version":0},{"old_value":null,"new_value":1,"version":"<version>"}]}`},
		{call: "state::transact", code: "conflict", fields: []string{"writes[0]"}, payload: `{"writes":[
			{"op":"check","scope":"$name","key":"b","if_version":0},{"op":"set","scope":"$name","key":"b2","value":1}]}`},
		{call: "state::list", payload: `{"scope":"$name"}`, want: `[1]`},
	}},
	{"checks alone write nothing", []step{
		{call: "state::transact", payload: `{"writes":[{"op":"check","scope":"$name","key":"a","if_version":0}]}`,
			want: `{"results":[{"version":0}]}`},
		{call: "state::list", payload: `{"scope":"$name"}`, want: `[]`},
	}},
}

func (s *suite) transactPayloads(t *testing.T) {
	set := func(key string) string { return `{"op":"set","scope":"s","key":"` + key + `","value":1}` }
	many := make([]string, 91)
	for i := range many {
		many[i] = set(fmt.Sprint("k", i))
	}
	cases := []struct {
		name, payload string
		fields        []string
	}{
		{"no writes", `{}`, []string{"writes"}},
		{"an empty list", `{"writes":[]}`, []string{"writes"}},
		{"no list", `{"writes":` + set("k") + `}`, []string{"writes"}},
		{"91 writes", `{"writes":[` + strings.Join(many, ",") + `]}`, []string{"writes"}},
		{"an unknown field", `{"writes":[` + set("k") + `],"atomic":true}`, []string{"atomic"}},
		{"an unknown field of a write", `{"writes":[{"op":"delete","scope":"s","key":"k","value":1}]}`, []string{"writes[0].value"}},
		{"an unknown operation", `{"writes":[` + set("k") + `,{"op":"drop","scope":"s","key":"l"}]}`, []string{"writes[1].op"}},
		{"no operation", `{"writes":[{"scope":"s","key":"k","value":1}]}`, []string{"writes[0].op"}},
		{"a check without a version", `{"writes":[{"op":"check","scope":"s","key":"k"}]}`, []string{"writes[0].if_version"}},
		{"one document twice", `{"writes":[` + set("k") + `,` + set("k") + `]}`, []string{"writes[1]"}},
		{"several faults are listed together", `{"writes":[{"op":"set","scope":"s","key":"k"},{"op":"update","key":"k"}]}`,
			[]string{"writes[0].value", "writes[1].scope", "writes[1].ops"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s.invoke(t, "state::transact", c.payload).wantError(t, "invalid_argument", c.fields...)
		})
	}
}

func (s *suite) ninetyWrites(t *testing.T) {
	scope := unique("conformance")
	writes := make([]string, 90)
	for i := range writes {
		writes[i] = fmt.Sprintf(`{"op":"set","scope":%q,"key":"k%02d","value":%d}`, scope, i, i)
	}
	payload := `{"writes":[` + strings.Join(writes, ",") + `]}`
	conflicting := strings.Replace(payload, `"value":89`, `"value":89,"if_version":1`, 1)
	s.invoke(t, "state::transact", conflicting).wantError(t, "conflict", "writes[89]")
	s.invoke(t, "state::list", `{"scope":"`+scope+`"}`).wantJSON(t, 200, `[]`)
	s.must(t, "state::transact", payload)
	var values []int
	decode(t, s.must(t, "state::list", `{"scope":"`+scope+`"}`), &values)
	if len(values) != 90 || values[0] != 0 || values[89] != 89 {
		t.Errorf("the scope has %d documents: %v", len(values), values)
	}
}

func (s *suite) transactRaces(t *testing.T) {
	const racers = 8
	scope := unique("conformance")
	statuses := make([]int, racers)
	atOnce(t, racers, func(i int) (err error) {
		statuses[i], _, err = s.Invoke(t.Context(), "state::transact", fmt.Appendf(nil, `{"writes":[
			{"op":"set","scope":%q,"key":"prize","value":%d,"if_version":0},
			{"op":"set","scope":%q,"key":"mark","value":%d}]}`, scope, i, scope, i), nil)
		return err
	})
	var prize, mark int
	decode(t, s.must(t, "state::get", `{"scope":"`+scope+`","key":"prize"}`), &prize)
	decode(t, s.must(t, "state::get", `{"scope":"`+scope+`","key":"mark"}`), &mark)
	for i, status := range statuses {
		if want := map[bool]int{true: 200, false: 409}[i == prize]; status != want {
			t.Errorf("transaction %d is answered with %d, want %d: the prize is of %d", i, status, want, prize)
		}
	}
	if mark != prize {
		t.Errorf("the prize is of transaction %d, the mark of %d", prize, mark)
	}
}

// transfers moves amounts between three accounts, by as many at once as want to, some of which cannot.
func (s *suite) transfers(t *testing.T) {
	s.needs(t, "proof::transfer")
	const balance, transfers = 10, 24
	names := []string{unique("a"), unique("b"), unique("c")}
	receipts := unique("receipts")
	for _, name := range names {
		s.must(t, "state::set", fmt.Sprintf(`{"scope":"proof-accounts","key":%q,"value":{"balance":%d}}`, name, balance))
	}
	statuses := make([]int, transfers)
	atOnce(t, transfers, func(i int) error {
		a, err := s.do(t.Context(), request{method: "POST", path: "/proof/transfers", body: fmt.Sprintf(
			`{"from":%q,"to":%q,"amount":%d,"receipt":%q}`, names[i%3], names[(i/3+i+1)%3], 3+i%5, receipts)})
		if statuses[i] = a.status; err == nil && a.status != 200 && a.status != 422 {
			err = fmt.Errorf("transfer %d: status %d: %s", i, a.status, clip(string(a.body)))
		}
		return err
	})
	sum, done := 0, 0
	for _, name := range names {
		var account struct{ Balance int }
		decode(t, s.must(t, "state::get", `{"scope":"proof-accounts","key":"`+name+`"}`), &account)
		if sum += account.Balance; account.Balance < 0 {
			t.Errorf("a balance is %d", account.Balance)
		}
	}
	for _, status := range statuses {
		if status == 200 {
			done++
		}
	}
	if sum != balance*len(names) || done == 0 {
		t.Errorf("after %d transfers the balances sum up to %d, want %d", done, sum, balance*len(names))
	}
	s.invoke(t, "proof::transfer", fmt.Sprintf(`{"from":%q,"to":%q,"amount":1000,"receipt":%q}`, names[0], names[1], receipts)).
		wantError(t, "condition_not_met")
	s.post(t, "/_eddy/invoke/proof::transfer", fmt.Sprintf(`{"from":%q,"to":%q,"amount":0,"receipt":%q}`,
		names[0], names[1], receipts)).wantJSON(t, 200, `"<any>"`)
	// The last message of the group is behind all others: when it is there, no further receipt is to come.
	s.wantLines(t, receipts, done+1)
}
