package stack

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/aws/constructs-go/constructs/v10"
	"github.com/aws/jsii-runtime-go"
)

// DefaultStage is the stage that is deployed when none is named.
const DefaultStage = "dev"

// KeptStage is the stage whose data outlives its stack.
const KeptStage = "prod"

// FromContext returns the props that the context of the CDK says, on its command line (`cdk deploy -c stage=prod`) or
// in cdk.json. The stack of a stage is called "eddy-<stage>".
//
//	stage          dev when there is none; prod keeps its data
//	bootstrap      Props.Bootstrap, the folder dist/bootstrap when there is none
//	alarms         Props.AlarmTopic
//	rate, burst    Props.RequestRate, Props.RequestBurst
//	router-batch   Props.RouterBatch
//	router-parallel  Props.RouterParallel
//	shards         Props.Shards
//	max-routes     Props.MaxRoutes
//	concurrency    Props.Concurrency
func FromContext(scope constructs.Construct) (Props, error) {
	var faults []error
	text := func(key, standard string) string {
		switch value := scope.Node().TryGetContext(jsii.String(key)).(type) {
		case nil:
			return standard
		case string:
			return value
		case float64: // cdk.json may say 10 or "10"
			return strconv.FormatFloat(value, 'f', -1, 64)
		default:
			faults = append(faults, fmt.Errorf("the context %s must be a text or a number, not %v", key, value))
			return standard
		}
	}
	number := func(key string) int {
		value := text(key, "0")
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 || n > math.MaxInt32 {
			faults = append(faults, fmt.Errorf("the context %s must be a number, not %q", key, value))
		}
		return n
	}
	stage := text("stage", DefaultStage)
	props := Props{
		Name:           "eddy-" + stage,
		Keep:           stage == KeptStage,
		Bootstrap:      text("bootstrap", "dist/bootstrap"),
		AlarmTopic:     text("alarms", ""),
		RequestRate:    number("rate"),
		RequestBurst:   number("burst"),
		RouterBatch:    number("router-batch"),
		RouterParallel: number("router-parallel"),
		Shards:         number("shards"),
		MaxRoutes:      number("max-routes"),
		Concurrency:    number("concurrency"),
	}
	return props, errors.Join(faults...)
}
