package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
)

//go:embed prices.json
var priceList []byte

// price is what so many of something cost.
type price struct {
	Dollars float64 `json:"dollars"`
	Per     float64 `json:"per"`
	Of      string  `json:"of"`
	What    string  `json:"what"`
	Source  string  `json:"source"`
}

// prices are those of one region, as they were on a date.
type prices struct {
	Region string           `json:"region"`
	Date   string           `json:"date"`
	Note   string           `json:"note"`
	Prices map[string]price `json:"prices"`
}

func readPrices(text []byte) (prices, error) {
	var p prices
	if err := json.Unmarshal(text, &p); err != nil {
		return p, fmt.Errorf("reading the prices: %w", err)
	}
	for name, one := range p.Prices {
		if one.Dollars <= 0 || one.Per <= 0 {
			return p, fmt.Errorf("the price %s is not above zero", name)
		}
	}
	return p, nil
}
