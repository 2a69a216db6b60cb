package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// machine remembers how much the whole machine and this program had worked, to tell how much others took.
type machine struct {
	busy, total time.Duration // of all processors
	own         time.Duration // of this program and its children that ended
}

func observeMachine() (machine, error) {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return machine{}, err
	}
	var m machine
	if m.busy, m.total, err = processorTimes(string(stat)); err != nil {
		return machine{}, err
	}
	self, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return machine{}, err
	}
	own, children, err := processTimes(string(self))
	if err != nil {
		return machine{}, err
	}
	m.own = own + children
	return m, nil
}

// processorTimes reads the first line of /proc/stat.
func processorTimes(stat string) (busy, total time.Duration, err error) {
	line, _, _ := strings.Cut(stat, "\n")
	fields := strings.Fields(line)
	const first, idle, iowait, last = 1, 4, 5, 8 // user … steal
	if len(fields) <= last {
		return 0, 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	for i := first; i <= last; i++ {
		ticks, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, 0, err
		}
		spent := time.Duration(ticks) * clockTick
		total += spent
		if i != idle && i != iowait {
			busy += spent
		}
	}
	return busy, total, nil
}

// takenByOthers returns the part of the processors' time since m that neither this program nor its servers used. The
// kernel's own threads count as others.
func (m machine) takenByOthers() (float64, error) {
	now, err := observeMachine()
	if err != nil {
		return 0, err
	}
	others := (now.busy - m.busy) - (now.own - m.own)
	return max(0, float64(others)/float64(now.total-m.total)), nil
}
