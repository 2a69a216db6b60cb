package localstack_test

import (
	"bytes"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/eddyhq/eddy/functions/testdata/proof"
	"github.com/eddyhq/eddy/local/conformance"
	"github.com/eddyhq/eddy/shared/deployed"
)

// deployment is the stack as it was deployed, and what stands before it on a server of this machine.
type deployment struct {
	endpoint
	cdk         cdk
	http        string       // the base URL of the HTTP API, without a slash at its end
	sockets     string       // the URL of the WebSocket API
	connections *connections // nil where pushes go to API Gateway itself
}

// deploy deploys the stack as a user does. It is destroyed when the test ends.
func deploy(t *testing.T, e endpoint) deployment {
	t.Helper()
	d := deployment{endpoint: e, cdk: newCDK(t, e)}
	d.cdk.run(t, "bootstrap", "--app", d.cdk.assembly())
	t.Cleanup(func() {
		d.cdk.run(t, "destroy", theStack, "--app", d.cdk.assembly(), "--force")
	})
	outputs, _ := d.cdk.deploy(t)
	d.http = strings.TrimSuffix(outputs["HttpUrl"], "/")
	d.sockets = strings.TrimSuffix(outputs["WebSocketUrl"], "/")
	if d.http == "" || d.sockets == "" {
		t.Fatalf("the outputs have no URLs: %v", outputs)
	}
	switch e.kind {
	case genuine:
	case container:
		d.http = d.rehost(t, d.http, "http")
		d.sockets = d.rehost(t, d.sockets, "ws")
	case ministack:
		d.http = d.byPath(t, d.http, "http")
		d.connections = newConnections(t, d.byPath(t, d.sockets, "http"))
		d.sockets = d.byPath(t, d.sockets, "ws")
		d.adopt(t)
	}
	return d
}

// byPath is the URL of an API at ministack, which has it below a path: nothing resolves the name of the API here.
func (d deployment) byPath(t *testing.T, api, scheme string) string {
	t.Helper()
	id, path := splitAPI(t, api)
	return scheme + strings.TrimPrefix(d.url, "http") + "/_aws/execute-api/" + id + path
}

// rehost is the URL of an API at LocalStack, whose domain resolves to this machine.
func (d deployment) rehost(t *testing.T, api, scheme string) string {
	t.Helper()
	id, path := splitAPI(t, api)
	server, err := url.Parse(d.url)
	if err != nil {
		t.Fatal(err)
	}
	return scheme + "://" + id + ".execute-api.localhost.localstack.cloud:" + server.Port() + path
}

// splitAPI returns the id of an API and the path of its stage.
func splitAPI(t *testing.T, api string) (id, path string) {
	t.Helper()
	at, err := url.Parse(api)
	if err != nil {
		t.Fatal(err)
	}
	id, _, _ = strings.Cut(at.Host, ".")
	return id, at.Path
}

// adopt makes every Lambda of the stack run in the executor, and whoever pushes push through the front.
func (d deployment) adopt(t *testing.T) {
	t.Helper()
	output := &journal{}
	path := filepath.Join(t.ArtifactDir(), "functions.log")
	t.Cleanup(func() {
		if err := os.WriteFile(path, output.text.Bytes(), 0o600); err != nil {
			t.Error(err)
		}
		for _, line := range output.alarms() {
			t.Errorf("a function said: %s", line)
		}
	})
	x := newExecutor(t, d.endpoint, output)
	for _, id := range ids() {
		beside := map[string]string{}
		if id == deployed.RoleLanes || id == deployed.RoleSocket {
			beside[deployed.EnvSockets] = d.connections.url
		}
		if err := x.adopt(t.Context(), deployed.LambdaName(theStack, id), beside); err != nil {
			t.Fatal(err)
		}
	}
}

// ids are the functions and roles that have a Lambda each.
func ids() []string {
	list := deployed.Roles()
	for _, f := range proof.App().Functions() {
		list = append(list, f.ID)
	}
	return list
}

// target is the deployment as the suite sees it.
func (d deployment) target() conformance.Target {
	return conformance.Target{
		HTTP: d.http,
		Sign: d.sign,
		WebSocket: func(stream, group, item string) string {
			query := url.Values{}
			for name, value := range map[string]string{"stream": stream, "group": group, "id": item} {
				if value != "" {
					query.Set(name, value)
				}
			}
			if len(query) == 0 {
				return d.sockets
			}
			return d.sockets + "?" + query.Encode()
		},
	}
}

// journal is what the functions print.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write keeps what several processes print.
func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

// onPurpose is in what the proof app says of failures that it was told to have.
const onPurpose = "on purpose"

// alarms are the lines that no function should ever print.
func (j *journal) alarms() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var found []string
	for line := range strings.Lines(j.text.String()) {
		for _, alarming := range []string{"panic: ", "fatal error: ", "panicked", "cannot start: ", "DATA RACE"} {
			if strings.Contains(line, alarming) && !strings.Contains(line, onPurpose) {
				found = append(found, strings.TrimSpace(line))
				break
			}
		}
	}
	return found
}
