package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
)

// row is one line of the table. A figure that does not exist is NaN.
type row struct {
	what     string
	gateway  float64
	baseline float64
	target   target
}

// target is what a row is held to; the zero target holds it to nothing.
type target struct {
	bound    float64
	atLeast  bool // otherwise at most
	absolute bool // the gateway's figure is held to it, otherwise the ratio to the baseline
}

func ratioAtLeast(bound float64) target { return target{bound: bound, atLeast: true} }
func ratioAtMost(bound float64) target  { return target{bound: bound} }
func atMost(bound float64) target       { return target{bound: bound, absolute: true} }

func (t target) String() string {
	sign := "≤ "
	if t.atLeast {
		sign = "≥ "
	}
	switch {
	case t == target{}:
		return ""
	case t.absolute:
		return sign + number(t.bound)
	default:
		return sign + strconv.FormatFloat(t.bound, 'f', -1, 64) + " ×"
	}
}

// ratio returns the gateway's figure in units of the baseline's.
func (r row) ratio() float64 { return r.gateway / r.baseline }

// verdict says whether the row meets its target; "" when it has none.
func (r row) verdict() string {
	value := r.ratio()
	if r.target.absolute {
		value = r.gateway
	}
	met := value <= r.target.bound
	if r.target.atLeast {
		met = value >= r.target.bound
	}
	switch {
	case r.target == target{}:
		return ""
	case met:
		return "met"
	default:
		return "missed"
	}
}

// printTable writes one aligned line per row. Rows that start with a space belong to the row above them.
func printTable(w io.Writer, rows []row) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "what\tgateway\tbaseline\tratio\ttarget\t")
	for _, r := range rows {
		ratio := r.ratio()
		text := ""
		if !math.IsNaN(ratio) && !math.IsInf(ratio, 0) {
			text = strconv.FormatFloat(ratio, 'f', 2, 64)
		}
		cells := []string{r.what, number(r.gateway), number(r.baseline), text, r.target.String(), r.verdict()}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	_ = t.Flush()
}

// number writes a figure with about three significant digits and thousands separated; "–" for NaN.
func number(v float64) string {
	switch magnitude := math.Abs(v); {
	case math.IsNaN(v):
		return "–"
	case magnitude == 0 || magnitude >= 100 || v == math.Trunc(v):
		return thousands(strconv.FormatFloat(v, 'f', 0, 64))
	case magnitude >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case magnitude >= 0.01:
		return strconv.FormatFloat(v, 'f', 2, 64)
	default:
		return strconv.FormatFloat(v, 'g', 2, 64)
	}
}

// thousands puts a comma before every third digit from the right.
func thousands(digits string) string {
	sign := ""
	if strings.HasPrefix(digits, "-") {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}
