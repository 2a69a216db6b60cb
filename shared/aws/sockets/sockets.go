// Package sockets keeps live streams on AWS: what the Lambdas of the two roles do that clients' WebSockets need.
//
//	WebSocket API -> Socket: join, leave, gone -> queue of the group -+
//	documents stream -> router: changes, events -> the same queue ----+-> Lanes -> stream.Lane -> Pusher -> @connections
//
// The queue is FIFO with a message group for each live group, so that one run of Lanes at a time handles a group, in
// order. A run reads the state of the group (one read), takes its messages to a stream.Lane, pushes all frames that
// come of it at once, and puts the state down again (one write) on condition that the stored one is still what it
// read. Subscriptions stay in the memory of the Lambda, under the revision of the state: they are queried only after
// somebody else changed them. A group that nobody is subscribed to costs the one read.
//
// # Why a subscriber misses nothing
//
// A frame is pushed before the state says so. A run that ends in between, or finds that somebody else moved on, leaves
// its messages in the queue. They are handled again from the state as it was, and get the numbers that they had. So a
// frame can come again, with the same version and position (in another epoch, when the group had no state yet); none
// is left out, and none overtakes another. A connection that cannot be given a frame is ended: its client begins anew.
//
// The state names the messages that led to it, for a queue that did not hear of their end, and what passed the lane
// lately, for a router that begins again. The latter is bounded. What is older than the last 500 items and events
// may be told again, as may an event to those who have joined since.
//
// # Why a join tells nothing twice
//
// Its snapshot may be ahead of the records that are still on their way to the lane. For whatever it has that did not
// pass, deletions included, the group remembers that this join knows it, and the connection is not told of changes up
// to there. What nobody saw pass, but did not change for fifteen minutes either, is taken to have passed.
package sockets
