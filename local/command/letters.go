package command

import (
	"encoding/json"
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/eddyhq/eddy/local/remote"
)

const lettersAbout = `
A dead letter is a delivery that failed for the last time. It is kept until it is redriven, which delivers it once
more when what made it fail is mended, or discarded.

  list                      what failed, why and how often; of all functions unless one is named
  redrive|discard ID…       these, of the function or queue that is named
  redrive|discard -all      all that are there, of the function or queue that is named, or of -everything`

func lettersCommand() Command {
	return Command{
		Name: "dead-letters", Arguments: "list | redrive ID…|-all | discard ID…|-all",
		Summary: "Lists deliveries that failed for the last time, delivers them again or drops them", about: lettersAbout,
		run: func(c *call) error {
			l := letters{
				call:       c,
				function:   c.flags.String("function", "", "only letters of the function with this `id`"),
				queue:      c.flags.String("queue", "", "only letters of the function of the queue with this `name`"),
				json:       c.flags.Bool("json", false, "list one JSON object a line"),
				all:        c.flags.Bool("all", false, "settle all letters that are there"),
				everything: c.flags.Bool("everything", false, "with -all: of all functions"),
			}
			application := c.applicationFlags()
			arguments, err := c.parse(1_000_000)
			if err != nil {
				return err
			}
			if err := l.check(arguments[0], arguments[1:]); err != nil {
				return err
			}
			if l.client, err = c.connect(application); err != nil {
				return err
			}
			defer l.client.Close()
			return explain(l.do(arguments[0], arguments[1:]), l.client.URL)
		},
	}
}

// letters is the dead letters that a call is about.
type letters struct {
	*call
	client                *remote.Client
	function, queue       *string
	json, all, everything *bool
}

func (l letters) check(action string, ids []string) error {
	named := *l.function != "" || *l.queue != ""
	switch {
	case action != "list" && action != "redrive" && action != "discard":
		return misuse("%q is neither list, redrive nor discard", action)
	case *l.function != "" && *l.queue != "":
		return misuse("give -function or -queue, not both")
	case action == "list" && (len(ids) > 0 || *l.all || *l.everything):
		return misuse("list takes -function, -queue and -json")
	case action == "list":
		return nil
	case *l.json:
		return misuse("-json is for list")
	case *l.all == (len(ids) > 0):
		return misuse("give the ids of dead letters, or -all")
	case *l.everything && (named || !*l.all):
		return misuse("-everything stands with -all, in place of -function and -queue")
	case !named && !*l.everything:
		return misuse("say of what: -function ID or -queue NAME, or -everything with -all")
	default:
		return nil
	}
}

func (l letters) do(action string, ids []string) error {
	if action == "list" {
		return l.list()
	}
	settled, err := l.settle(action, ids)
	if err != nil && settled == 0 {
		return err
	}
	fmt.Fprintf(l.Stdout, "%d %s\n", settled, map[string]string{"redrive": "redriven", "discard": "discarded"}[action])
	return err
}

// letter is a dead letter as queue::dead_letters shows it.
type letter struct {
	ID       string `json:"id"`
	Function string `json:"function_id"`
	Queue    string `json:"queue"`
	Code     string `json:"code"`
	Message  string `json:"message"`
	Attempts int    `json:"attempts"`
	Last     string `json:"last_at"`
}

// each calls do with every letter, as text and as far as it is known here.
func (l letters) each(do func(text json.RawMessage, shown letter) error) error {
	payload := l.of()
	for {
		var page struct {
			Items  []json.RawMessage `json:"items"`
			Cursor string            `json:"cursor"`
		}
		if err := l.client.Invoke(l.ctx, "queue::dead_letters", payload, &page); err != nil {
			return err
		}
		for _, item := range page.Items {
			var shown letter
			if err := json.Unmarshal(item, &shown); err != nil {
				return fmt.Errorf("read a dead letter: %w", err)
			}
			if err := do(item, shown); err != nil {
				return err
			}
		}
		if page.Cursor == "" {
			return nil
		}
		payload["cursor"] = page.Cursor
	}
}

// of is the payload that names the function or the queue.
func (l letters) of() map[string]any {
	payload := map[string]any{}
	if *l.function != "" {
		payload["function_id"] = *l.function
	}
	if *l.queue != "" {
		payload["queue"] = *l.queue
	}
	return payload
}

func (l letters) list() error {
	if *l.json {
		return l.each(func(text json.RawMessage, _ letter) error {
			_, err := fmt.Fprintf(l.Stdout, "%s\n", text)
			return err
		})
	}
	table := tabwriter.NewWriter(l.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "FUNCTION\tID\tATTEMPTS\tLAST\tERROR")
	err := l.each(func(_ json.RawMessage, s letter) error {
		_, err := fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s: %s\n", s.Function, s.ID, s.Attempts, s.Last, s.Code, s.Message)
		return err
	})
	if err != nil {
		return err
	}
	return table.Flush()
}

// maxIDs is how many ids one call settles.
const maxIDs = 100

// settle redrives or discards, and returns how many letters there were.
func (l letters) settle(action string, ids []string) (settled int64, err error) {
	if *l.everything {
		return l.settleEverything(action)
	}
	if *l.all {
		return l.settleAll(action, l.of())
	}
	for part := range slices.Chunk(ids, maxIDs) {
		payload := l.of()
		payload["ids"] = part
		done, err := l.ask(action, payload)
		settled += done.count()
		if err != nil {
			return settled, err
		}
	}
	return settled, nil
}

func (l letters) settleEverything(action string) (settled int64, err error) {
	var functions []string
	err = l.each(func(_ json.RawMessage, shown letter) error {
		if !slices.Contains(functions, shown.Function) {
			functions = append(functions, shown.Function)
		}
		return nil
	})
	for _, f := range functions {
		var n int64
		if err == nil {
			n, err = l.settleAll(action, map[string]any{"function_id": f})
			settled += n
		}
	}
	return settled, err
}

func (l letters) settleAll(action string, payload map[string]any) (settled int64, err error) {
	payload["all"] = true
	for {
		done, err := l.ask(action, payload)
		settled += done.count()
		if err != nil || done.Cursor == "" {
			return settled, err
		}
		payload["cursor"] = done.Cursor
	}
}

// outcome is what queue::redrive and queue::discard tell.
type outcome struct {
	Redriven  int64  `json:"redriven"`
	Discarded int64  `json:"discarded"`
	Cursor    string `json:"cursor"` // says that there are more
}

func (o outcome) count() int64 { return o.Redriven + o.Discarded }

func (l letters) ask(action string, payload map[string]any) (done outcome, err error) {
	err = l.client.Invoke(l.ctx, "queue::"+action, payload, &done)
	return done, err
}
