package host

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/aws/fifo"
	"github.com/eddyhq/eddy/shared/aws/sender"
	"github.com/eddyhq/eddy/shared/aws/sockets"
	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/eddy"
	"github.com/eddyhq/eddy/shared/reaction"
)

// wiring makes the parts of a Lambda of its environment.
type wiring struct {
	*engine
	config   aws.Config
	stack    string
	queues   string // what a queue's URL is before its name
	endpoint string // of @connections
}

func newWiring(app *eddy.App, getenv func(string) string, config aws.Config, logger *slog.Logger) (*wiring, error) {
	var missing []string
	env := func(name string) string {
		value := getenv(name)
		if value == "" {
			missing = append(missing, name)
		}
		return value
	}
	w := &wiring{
		engine: &engine{app: app, logger: logger}, config: config,
		stack: env(deployed.EnvStack), queues: env(deployed.EnvQueues),
	}
	w.lambdas = newInvoker(w.config, env(deployed.EnvLambdas), w.stack)
	tables := dynamo.Options{
		Documents: env(deployed.EnvDocuments), System: env(deployed.EnvSystem), Owner: getenv(deployed.EnvFunction),
		NewID: newID, Logger: logger,
	}
	if tables.Owner == deployed.RoleLanes || tables.Owner == deployed.RoleSocket {
		w.endpoint = env(deployed.EnvSockets)
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("the environment lacks %s, which the stack sets: deploy it again", strings.Join(missing, ", "))
	}
	w.Store = dynamo.New(dynamo.NewClient(w.config), tables)
	return w, nil
}

// configOf returns what Lambda puts into the environment of every function. The SDK's own look into all the places where a
// configuration can be costs more than the rest of a cold start together.
func configOf(getenv func(string) string) aws.Config {
	cfg := aws.Config{
		Region:     getenv("AWS_REGION"),
		HTTPClient: sender.New(),
		Credentials: credentials.NewStaticCredentialsProvider(
			getenv("AWS_ACCESS_KEY_ID"), getenv("AWS_SECRET_ACCESS_KEY"), getenv("AWS_SESSION_TOKEN")),
	}
	if endpoint := getenv("AWS_ENDPOINT_URL"); endpoint != "" {
		cfg.BaseEndpoint = aws.String(endpoint)
	}
	return cfg
}

// newInvoker returns what invokes the Lambdas of a stack at an endpoint, or at the one that a configuration has for all.
func newInvoker(cfg aws.Config, endpoint, stack string) *invoker {
	if cfg.BaseEndpoint != nil {
		endpoint = *cfg.BaseEndpoint
	}
	return &invoker{config: cfg, signer: v4.NewSigner(), endpoint: strings.TrimSuffix(endpoint, "/"), stack: stack}
}

func (w *wiring) queueURL(id string) string { return w.queues + deployed.QueueName(w.stack, id) }

func (w *wiring) sqs() *sqs.Client { return sqs.NewFromConfig(w.config) }

func (w *wiring) newFunction(f *eddy.Function) handler {
	receiver := fifo.NewReceiver(f, fifo.ReceiverOptions{
		App: w.app, Runner: reaction.NewRunner(w.engine, w.logger), Ledger: w.engine, Client: w.sqs(),
		QueueURL: w.queueURL(f.ID), GetBlob: w.GetBlob, Bury: w.bury, Logger: w.logger,
	})
	return newFunction(w.engine, f, receiver)
}

func (w *wiring) newRouter() handler {
	return &router{
		engine: w.engine,
		router: fifo.NewRouter(w.app, fifo.RouterOptions{
			Client: w.sqs(), QueueURL: w.queueURL, PutBlob: w.PutBlob, Resolve: w.Resolve, Bury: w.bury, Logger: w.logger,
		}),
		crashed: fifo.NewCrashed(w.app, fifo.CrashedOptions{
			Documents: w.Store, Ledger: w.Store, GetBlob: w.GetBlob, Bury: w.bury, Logger: w.logger,
		}),
	}
}

func (w *wiring) newLanes() handler {
	state := dynamo.NewLanes(w.Store)
	return lanes{sockets.NewLanes(sockets.LanesOptions{
		Store: state, Push: w.pusher(state).Push, GetBlob: w.GetBlob,
		Queue: w.sqs(), QueueURL: w.queueURL(deployed.RoleLanes),
		NewEpoch: newEpoch, Now: time.Now, Logger: w.logger,
	})}
}

func (w *wiring) newSocket() handler {
	state := dynamo.NewLanes(w.Store)
	return socket{sockets.NewSocket(sockets.SocketOptions{
		App: w.app, State: state, Push: w.pusher(state).Push,
		Queue: w.sqs(), QueueURL: w.queueURL(deployed.RoleLanes),
		Now: time.Now, Logger: w.logger,
	})}
}

func (w *wiring) pusher(state *dynamo.Lanes) *sockets.Pusher {
	return sockets.NewPusher(sockets.PusherOptions{
		Client: sockets.NewClient(w.config, w.endpoint), Closed: state.Closed, Logger: w.logger,
	})
}

// newEpoch names one life of a live group, in few characters: every frame carries them.
func newEpoch() string {
	const length = 13 // of base 32: 65 random bits
	return rand.Text()[:length]
}
