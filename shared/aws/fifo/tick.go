package fifo

import (
	"github.com/eddyhq/eddy/shared/aws/message"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/port"
	"github.com/eddyhq/eddy/shared/reaction"
)

// Tick returns the message with which a scheduler has a function run for a tick of one of its schedules, and the lane that the
// message is of. It is what a Router would send. The time is the text of eddy.TickTime, or what the scheduler puts that text in
// the place of.
func Tick(app *eddy.App, f *eddy.Function, s *eddy.Schedule, at string) (body []byte, lane string, err error) {
	call := f.Tick(s, at, 0)
	record := message.Record{ID: call.ID, Record: port.Record{Target: f.ID, Call: &call}}
	lane = reaction.NewRouter(app).RouteTo(f, &record.Record).Lane
	body, err = message.Encode(message.Message{Function: f.ID, Lane: lane, Records: []message.Record{record}})
	return body, lane, err
}
