package main

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestGolden(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, file string
		args       []string
	}{
		{"the estimate without flags", "standard.txt", nil},
		{"an application that nobody uses", "idle.txt", []string{"-requests=0", "-writes=0", "-subscribers=0", "-pushes=0", "-stored=0"}},
		{"much of everything", "large.txt", []string{"-requests", "1e9", "-writes", "250_000_000", "-reactions", "3", "-subscribers", "20,000",
			"-pushes", "1e9", "-ticks", "438_000", "-document", "4.5", "-frame", "33", "-batch", "5", "-stored", "250", "-kept", "3", "-functions", "100"}},
		{"what -help says", "help.txt", []string{"-help"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var out, problems bytes.Buffer
			if code := run(test.args, 10, &out, &problems); code != 0 || problems.Len() > 0 {
				t.Fatalf("exit code %d: %s", code, problems.String())
			}
			path := filepath.Join("testdata", test.file)
			if *update {
				if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out.String()); diff != "" {
				t.Errorf("%s; write it anew with -update (-want +got):\n%s", path, diff)
			}
		})
	}
}

func TestMistakesOnTheCommandLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, args, want string
	}{
		{"an unknown flag", "-request=1", "not defined: -request"},
		{"what is no flag", "many", `"many" is no flag`},
		{"no number", "-requests=many", "write a number"},
		{"more than a number", "-requests=1x", "write a number"},
		{"a negative number", "-requests=-1", "not below zero"},
		{"more writes than requests", "-requests=1 -writes=2", "2 writes are more than the 1 requests"},
		{"pushes to nobody", "-subscribers=0", "reach no subscriber"},
		{"an empty batch", "-batch=0.5", "less than one record"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var out, problems bytes.Buffer
			if code := run(strings.Fields(test.args), 10, &out, &problems); code != 2 || !strings.Contains(problems.String(), test.want) {
				t.Errorf("exit code %d, %q", code, problems.String())
			}
		})
	}
}

func TestEveryPriceIsPaidAndHasASource(t *testing.T) {
	t.Parallel()
	p, err := readPrices(priceList)
	if err != nil {
		t.Fatal(err)
	}
	paid := make(map[string]bool)
	for _, l := range estimate(load{batch: 1}) {
		paid[l.price] = true
	}
	for name, one := range p.Prices {
		if !paid[name] || !strings.HasPrefix(one.Source, "https://aws.amazon.com/") || one.What == "" || one.Of == "" {
			t.Errorf("%s: %+v", name, one)
		}
	}
	if len(paid) != len(p.Prices) {
		t.Errorf("%d prices, %d lines", len(p.Prices), len(paid))
	}
}

func TestPricesAreAboveZero(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{"prices":{"a":{"dollars":0,"per":1}}}`, `{"prices":{"a":{"dollars":1}}}`, `[]`} {
		if _, err := readPrices([]byte(text)); err == nil {
			t.Errorf("%s is taken", text)
		}
	}
}
