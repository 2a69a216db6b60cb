package main

import (
	"math"
	"slices"
)

// figures are the results of one round, or the medians of several, by name.
type figures map[string]float64

// get returns a figure; NaN when it was not measured.
func (f figures) get(name string) float64 {
	if v, ok := f[name]; ok {
		return v
	}
	return math.NaN()
}

// medians returns the median of each figure over the rounds that have it.
func medians(rounds []figures) figures {
	values := map[string][]float64{}
	for _, round := range rounds {
		for name, v := range round {
			values[name] = append(values[name], v)
		}
	}
	result := figures{}
	for name, v := range values {
		slices.Sort(v)
		result[name] = (v[(len(v)-1)/2] + v[len(v)/2]) / 2
	}
	return result
}

// percentile returns the smallest value that is not below the p-th part of sorted, p in (0, 1]; NaN for none.
func percentile[T ~int64 | ~float64](sorted []T, p float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	rank := int(math.Ceil(p * float64(len(sorted))))
	return float64(sorted[max(rank, 1)-1])
}
