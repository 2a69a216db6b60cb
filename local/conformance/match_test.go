package conformance

import "testing"

func TestMatch(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, got, want string
		same            bool
	}{
		{"equal objects in another order match", `{"a":1,"b":[true,null]}`, `{"b":[true,null],"a":1}`, true},
		{"numbers match by value", `{"a":1e2}`, `{"a":100}`, true},
		{"a digit beyond float64 is seen", `9007199254740993`, `9007199254740992`, false},
		{"a number is no string", `"1"`, `1`, false},
		{"a missing member is seen", `{}`, `{"a":1}`, false},
		{"an unexpected member is seen", `{"a":1,"b":2}`, `{"a":1}`, false},
		{"an optional member may be missing", `{}`, `{"a?":1}`, true},
		{"an optional member must match", `{"a":2}`, `{"a?":1}`, false},
		{"a shorter array is seen", `[1]`, `[1,2]`, false},
		{"a longer array is seen", `[1,2]`, `[1]`, false},
		{"an array is no object", `[]`, `{}`, false},
		{"null is no object", `null`, `{}`, false},
		{"a version is a positive integer", `1732345678901234`, `"<version>"`, true},
		{"a version is not 0", `0`, `"<version>"`, false},
		{"a count may be 0", `0`, `"<count>"`, true},
		{"a count is no fraction", `0.5`, `"<count>"`, false},
		{"a string is not empty", `""`, `"<string>"`, false},
		{"a time is RFC 3339", `"2026-11-23T16:41:00.5Z"`, `"<time>"`, true},
		{"another text is no time", `"yesterday"`, `"<time>"`, false},
		{"anything is any", `[{}]`, `"<any>"`, true},
		{"two values are not one", `1 2`, `1`, false},
		{"no value is not one", ``, `null`, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if err := match([]byte(c.got), c.want); (err == nil) != c.same {
				t.Errorf("match(%s, %s) = %v", c.got, c.want, err)
			}
		})
	}
}
