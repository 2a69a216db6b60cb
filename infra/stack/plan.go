package stack

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/eddy"
)

// What one nested stack takes. CloudFormation's limit is 500 resources a stack.
const (
	maxFunctions = 40
	maxResources = 450
	nearlyFull   = 0.8
)

// What a function is made of.
const (
	resourcesOfFunction = 7 // Lambda, role, log group, metric filter, queue, policy of the queue, mapping
	resourcesOfRoutes   = 2 // integration, permission; and one for each route
	resourcesOfTicks    = 1 // role; and one for each schedule
)

// plainArea is the area of ids without one.
const plainArea = "main"

// A group is the functions of one nested stack.
type group struct {
	name      string // "todos", or "todos-1" and so on
	functions []*eddy.Function
}

func (g group) resources() int {
	sum := 0
	for _, f := range g.functions {
		sum += resourcesOfFunction
		if len(f.Routes) > 0 {
			sum += resourcesOfRoutes + len(f.Routes)
		}
		if len(f.Schedules) > 0 {
			sum += resourcesOfTicks + len(f.Schedules)
		}
	}
	return sum
}

// throttles reports whether a route of the group says how many requests it lets through.
func (g group) throttles() bool {
	return slices.ContainsFunc(g.functions, func(f *eddy.Function) bool {
		return slices.ContainsFunc(f.Routes, func(r *eddy.Route) bool { return r.Rate > 0 })
	})
}

func (g group) fits() bool { return len(g.functions) <= maxFunctions && g.resources() <= maxResources }

func (g group) nearlyFull() bool {
	return float64(len(g.functions)) > nearlyFull*maxFunctions || float64(g.resources()) > nearlyFull*maxResources
}

// plan divides the functions into nested stacks: one for each area, the text before the first "::". An area that is too
// large is spread over a power of two of them by the digest of ids: where a function lies depends on nothing but its id
// and that number. Names of Lambdas and queues would clash if a function moved from one stack to another.
func plan(app *eddy.App, props Props) ([]group, error) {
	if err := checkRoutes(app, props); err != nil {
		return nil, err
	}
	areas := make(map[string][]*eddy.Function)
	var order []string
	for _, f := range app.Functions() {
		area := areaOf(f.ID)
		if areas[area] == nil {
			order = append(order, area)
		}
		areas[area] = append(areas[area], f)
	}
	var groups []group
	var faults []error
	for _, area := range order {
		divided, err := divide(area, areas[area], props.Shards)
		groups, faults = append(groups, divided...), append(faults, err)
	}
	return groups, errors.Join(faults...)
}

func areaOf(id string) string {
	area, _, found := strings.Cut(id, "::")
	if !found {
		return plainArea
	}
	return area
}

// divide spreads the functions of an area over as few groups as take them, and at least shards.
func divide(area string, functions []*eddy.Function, shards int) ([]group, error) {
	for ; shards <= maxShards; shards *= 2 {
		groups := make([]group, shards)
		for i := range groups {
			groups[i].name = area
			if shards > 1 {
				groups[i].name += "-" + strconv.Itoa(i+1)
			}
		}
		for _, f := range functions {
			g := &groups[digest(f.ID)%uint64(shards)]
			g.functions = append(g.functions, f)
		}
		if !slices.ContainsFunc(groups, func(g group) bool { return !g.fits() }) {
			return slices.DeleteFunc(groups, func(g group) bool { return len(g.functions) == 0 }), nil
		}
	}
	return nil, fmt.Errorf("the area %s has %d functions, which are more than %d nested stacks take: divide the area",
		area, len(functions), maxShards)
}

func digest(id string) uint64 {
	sum := sha256.Sum256([]byte(id))
	return binary.BigEndian.Uint64(sum[:])
}

// ownRoutes are the routes of the HTTP API that no function has.
const ownRoutes = 3

func checkRoutes(app *eddy.App, props Props) error {
	if n := len(app.Routes()) + ownRoutes; n > props.MaxRoutes {
		return fmt.Errorf("the app needs %d routes (%d are Eddy's own) and an API has %d: ask for a higher quota of routes "+
			"per API in Service Quotas, then say so with -c max-routes=%d", n, ownRoutes, props.MaxRoutes, n)
	}
	return nil
}

// A warning is what may go wrong with a stack that can be drawn. The id is what acknowledges it.
type warning struct{ id, text string }

// warnings returns what a deployment of the groups may run into.
func warnings(groups []group, props Props) []warning {
	var found []warning
	lambdas := len(deployed.Roles())
	for _, g := range groups {
		lambdas += len(g.functions)
		if g.nearlyFull() {
			found = append(found, warning{"eddy:full", fmt.Sprintf("the nested stack %s has %d of %d functions and %d of %d "+
				"resources. Past that its functions are spread anew, and CloudFormation refuses to move what is deployed: "+
				"register further functions in another area, or destroy the stack before",
				g.name, len(g.functions), maxFunctions, g.resources(), maxResources)})
		}
		for _, f := range g.functions {
			if most := sideBySide(f.Concurrency); most > f.Concurrency {
				found = append(found, warning{"eddy:concurrency", fmt.Sprintf("%s has Concurrency(%d): a queue keeps at least %d "+
					"Lambdas busy, so that up to %d deliveries of different lanes run at a time", f.ID, f.Concurrency, minPollers, most)})
			}
		}
	}
	if lambdas > props.Concurrency {
		found = append(found, warning{"eddy:account", fmt.Sprintf("%d Lambdas share the account's quota of concurrent "+
			"executions, taken to be %d, as in a new account: requests beyond it are refused. Ask for more in Service Quotas "+
			"(Lambda, Concurrent executions), then say so with -c concurrency=1000", lambdas, props.Concurrency)})
	}
	return found
}
