// Package stream gives live streams their meaning: the engine functions stream::* over port.Documents, the frames that
// clients send and receive, and the Lane, which is the life of one stream group.
//
//	stream::set, eddy.Stream -> port.Documents -> log -> Lane -> Sink -> sockets
//	socket -> ParseClientFrame -> Join -> Lane: snapshot, sync frame, subscription
//
// A stream has groups, a group has items. An item is an object that carries its own id. The items of a group are the
// documents of one port.Collection, and everything that happens to them passes one lane in the order of the log. Whoever
// drives lanes (sockets of this machine, a queue of message groups elsewhere) finds no socket in this package.
package stream

import (
	"fmt"
	"unicode/utf8"

	"github.com/eddyhq/eddy/shared/document"
	"github.com/eddyhq/eddy/shared/errs"
	"github.com/eddyhq/eddy/shared/port"
)

// The limits of live streams.
const (
	MaxItem    = 100 * 1024 // bytes of an item, and of the data of an event, as canonical JSON
	MaxMessage = 128 * 1024 // bytes of a frame to a client
	MaxSync    = 64 << 20   // bytes of all frames that answer one join

	maxStream       = 256  // bytes of a stream's name
	maxGroup        = 512  // bytes of a group's id
	maxCollection   = 1024 // bytes of both as one port.Collection, where '/', '%' and control bytes count three
	maxItemID       = 512  // bytes of an item's id
	maxEventType    = 256  // bytes of the type of an event
	maxSubscription = 256  // bytes of a subscription's id
)

// Group returns the collection of a stream group. A stream is named by 1 to 256 bytes and a group by 1 to 512, both
// UTF-8; together they fill at most a collection of 1,024 bytes, in which '/', '%' and control bytes count three. Anything
// else is an invalid_argument that lists stream_name and group_id.
func Group(stream, group string) (port.Collection, error) {
	c, faults := collection(stream, "stream_name", group, "group_id")
	if faults != nil {
		return "", errs.Invalid(faults...)
	}
	return c, nil
}

// collection returns the collection of a group, or what is wrong with the two names, by the fields they came in.
func collection(stream, streamField, group, groupField string) (port.Collection, []errs.Detail) {
	var faults []errs.Detail
	faults = checkName(faults, streamField, stream, maxStream)
	faults = checkName(faults, groupField, group, maxGroup)
	if faults != nil {
		return "", faults
	}
	c := port.Group(stream, group)
	if len(c) > maxCollection {
		return "", []errs.Detail{{Field: groupField, Problem: "is too long together with the name of the stream"}}
	}
	return c, nil
}

// CheckItem says whether id can name an item: 1 to 512 bytes of UTF-8. If not, it returns an invalid_argument for item_id.
func CheckItem(id string) error {
	if faults := checkName(nil, "item_id", id, maxItemID); faults != nil {
		return errs.Invalid(faults...)
	}
	return nil
}

func checkName(faults []errs.Detail, field, name string, longest int) []errs.Detail {
	problem := ""
	switch {
	case name == "":
		problem = "must not be empty"
	case len(name) > longest:
		problem = fmt.Sprintf("must not be longer than %d bytes", longest)
	case !utf8.ValidString(name):
		problem = "must be UTF-8"
	default:
		return faults
	}
	return append(faults, errs.Detail{Field: field, Problem: problem})
}

// Item returns value as the item with the id: an object whose member id is that id, set if it was missing. Whoever stores an
// item stores what Item returned. It fails with invalid_argument, listing faults by their place in the item, when
// value is no object or carries another id, and with too_large when the item is larger than MaxItem.
func Item(id string, value document.Value) (document.Value, error) {
	if !value.IsObject() {
		return nil, errs.Invalid(errs.Detail{Problem: "must be an object: the items of a stream are objects"})
	}
	quoted, err := document.From(id)
	if err != nil {
		return nil, err
	}
	switch found := value.Field("id"); {
	case found == nil:
		value = value.WithField("id", quoted)
	case string(found) != string(quoted):
		return nil, errs.Invalid(errs.Detail{Field: "id", Problem: fmt.Sprintf("must be %s, the id of the item, or absent", quoted)})
	}
	if len(value) > MaxItem {
		return nil, errs.New(errs.TooLarge, "the item has %d bytes of JSON, more than the %d an item may have", len(value), MaxItem)
	}
	return value, nil
}

// CheckEvent says whether an event can be sent: its type has 1 to 256 bytes of UTF-8, its item, if it names one, is one
// that CheckItem accepts, else it is an invalid_argument; and its data has at most MaxItem bytes, else it is too_large.
func CheckEvent(e port.Event) error {
	faults := checkName(nil, "type", e.Type, maxEventType)
	if e.Item != "" {
		faults = checkName(faults, "id", e.Item, maxItemID)
	}
	if faults != nil {
		return errs.Invalid(faults...)
	}
	if len(e.Data) > MaxItem {
		return errs.New(errs.TooLarge, "the event has %d bytes of JSON data, more than the %d it may have", len(e.Data), MaxItem)
	}
	return nil
}
