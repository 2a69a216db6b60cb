// Package crash holds the gateway to its central promise, with real processes: kill it at any moment, start it again on
// the same data, and every acknowledged write is there, every change has run its reactions once, every counter is right.
//
// It contains tests only. The test binary executes itself as the gateway (see TestMain), so that what is killed is what
// users run, and with -race is checked for races too.
//
//	go test ./local/crash                             a bounded run, part of make test
//	go test ./local/crash -run Kill -crashes 200 -v   more of it, with the figures at the end
//	go test ./local/crash -seed 42                    the choices of an earlier run; the moments remain the machine's
//
// Each client writes only documents of its own and keeps a journal of what was answered (journal_test.go). A write whose
// answer was lost leaves two possible states behind; whatever is found after the restart must be one of them.
//
// SIGKILL takes the process, not the machine: what the operating system held is still there. That acknowledged writes
// survive the loss of everything that was not synced is tested where the syncs are made, in package pebblestore.
package crash
