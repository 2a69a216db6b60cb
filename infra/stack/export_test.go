package stack

import (
	"github.com/eddyhq/eddy/shared/eddy"
)

// Filters is what the mapping of the documents' stream lets through.
func Filters(app *eddy.App) []string { return filters(app) }

// FunctionPolicy is the IAM policy of a function, where ARNs are short.
func FunctionPolicy(app *eddy.App, f *eddy.Function) []map[string]any {
	return functionPolicy(app, f, resources{
		documents: "documents", system: "system", queue: "queue",
		lambda: func(id string) string { return "lambda " + id },
	})
}

// ScheduleExpression is when a schedule is due on AWS.
func ScheduleExpression(s *eddy.Schedule) string { return scheduleExpression(s) }

// Planned is a nested stack as it is planned.
type Planned struct {
	Name      string
	Functions []string
}

// Plan divides the functions of an app into nested stacks, and tells what to warn of.
func Plan(app *eddy.App, props Props) (planned []Planned, warned []string, err error) {
	props = props.withDefaults()
	groups, err := plan(app, props)
	for _, g := range groups {
		p := Planned{Name: g.name}
		for _, f := range g.functions {
			p.Functions = append(p.Functions, f.ID)
		}
		planned = append(planned, p)
	}
	for _, w := range warnings(groups, props) {
		warned = append(warned, w.text)
	}
	return planned, warned, err
}
