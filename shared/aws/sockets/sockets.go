// Package sockets keeps live streams on AWS: what the Lambdas of the two roles do that clients' WebSockets need.
//
//	WebSocket API -> Socket: join, leave, gone -> queue of the group -+
//	documents stream -> router: changes, events -> the same queue ----+-> Lanes -> stream.Lane -> Pusher -> @connections
//
// The queue is FIFO, with one message group for each group of a stream, so one group is handled by one run of Lanes at a
// time, in order. A run reads the state of the group from the system table (one read), takes its messages to a
// stream.Lane, pushes all frames that come of it at once, and puts the state down again (one write), on condition that it
// is still the state it read. Subscriptions are kept in the memory of the Lambda by the revision of the state, so that
// they are queried only after somebody else changed them.
//
// # Why a subscriber misses nothing
//
// A frame is pushed before the state says so. A run that ends in between, or finds that somebody else moved on, leaves its
// messages in the queue: they are handled again from the state as it was, which numbers them again as it did. So frames
// can be repeated with the same position and version; none is left out, and none overtakes another. A connection that
// cannot be given a frame is ended, so that its client begins anew.
//
// # Why a join tells nothing twice
//
// The snapshot of a join may be ahead of the records that are still on their way to the queue. The state remembers which
// versions passed the lane lately; for whatever the snapshot has that did not pass, deletions included, the subscription
// remembers the version, and is not told of changes up to it. What did not change for fifteen minutes is taken to have passed.
package sockets
