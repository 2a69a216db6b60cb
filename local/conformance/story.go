package conformance

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

// story is a case told as calls of engine functions, one after the other, on names nobody else uses.
type story struct {
	name  string
	steps []step
}

// step is one call and what it must answer. In payload and want, $name stands for the story's own name (a scope or a
// stream) and $version for the version that the last result with one carried.
type step struct {
	call    string
	payload string
	want    string   // the result, as match understands it
	code    string   // instead of a result: the code of the error
	fields  []string // that the error's details name
}

// tell runs the stories in parallel.
func (s *suite) tell(t *testing.T, stories []story) {
	for _, one := range stories {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			name, version := unique("conformance"), "0"
			for i, next := range one.steps {
				fill := strings.NewReplacer("$name", name, "$version", version)
				t.Logf("step %d: %s %s", i+1, next.call, clip(next.payload))
				a := s.invoke(t, next.call, fill.Replace(next.payload))
				if next.code != "" {
					a.wantError(t, next.code, next.fields...)
					continue
				}
				a.wantJSON(t, 200, fill.Replace(next.want))
				if v := versionOf(a.body); v > 0 {
					version = strconv.FormatInt(v, 10)
				}
			}
		})
	}
}

// versionOf returns the version member of a result, 0 when it has none.
func versionOf(result []byte) int64 {
	var with struct{ Version int64 }
	if json.Unmarshal(result, &with) != nil {
		return 0
	}
	return with.Version
}
