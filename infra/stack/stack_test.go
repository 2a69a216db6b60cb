package stack_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-cdk-go/awscdk/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/eddyhq/eddy/functions"
	"github.com/eddyhq/eddy/infra/stack"
	"github.com/eddyhq/eddy/shared/deployed"
	"github.com/eddyhq/eddy/shared/eddy"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	lambdaKind  = "AWS::Lambda::Function"
	mappingKind = "AWS::Lambda::EventSourceMapping"
	queueKind   = "AWS::SQS::Queue"
	tableKind   = "AWS::DynamoDB::Table"
	routeKind   = "AWS::ApiGatewayV2::Route"
	logsKind    = "AWS::Logs::LogGroup"
)

func dev() stack.Props { return stack.Props{Name: "eddy-dev"} }

func prod() stack.Props { return stack.Props{Name: "eddy-prod", Keep: true} }

func TestEveryFunctionAndRoleHasItsLambda(t *testing.T) {
	t.Parallel()
	app := functions.App()
	d := draw(t, app, dev())

	ids := deployed.Roles()
	for _, f := range app.Functions() {
		ids = append(ids, f.ID)
	}
	want := make(map[string]string)
	for _, id := range ids {
		want[deployed.LambdaName("eddy-dev", id)] = id
	}
	got := make(map[string]string)
	for _, l := range d.of(lambdaKind) {
		name := l.properties["FunctionName"].(string)
		got[name] = at(l.properties, "Environment", "Variables", deployed.EnvFunction).(string)
		for _, name := range []string{deployed.EnvStack, deployed.EnvDocuments, deployed.EnvSystem, deployed.EnvQueues} {
			if at(l.properties, "Environment", "Variables", name) == nil {
				t.Errorf("%s has no %s", l.id, name)
			}
		}
		if text(at(l.properties, "Architectures")) != `["arm64"]` || l.properties["Runtime"] != "provided.al2023" {
			t.Errorf("%s runs on %v %v", l.id, l.properties["Architectures"], l.properties["Runtime"])
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Lambdas (-want +got):\n%s", diff)
	}
}

func TestALambdaHasTheOptionsOfItsFunction(t *testing.T) {
	t.Parallel()
	d := draw(t, small(), dev())
	type options struct {
		Memory, Timeout, Concurrency, Visibility, Receives any
	}
	got := make(map[string]options)
	for _, l := range d.of(lambdaKind) {
		id := l.properties["Description"].(string)
		o := options{Memory: l.properties["MemorySize"], Timeout: l.properties["Timeout"]}
		for _, q := range d.of(queueKind) {
			if q.properties["QueueName"] == deployed.QueueName("eddy-dev", id) {
				o.Visibility = q.properties["VisibilityTimeout"]
				o.Receives = at(q.properties, "RedrivePolicy", "maxReceiveCount")
			}
		}
		for _, m := range d.of(mappingKind) {
			if at(m.properties, "FunctionName", "Ref") == l.id && m.file == l.file && !strings.Contains(m.id, "Router") {
				o.Concurrency = at(m.properties, "ScalingConfig", "MaximumConcurrency")
			}
		}
		got[id] = o
	}
	want := map[string]options{
		"notes::get":    {512., 4., 2., 24., 100.},
		"notes::import": {256., 30., 6., 180., 100.},
		"notes::count":  {256., 30., 6., 180., 100.},
		"notes::tell":   {256., 30., 6., 180., 100.},
		"mail::send":    {256., 900., 6., 5400., 1000.},
		"eddy::edge":    {256., 30., nil, nil, nil},
		"eddy::router":  {512., 60., nil, nil, nil},
		"eddy::lanes":   {512., 60., 100., 360., 100.},
		"eddy::socket":  {256., 30., nil, nil, nil},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("options (-want +got):\n%s", diff)
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	d := draw(t, small(), dev())
	got := make(map[string]string)
	for _, r := range d.of(routeKind) {
		got[r.properties["RouteKey"].(string)+" "+r.file] = r.properties["AuthorizationType"].(string)
	}
	file := ""
	for name := range d.templates {
		if strings.Contains(name, "notes") {
			file = name
		}
	}
	const root = "eddy-dev.template.json"
	want := map[string]string{
		"GET /notes/{id} " + file:          "NONE",
		"GET /n/{id} " + file:              "NONE",
		"POST /notes/import " + file:       "NONE",
		deployed.RouteAdmin + " " + root:   "AWS_IAM",
		deployed.RouteHealth + " " + root:  "NONE",
		deployed.RouteConnect + " " + root: "NONE", deployed.RouteDisconnect + " " + root: "NONE",
		"$default " + root: "NONE", // of both APIs
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	if defaults := len(d.of(routeKind)); defaults != len(want)+1 {
		t.Errorf("%d routes", defaults)
	}
	for _, i := range d.of("AWS::ApiGatewayV2::Integration") {
		if i.properties["PayloadFormatVersion"] == "2.0" && i.properties["TimeoutInMillis"].(float64) > 30_000 {
			t.Errorf("%s takes %v ms", i.id, i.properties["TimeoutInMillis"])
		}
	}
}

func TestOnlyListedOriginsMayCall(t *testing.T) {
	t.Parallel()
	cors := func(app *eddy.App) any {
		for _, api := range draw(t, app, dev()).of("AWS::ApiGatewayV2::Api") {
			if api.properties["ProtocolType"] == "HTTP" {
				return api.properties["CorsConfiguration"]
			}
		}
		return "no API"
	}
	if got := text(cors(small0())); got != "null" {
		t.Errorf("without origins: %s", got)
	}
	want := `{"AllowHeaders":["*"],"AllowMethods":["GET","HEAD","POST","PUT","PATCH","DELETE"],"AllowOrigins":["https://example.org"],` +
		`"ExposeHeaders":["X-Request-Id","X-Next-Cursor","Retry-After","Idempotent-Replayed"],"MaxAge":600}`
	if diff := cmp.Diff(want, text(cors(small()))); diff != "" {
		t.Errorf("with origins (-want +got):\n%s", diff)
	}
}

// wildcards are the resources that have no name when a stack is drawn, with why.
var wildcards = []*regexp.Regexp{
	regexp.MustCompile(`:log-group:/aws/lambda/[a-z0-9_-]+:\*$`), // log streams: one for each start of a Lambda
	regexp.MustCompile(`/live/(POST|DELETE)/@connections/\*$`),   // connections: whoever connects
}

func TestPermissionsNameWhatTheyAllow(t *testing.T) {
	t.Parallel()
	d := draw(t, small(), dev())
	statements := 0
	for _, r := range d.resources {
		for _, s := range statementsOf(r) {
			statements++
			if at(s, "Effect") == "Deny" {
				continue // the policies of queues deny all of it to whoever does not use TLS
			}
			for _, action := range list(at(s, "Action")) {
				if strings.Contains(action.(string), "*") || action == "dynamodb:Scan" {
					t.Errorf("%s allows %v", r.id, action)
				}
			}
			for _, named := range list(at(s, "Resource")) {
				if arn := joined(named); strings.Contains(arn, "*") && !slices.ContainsFunc(wildcards, func(w *regexp.Regexp) bool { return w.MatchString(arn) }) {
					t.Errorf("%s allows %v on %s", r.id, at(s, "Action"), arn)
				}
			}
		}
	}
	if statements < 40 {
		t.Errorf("only %d statements were looked at", statements)
	}
}

// statementsOf returns the statements of all policies of a resource.
func statementsOf(r resource) []any {
	found := list(at(r.properties, "PolicyDocument", "Statement"))
	for _, p := range list(at(r.properties, "Policies")) {
		found = append(found, list(at(p, "PolicyDocument", "Statement"))...)
	}
	return found
}

func list(value any) []any {
	switch value := value.(type) {
	case nil:
		return nil
	case []any:
		return value
	default:
		return []any{value}
	}
}

// joined is a text, or an Fn::Join of texts and references, with the references left out.
func joined(value any) string {
	var b strings.Builder
	for _, part := range list(at(value, "Fn::Join", 1)) {
		if literal, ok := part.(string); ok {
			b.WriteString(literal)
		}
	}
	if literal, ok := value.(string); ok {
		return literal
	}
	return b.String()
}

func TestTheRouterMaySendToEveryQueueAndTheEdgeInvokeEveryFunction(t *testing.T) {
	t.Parallel()
	app := many(100)
	d := draw(t, app, dev())
	var queues, lambdas []string
	for _, p := range d.of("AWS::IAM::ManagedPolicy") {
		if size := len(text(p.properties["PolicyDocument"])); size > 40*400 {
			t.Errorf("%s has %d characters", p.id, size)
		}
		for _, s := range statementsOf(p) {
			for _, named := range list(at(s, "Resource")) {
				switch arn := joined(named); text(at(s, "Action")) {
				case `["sqs:SendMessage"]`:
					queues = append(queues, arn)
				case `["lambda:InvokeFunction"]`:
					lambdas = append(lambdas, arn)
				}
			}
		}
	}
	if len(queues) != 101 || len(lambdas) != 100 {
		t.Errorf("%d queues and %d Lambdas are named", len(queues), len(lambdas))
	}
	for _, r := range d.of("AWS::IAM::Role") {
		if n := len(list(r.properties["ManagedPolicyArns"])); n > 10 {
			t.Errorf("%s has %d policies, more than a role takes", r.id, n)
		}
	}
}

func TestWhatIsDeliveredLaterHasAPlaceForWhatFails(t *testing.T) {
	t.Parallel()
	d := draw(t, small(), dev())
	mappings := d.of(mappingKind)
	if len(mappings) != 5+3 { // functions; the stream, crashed deliveries and lanes
		t.Errorf("%d mappings", len(mappings))
	}
	redriven := make(map[string]bool)
	for _, q := range d.of(queueKind) {
		redriven[q.file+" "+q.id] = at(q.properties, "RedrivePolicy", "deadLetterTargetArn") != nil
	}
	for _, m := range mappings {
		source := m.properties["EventSourceArn"]
		id, _ := at(source, "Fn::GetAtt", 0).(string)
		stream := at(m.properties, "DestinationConfig", "OnFailure", "Destination") != nil &&
			m.properties["MaximumRecordAgeInSeconds"] == 86400. && m.properties["MaximumRetryAttempts"] == 10000. && m.properties["BisectBatchOnFunctionError"] == true
		if !stream && !redriven[m.file+" "+id] {
			t.Errorf("%s reads %s, which keeps nothing of what fails", m.id, text(source))
		}
		if text(m.properties["FunctionResponseTypes"]) != `["ReportBatchItemFailures"]` {
			t.Errorf("%s fails as a whole", m.id)
		}
	}
}

func TestWhatIsStoredIsEncryptedAndKept(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name     string
		props    stack.Props
		deletion string
		days     float64
	}{
		{"while a development stack is there", dev(), "Delete", 7},
		{"beyond a stack that keeps its data", prod(), "Retain", 90},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			d := draw(t, small(), test.props)
			keep := test.props.Keep
			if n := len(d.of(tableKind)); n != 2 {
				t.Errorf("%d tables", n)
			}
			for _, table := range d.of(tableKind) {
				if at(table.properties, "SSESpecification", "SSEEnabled") != true ||
					at(table.properties, "PointInTimeRecoverySpecification", "PointInTimeRecoveryEnabled") != true ||
					at(table.properties, "TimeToLiveSpecification", "AttributeName") != deployed.Expires ||
					table.properties["BillingMode"] != "PAY_PER_REQUEST" || table.properties["DeletionProtectionEnabled"] != keep ||
					table.properties["TableName"] != nil ||
					table.whole["DeletionPolicy"] != test.deletion || table.whole["UpdateReplacePolicy"] != test.deletion {
					t.Errorf("%s: %s", table.id, text(table.whole))
				}
			}
			if len(d.of(logsKind)) != len(d.of(lambdaKind))+1 {
				t.Errorf("%d log groups for %d Lambdas", len(d.of(logsKind)), len(d.of(lambdaKind)))
			}
			for _, logs := range d.of(logsKind) {
				if logs.properties["RetentionInDays"] != test.days || logs.whole["DeletionPolicy"] != test.deletion {
					t.Errorf("%s: %s", logs.id, text(logs.whole))
				}
			}
			for _, q := range d.of(queueKind) {
				if q.properties["SqsManagedSseEnabled"] != true || q.properties["MessageRetentionPeriod"] != 14*24*3600. {
					t.Errorf("%s: %s", q.id, text(q.properties))
				}
			}
			if len(d.of("AWS::SQS::QueuePolicy")) != len(d.of(queueKind)) {
				t.Errorf("%d of %d queues refuse what is not encrypted on its way", len(d.of("AWS::SQS::QueuePolicy")), len(d.of(queueKind)))
			}
		})
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	d := draw(t, small(), dev())
	reserved := regexp.MustCompile(`^(AWS_|LAMBDA_|_HANDLER$|_X_AMZN_TRACE_ID$|TZ$|LANG$|LC_|PATH$|LD_)`)
	for _, l := range d.of(lambdaKind) {
		for name := range at(l.properties, "Environment", "Variables").(map[string]any) {
			if reserved.MatchString(name) {
				t.Errorf("%s sets %s, which Lambda reserves", l.id, name)
			}
		}
	}
	for _, q := range d.of(queueKind) {
		name := q.properties["QueueName"].(string)
		if fifo := q.properties["FifoQueue"] == true; fifo != strings.HasSuffix(name, ".fifo") || !fifo && name != "eddy-dev-stream-failures" {
			t.Errorf("%s is called %s", q.id, name)
		}
	}
	for _, r := range d.of(routeKind) {
		key := r.properties["RouteKey"].(string)
		if (strings.Contains(key, " /_eddy") || strings.Contains(key, " /stream")) && key != deployed.RouteAdmin && key != deployed.RouteHealth {
			t.Errorf("%s is %s", r.id, key)
		}
	}
	outputs := slices.Sorted(maps.Keys(d.root["Outputs"].(map[string]any)))
	if diff := cmp.Diff([]string{"DocumentsTable", "HttpUrl", "Region", "SystemTable", "WebSocketUrl"}, outputs); diff != "" {
		t.Errorf("outputs (-want +got):\n%s", diff)
	}
}

// The limits of CloudFormation on one template.
const (
	maxResources  = 500
	maxParameters = 200
	maxOutputs    = 200
	maxBytes      = 1_000_000
)

func TestAHundredFunctionsFitIntoCloudFormation(t *testing.T) {
	t.Parallel()
	d := draw(t, many(100), dev())
	perFile := make(map[string]int)
	for _, r := range d.resources {
		perFile[r.file]++
	}
	for file, n := range perFile {
		if n > maxResources || len(d.templates[file]) > maxBytes {
			t.Errorf("%s has %d resources and %d bytes", file, n, len(d.templates[file]))
		}
	}
	for _, nested := range d.of("AWS::CloudFormation::Stack") {
		if n := len(nested.properties["Parameters"].(map[string]any)); n > maxParameters {
			t.Errorf("%s has %d parameters", nested.id, n)
		}
	}
	if n := len(d.root["Outputs"].(map[string]any)); n > maxOutputs {
		t.Errorf("%d outputs", n)
	}
	if n := len(d.of(lambdaKind)); n != 100+4 {
		t.Errorf("%d Lambdas", n)
	}
	if len(perFile) < 4 {
		t.Errorf("%d templates", len(perFile))
	}
}

func TestMistakesAreReportedTogether(t *testing.T) {
	t.Parallel()
	app := eddy.New()
	eddy.Register(app, "a:b", none)
	wide := eddy.New()
	eddy.Register(wide, "a::b", none, eddy.Uses(eddy.Scope[note]("日")))
	long := eddy.New()
	var scopes []eddy.Handle
	for i := range 20 {
		scopes = append(scopes, eddy.Scope[note](fmt.Sprintf("%d%s", i, strings.Repeat("x", 500))))
	}
	eddy.Register(long, "a::b", none, eddy.Uses(scopes...))
	for _, test := range []struct {
		name  string
		app   *eddy.App
		props stack.Props
		want  []string
	}{
		{"of the registry and of the props", app, stack.Props{Name: "Eddy", Shards: 3, RouterBatch: -1, Bootstrap: t.TempDir()}, []string{
			`the id "a:b"`, `the name of the stack is "Eddy"`, "is 3: it must be a power of two", "the batch of the router is -1", "build it first"}},
		{"names that IAM cannot hold", wide, stack.Props{Name: "eddy", Bootstrap: bootstrap(t)}, []string{`a::b uses "日"`}},
		{"more than an IAM policy holds", long, stack.Props{Name: "eddy", Bootstrap: bootstrap(t)}, []string{"a::b uses so much"}},
	} {
		withCDK(t, func() {
			_, err := stack.New(awscdk.NewApp(nil), test.app, test.props)
			for _, want := range test.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s: %v does not say %q", test.name, err, want)
				}
			}
		})
	}
}

var assetHash = regexp.MustCompile(`[0-9a-f]{64}`)

func TestGolden(t *testing.T) {
	t.Parallel()
	d := draw(t, small(), dev())
	for file, got := range d.templates {
		got = append(bytes.TrimSpace(assetHash.ReplaceAll(got, []byte("HASH"))), '\n')
		path := filepath.Join("testdata", file)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s; write it anew with -update (-want +got):\n%s", path, diff)
		}
	}
	if files, err := os.ReadDir("testdata"); err != nil || len(files) != len(d.templates) {
		t.Errorf("%d golden files for %d templates: %v", len(files), len(d.templates), err)
	}
}

func TestWhatHappensOnAWebSocketReachesOneLambda(t *testing.T) {
	t.Parallel()
	d := draw(t, small(), dev())
	routes := make(map[string]resource)
	targets := make(map[string]bool)
	for _, r := range d.of(routeKind) {
		if strings.HasPrefix(r.id, "Socket") {
			routes[r.id] = r
			targets[text(r.properties["Target"])] = true
		}
	}
	if len(routes) != 3 || len(targets) != 1 {
		t.Errorf("%d routes lead to %d integrations", len(routes), len(targets))
	}
	for _, stage := range d.of("AWS::ApiGatewayV2::Stage") {
		if stage.properties["StageName"] != "live" {
			continue
		}
		if after := list(stage.whole["DependsOn"]); len(after) != len(routes) {
			t.Errorf("the stage comes after %v, not after every route", after)
		}
	}
	if responses := d.of("AWS::ApiGatewayV2::RouteResponse"); len(responses) > 0 {
		t.Errorf("%d routes respond, with an empty frame to whatever is sent", len(responses))
	}
}

func TestOnlyTheAPIsInvokeWhatTheyLeadTo(t *testing.T) {
	t.Parallel()
	d := draw(t, small(), dev())
	got := make(map[string]int)
	for _, p := range d.of("AWS::Lambda::Permission") {
		if p.properties["Principal"] != "apigateway.amazonaws.com" || p.properties["Action"] != "lambda:InvokeFunction" {
			t.Errorf("%s: %s", p.id, text(p.properties))
		}
		got[joined(p.properties["SourceArn"])]++
	}
	want := map[string]int{ // partition, region, account and the id of the API are references
		"arn::execute-api:::/*":      3, // two functions with routes, and the edge
		"arn::execute-api:::/live/*": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
}

func TestAlarms(t *testing.T) {
	t.Parallel()
	props := dev()
	props.AlarmTopic = "arn:aws:sns:eu-west-1:123456789012:alarms"
	for _, test := range []struct {
		name  string
		props stack.Props
		want  string
	}{
		{"tell nobody without a topic", dev(), `null`},
		{"tell a topic", props, `["arn:aws:sns:eu-west-1:123456789012:alarms"]`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var watched []string
			for _, a := range draw(t, small(), test.props).of("AWS::CloudWatch::Alarm") {
				if text(a.properties["AlarmActions"]) != test.want || text(a.properties["OKActions"]) != test.want {
					t.Errorf("%s tells %v", a.id, a.properties["AlarmActions"])
				}
				name, _ := a.properties["MetricName"].(string)
				for _, m := range list(a.properties["Metrics"]) {
					if metric, ok := at(m, "MetricStat", "Metric", "MetricName").(string); ok && !strings.Contains(name, metric) {
						name = strings.TrimSpace(name + " " + metric)
					}
				}
				watched = append(watched, name)
			}
			slices.Sort(watched)
			want := []string{
				"5xx", "ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesVisible",
				"DeadLetters", "IteratorAge", "ReadThrottleEvents WriteThrottleEvents", "Throttles",
			}
			if diff := cmp.Diff(want, watched); diff != "" {
				t.Errorf("metrics (-want +got):\n%s", diff)
			}
		})
	}
}
