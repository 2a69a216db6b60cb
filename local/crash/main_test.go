package crash_test

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/eddyhq/eddy/local/gateway"
)

// asGateway is set in the environment of a process that is to be the gateway.
const asGateway = "EDDY_CRASH_GATEWAY"

var (
	crashes    = flag.Int("crashes", defaultCrashes, "how often TestKill kills the gateway")
	operations = flag.Int("operations", defaultOperations, "how many operations TestFlat makes")
	seed       = flag.Uint64("seed", 0, "of every choice the clients make; 0 draws one")
)

func TestMain(m *testing.M) {
	switch began := os.Getenv(asQuickGateway); {
	case began != "":
		if err := serveQuickly(began); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	case os.Getenv(asGateway) != "":
		gateway.Main(app())
	}
	goleak.VerifyTestMain(m)
}
