// Package localstack holds the deployed shape to the promises of one process on a laptop: it deploys the stack as a user
// does, with the CDK's own commands, to an endpoint that speaks AWS, and runs local/conformance against its URLs.
//
// It contains tests only, and scripts that start something to deploy to:
//
//	make test-aws          ministack.sh: a server from PyPI that runs the Lambdas as plain processes
//	make test-localstack   localstack.sh and compose.yaml: LocalStack, in Docker
//	make test-deployed     EDDY_AWS_ENDPOINT: the URL of any such server, or "aws" for the account of your credentials
//
// What is deployed is what a user gets, a template that infra/stack draws and the one binary of an app: here of the proof app
// (functions/testdata/proof), which is the one that ships with queues, a schedule and what fails on purpose beside it. Three
// things stand between the deployment and ministack, and none of them on AWS:
//
//	cdk_test.go           takes two kinds of resources out of the template that ministack refuses
//	executor_test.go      the Lambda service's half of the Runtime API: it keeps the deployed binary's processes warm
//	                      where ministack would take a tenth of a second for each call, and makes up for what ministack
//	                      drops of an answer, and for the time that it does not put into a tick
//	connections_test.go   what lies before @connections: API Gateway's limits on what is pushed, which ministack has not
//
// What ministack does not show: that API Gateway throttles a route (it takes the setting), and that DynamoDB removes an expired
// document (it takes no TTL from a template, and tells no stream of a removal).
//
// The flow of a run: build the binary, synthesise once, cdk bootstrap, cdk deploy, the suite, the cases that only a
// deployment has, cdk deploy and cdk diff again, cdk destroy.
package localstack
