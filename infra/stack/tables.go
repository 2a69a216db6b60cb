package stack

import (
	"github.com/aws/aws-cdk-go/awscdk/v2/awsdynamodb"
	"github.com/aws/jsii-runtime-go"

	"github.com/eddyhq/eddy/shared/deployed"
)

// drawTables draws the table of documents, with its stream, and the table of everything else.
func (d *drawing) drawTables() {
	d.documents = d.drawTable("Documents", &awsdynamodb.CfnTable_StreamSpecificationProperty{
		StreamViewType: jsii.String("NEW_AND_OLD_IMAGES"),
	})
	d.system = d.drawTable("System", nil)
}

// drawTable draws a table that is paid by request, encrypted, and can be restored to any moment of the last 35 days.
// CloudFormation names it: a kept table is not in the way of the next stack.
func (d *drawing) drawTable(
	name string, stream *awsdynamodb.CfnTable_StreamSpecificationProperty,
) awsdynamodb.CfnTable {
	text := jsii.String("S")
	props := &awsdynamodb.CfnTableProps{
		AttributeDefinitions: []any{
			&awsdynamodb.CfnTable_AttributeDefinitionProperty{AttributeName: jsii.String(deployed.PK), AttributeType: text},
			&awsdynamodb.CfnTable_AttributeDefinitionProperty{AttributeName: jsii.String(deployed.SK), AttributeType: text},
		},
		KeySchema: []any{
			&awsdynamodb.CfnTable_KeySchemaProperty{AttributeName: jsii.String(deployed.PK), KeyType: jsii.String("HASH")},
			&awsdynamodb.CfnTable_KeySchemaProperty{AttributeName: jsii.String(deployed.SK), KeyType: jsii.String("RANGE")},
		},
		BillingMode:      jsii.String("PAY_PER_REQUEST"),
		SseSpecification: &awsdynamodb.CfnTable_SSESpecificationProperty{SseEnabled: jsii.Bool(true)},
		PointInTimeRecoverySpecification: &awsdynamodb.CfnTable_PointInTimeRecoverySpecificationProperty{
			PointInTimeRecoveryEnabled: jsii.Bool(true),
		},
		TimeToLiveSpecification: &awsdynamodb.CfnTable_TimeToLiveSpecificationProperty{
			AttributeName: jsii.String(deployed.Expires),
			Enabled:       jsii.Bool(true),
		},
		DeletionProtectionEnabled: jsii.Bool(d.props.Keep),
	}
	if stream != nil {
		props.StreamSpecification = stream
	}
	table := awsdynamodb.NewCfnTable(d.root, jsii.String(name), props)
	table.ApplyRemovalPolicy(d.removal(), nil)
	return table
}
