package command

import (
	"encoding/json"
	"strings"
	"testing"
)

// What is read as an export has a head, an end that counts its documents, and nothing but JSON objects in between.
func FuzzReadExport(f *testing.F) {
	for _, seed := range []string{
		"", "{}", "null\n", `{"eddy":"export","format":1}` + "\n" + `{"eddy":"end","documents":0}`,
		`{"eddy":"export","format":1}` + "\r\n" + `{"scope":"s","key":"k","value":1}` + "\n" + `{"eddy":"end","documents":1}` + "\n",
		`{"eddy":"export","format":1}` + "\n" + `{"eddy":"end"}`, `{"eddy":"export","format":1}` + "\n\n" + `{"eddy":"end","documents":1}`,
		`{"eddy":"export","format":1}` + "\n" + `null` + "\n" + `{"eddy":"end","documents":1}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		documents := 0
		err := readExport(strings.NewReader(text), func(document json.RawMessage) error {
			documents++
			var object map[string]json.RawMessage
			if err := json.Unmarshal(document, &object); err != nil || object == nil {
				t.Errorf("the document %q is no JSON object: %v", document, err)
			}
			return nil
		})
		if lines := strings.Count(strings.TrimSuffix(text, "\n"), "\n") + 1; err == nil && lines != documents+2 {
			t.Errorf("%d lines are an export of %d documents", lines, documents)
		}
	})
}
