// Package ratings lets readers rate books. A book's score is right after every rating, and subscribers see each one.
package ratings

import (
	"context"
	"errors"

	"github.com/eddyhq/eddy/shared/eddy"
)

// Rating is what a reader thinks of a book. Rating again replaces it.
type Rating struct {
	Book   string `json:"book"`
	Reader string `json:"reader"`
	Stars  int64  `json:"stars"`
}

// Score is the sum of the ratings of a book.
type Score struct {
	Ratings int64 `json:"ratings"`
	Stars   int64 `json:"stars"`
}

var (
	ratings = eddy.Scope[Rating]("ratings")
	scores  = eddy.Scope[Score]("scores")
	live    = eddy.Stream[Rating]("ratings-live")
)

// Register adds the functions of this package to the app.
func Register(app *eddy.App) {
	eddy.Register(app, "ratings::rate", Rate, eddy.HTTP("PUT /books/{book}/ratings/{reader}"), eddy.Uses(ratings))
	eddy.Register(app, "ratings::score", GetScore, eddy.HTTP("GET /books/{book}/score"), eddy.Uses(scores.ReadOnly()))
	eddy.React(app, "ratings::count", Count, ratings.Changes(), eddy.Uses(scores, live))
}

// Rate stores a rating. Book and reader come from the path, stars from the body.
func Rate(ctx context.Context, in Rating) (Rating, error) {
	if in.Stars < 1 || in.Stars > 5 {
		return Rating{}, eddy.Invalid("stars", "must be from 1 to 5")
	}
	return in, ratings.Set(ctx, in.Book+"/"+in.Reader, in)
}

// GetScore returns the score of a book.
func GetScore(ctx context.Context, in struct {
	Book string `json:"book"`
}) (Score, error) {
	return scores.Get(ctx, in.Book)
}

// Count takes effect exactly once for each rating: all of it, or nothing.
func Count(ctx context.Context, c eddy.Change[Rating]) error {
	if err := errors.Join(add(ctx, c.Old, -1), add(ctx, c.New, +1)); err != nil || c.New == nil {
		return err
	}
	return live.Group(c.New.Book).Send(ctx, "rated", *c.New)
}

func add(ctx context.Context, r *Rating, sign int64) error {
	if r == nil {
		return nil
	}
	return errors.Join(
		scores.Increment(ctx, r.Book, "ratings", sign),
		scores.Increment(ctx, r.Book, "stars", sign*r.Stars),
	)
}
