package functions_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/eddyhq/eddy/functions/testdata/ratings"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/eddytest"
)

func TestEachReaderCountsOnce(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	ratings.Register(app)
	test := eddytest.New(t, app)

	test.Request("PUT", "/books/dune/ratings/ada", `{"stars":2}`)
	test.Request("PUT", "/books/dune/ratings/ada", `{"stars":5}`)
	test.Request("PUT", "/books/dune/ratings/bob", `{"stars":4}`)
	test.Settle()

	got := eddytest.Call[ratings.Score](test, "ratings::score", map[string]any{"book": "dune"})
	if want := (ratings.Score{Ratings: 2, Stars: 9}); got != want {
		t.Errorf("the score is %+v, want %+v", got, want)
	}
}

func TestTheGoCodeOfTheReadmeIsCodeThatIsTested(t *testing.T) {
	t.Parallel()
	tested := read(t, "testdata/ratings/ratings.go") + read(t, "readme_test.go")
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(read(t, "../README.md"), -1)
	if len(blocks) != 2 {
		t.Errorf("the README has %d blocks of Go code, want a package and its test", len(blocks))
	}
	for _, block := range blocks {
		if !strings.Contains(tested, block[1]) {
			t.Errorf("no longer the tested code:\n%s", block[1])
		}
	}
}

// A test is named in the README as `directory: TestName`.
func TestTheTestsThatTheReadmeNamesExist(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile("`([a-z/]+): (Test[A-Za-z]+)`").FindAllStringSubmatch(read(t, "../README.md"), -1)
	if len(named) == 0 {
		t.Error("the README names no test")
	}
	for _, name := range named {
		files, err := filepath.Glob(filepath.Join("..", name[1], "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		var source strings.Builder
		for _, file := range files {
			source.WriteString(read(t, file))
		}
		if !strings.Contains(source.String(), "\nfunc "+name[2]+"(t *testing.T)") {
			t.Errorf("there is no %s in %s", name[2], name[1])
		}
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
