package proof

import (
	"context"
	"strconv"

	"github.com/eddyhq/eddy/shared/eddy"
)

// Counting adds to a counter, and then fails if it is told to.
type Counting struct {
	Counter string `json:"counter"`
	By      int64  `json:"by"`
	Fail    bool   `json:"fail,omitempty"`
}

// Counter is a count.
type Counter struct {
	Count int64 `json:"count"`
}

var counters = eddy.Scope[Counter]("proof-counters")

// Count adds to a counter and returns it, in a header too.
func Count(ctx context.Context, in Counting) (Counter, error) {
	counter, err := counters.Update(ctx, in.Counter, eddy.Increment("count", in.By))
	if err != nil {
		return Counter{}, err
	}
	if in.Fail {
		return Counter{}, eddy.ConditionNotMet("failing on purpose")
	}
	eddy.SetHeader(ctx, "X-Proof-Count", strconv.FormatInt(counter.Count, 10))
	return counter, nil
}

// Transferring moves an amount between two accounts, and asks for a receipt: a line in a journal.
type Transferring struct {
	From    string `json:"from"`
	To      string `json:"to"`
	Amount  int64  `json:"amount"`
	Receipt string `json:"receipt"`
}

// Account is a balance that is never below zero.
type Account struct {
	Balance int64 `json:"balance"`
}

var accounts = eddy.Scope[Account]("proof-accounts")

// Transfer does all of it or nothing.
func Transfer(ctx context.Context, in Transferring) (eddy.None, error) {
	return eddy.None{}, eddy.Transact(ctx, func(ctx context.Context) error {
		receipt := Message{Journal: in.Receipt, Text: in.From + " to " + in.To}
		if _, err := eddy.Enqueue(ctx, "proof-records", receipt); err != nil {
			return err
		}
		if _, err := accounts.Modify(ctx, in.To, add(in.Amount)); err != nil {
			return err
		}
		_, err := accounts.Modify(ctx, in.From, add(-in.Amount))
		return err
	})
}

// add returns the change of an account by an amount.
func add(amount int64) func(*Account) error {
	return func(account *Account) error {
		if account.Balance += amount; account.Balance < 0 {
			return eddy.ConditionNotMet("the balance would be %d", account.Balance)
		}
		return nil
	}
}

// Limited does nothing, as often as its route lets it.
func Limited(context.Context, eddy.None) (eddy.None, error) { return eddy.None{}, nil }
