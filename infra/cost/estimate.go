package main

import (
	"fmt"
	"math"
)

// load is what an application does in a month of 730 hours.
type load struct {
	requests    float64 // of HTTP, writes among them
	writes      float64 // of documents by requests
	reactions   float64 // runs of functions for each of those writes
	ticks       float64 // of schedules
	subscribers float64 // connected, on average
	pushes      float64 // frames to them
	functions   float64
	memory      float64 // MB of a function
	millis      float64 // of a run of a function
	document    float64 // KB
	frame       float64 // KB
	batch       float64 // records or deliveries that one run is given, on average
	stored      float64 // GB
	logged      float64 // bytes that a run logs
	kept        float64 // months that logs are kept
	pollers     float64 // of each queue while it is idle
}

// What the stack and the Lambdas of the roles add, where it is not for the user to say.
const (
	secondsInMonth = 730 * 3600
	minutesInMonth = 730 * 60

	pollSeconds  = 20 // Lambda's pollers wait as long as SQS lets them
	ownQueues    = 2  // lanes, crashed deliveries
	alarmMetrics = 14
	ownMetrics   = 1

	routerMemory = 512 // MB
	lanesMemory  = 512
	routerMillis = 10 // of a run
	lanesMillis  = 10
	pushMillis   = 1 // of each frame, beside other pushes

	inTransaction   = 2   // DynamoDB charges double
	cursorUnits     = 1   // of a reaction: how far it came
	outboxUnits     = 1   // of an event on its way to a lane
	laneUnits       = 1   // of the state of a lane
	requestsOfQueue = 3   // send, receive, delete
	accessLogBytes  = 300 // of a request
)

const (
	bytesInGB  = 1 << 30
	kbInGB     = 1 << 20
	mbInGB     = 1 << 10
	millisIn   = 1_000
	readUnitKB = 4
	frameKB    = 32
	queueKB    = 64
)

// line is one line of a bill.
type line struct {
	price    string // its name in the list
	quantity float64
}

// estimate returns the lines of a month's bill. Sizes are rounded up as AWS does it. It counts on no luck: each request
// reads, and no deliveries are committed together.
func estimate(l load) []line {
	events := 0.0 // that lanes push
	if l.subscribers > 0 {
		events = l.pushes / l.subscribers
	}
	reactions := l.writes * l.reactions
	records := l.writes + reactions + events // of the documents' stream
	routerRuns, reactionRuns, laneRuns := records/l.batch, reactions/l.batch, events/l.batch
	runs := l.requests + routerRuns + reactionRuns + laneRuns + l.ticks

	functionTime := (l.requests + reactions + l.ticks) * l.millis * l.memory
	roleTime := routerRuns*routerMillis*routerMemory + (laneRuns*lanesMillis+l.pushes*pushMillis)*lanesMemory
	documentUnits := math.Ceil(l.document)
	writeUnits := l.writes*documentUnits +
		(reactions+l.ticks)*inTransaction*(documentUnits+cursorUnits) +
		events*(inTransaction*outboxUnits+laneUnits)
	readUnits := (l.requests - l.writes + reactions + events) * math.Ceil(l.document/readUnitKB)
	deliveries := (reactions+events)/l.batch + l.ticks
	logGB := (runs*l.logged + l.requests*accessLogBytes) / bytesInGB
	return []line{
		{"http-request", l.requests},
		{"lambda-run", runs},
		{"lambda-time", (functionTime + roleTime) / millisIn / mbInGB},
		{"dynamo-write", writeUnits},
		{"dynamo-read", readUnits},
		{"dynamo-storage", l.stored},
		{"dynamo-recovery", l.stored},
		{"schedule-tick", l.ticks},
		{"queue-request", deliveries * requestsOfQueue * math.Ceil(l.document*l.batch/queueKB)},
		{"queue-poll", (l.functions + ownQueues) * l.pollers * secondsInMonth / pollSeconds},
		{"socket-message", l.pushes * math.Ceil(l.frame/frameKB)},
		{"socket-minute", l.subscribers * minutesInMonth},
		{"log-ingestion", logGB},
		{"log-storage", logGB * l.kept},
		{"alarm", alarmMetrics},
		{"metric", ownMetrics},
		{"transfer", (l.requests*l.document + l.pushes*l.frame) / kbInGB},
	}
}

// validate returns what is wrong with the load.
func (l load) validate() error {
	switch {
	case l.writes > l.requests:
		return fmt.Errorf("%.0f writes are more than the %.0f requests they are part of", l.writes, l.requests)
	case l.pushes > 0 && l.subscribers == 0:
		return fmt.Errorf("%.0f pushes reach no subscriber", l.pushes)
	case l.batch < 1:
		return fmt.Errorf("a batch of %v is less than one record", l.batch)
	}
	return nil
}
