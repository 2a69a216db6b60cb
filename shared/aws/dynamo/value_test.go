package dynamo_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"pgregory.net/rapid"

	"github.com/eddyhq/eddy/shared/aws/dynamo"
	"github.com/eddyhq/eddy/shared/document"
)

// values generates documents of at most so many levels.
func values(levels int) *rapid.Generator[document.Value] {
	return rapid.Custom(func(t *rapid.T) document.Value {
		text := drawJSON(t, levels)
		v, err := document.Parse([]byte(text))
		if err != nil {
			t.Skipf("%s: %v", text, err)
		}
		return v
	})
}

func drawJSON(t *rapid.T, levels int) string {
	kinds := 6
	if levels == 0 {
		kinds = 4
	}
	switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
	case 0:
		return rapid.SampledFrom([]string{"null", "true", "false", `""`, "{}", "[]"}).Draw(t, "constant")
	case 1:
		return drawNumber(t)
	case 2, 3:
		return quoted(rapid.String().Draw(t, "text"))
	case 4:
		elements := make([]string, rapid.IntRange(0, 4).Draw(t, "length"))
		for i := range elements {
			elements[i] = drawJSON(t, levels-1)
		}
		return "[" + strings.Join(elements, ",") + "]"
	default:
		members := map[string]string{}
		for range rapid.IntRange(0, 4).Draw(t, "size") {
			members[rapid.StringN(1, 8, -1).Draw(t, "name")] = drawJSON(t, levels-1)
		}
		var text []string
		for name, member := range members {
			text = append(text, quoted(name)+":"+member)
		}
		return "{" + strings.Join(text, ",") + "}"
	}
}

// drawNumber draws numbers of up to 38 digits over the whole range.
func drawNumber(t *rapid.T) string {
	digits := rapid.StringMatching(`-?[1-9](\.[0-9]{1,37})?`).Draw(t, "digits")
	if rapid.Bool().Draw(t, "plain") {
		return fmt.Sprint(rapid.Int64().Draw(t, "integer"))
	}
	return fmt.Sprintf("%se%d", digits, rapid.IntRange(-130, 125).Draw(t, "exponent"))
}

func quoted(s string) string {
	text, _ := json.Marshal(strings.ToValidUTF8(s, "?"))
	return string(text)
}

// asStored returns the value as DynamoDB might give it back: numbers are written differently.
func asStored(v types.AttributeValue) types.AttributeValue {
	switch v := v.(type) {
	case *types.AttributeValueMemberM:
		for name, member := range v.Value {
			v.Value[name] = asStored(member)
		}
	case *types.AttributeValueMemberL:
		for i, element := range v.Value {
			v.Value[i] = asStored(element)
		}
	case *types.AttributeValueMemberN:
		v.Value = strings.ToUpper(v.Value)
	}
	return v
}

// asTold returns the value as the stream gives it to a Lambda.
func asTold(v types.AttributeValue) events.DynamoDBAttributeValue {
	switch v := v.(type) {
	case *types.AttributeValueMemberM:
		members := map[string]events.DynamoDBAttributeValue{}
		for name, member := range v.Value {
			members[name] = asTold(member)
		}
		return events.NewMapAttribute(members)
	case *types.AttributeValueMemberL:
		elements := []events.DynamoDBAttributeValue{}
		for _, element := range v.Value {
			elements = append(elements, asTold(element))
		}
		return events.NewListAttribute(elements)
	case *types.AttributeValueMemberN:
		return events.NewNumberAttribute(v.Value)
	case *types.AttributeValueMemberS:
		return events.NewStringAttribute(v.Value)
	case *types.AttributeValueMemberBOOL:
		return events.NewBooleanAttribute(v.Value)
	default:
		return events.NewNullAttribute()
	}
}

func checkRoundTrip(t interface {
	Helper()
	Fatalf(string, ...any)
}, v document.Value) {
	t.Helper()
	stored, err := dynamo.EncodeValue(v)
	if err != nil {
		t.Fatalf("encode %s: %v", v, err)
	}
	stored = asStored(stored)
	if got, err := dynamo.DecodeValue(stored); err != nil || string(got) != string(v) {
		t.Fatalf("%s came back as %s (%v)", v, got, err)
	}
	told, err := json.Marshal(asTold(stored))
	if err != nil {
		t.Fatalf("%s: %v", v, err)
	}
	var event events.DynamoDBAttributeValue
	if err := json.Unmarshal(told, &event); err != nil {
		t.Fatalf("%s: %v", told, err)
	}
	if got, err := dynamo.DecodeEventValue(event); err != nil || string(got) != string(v) {
		t.Fatalf("%s was told as %s (%v)", v, got, err)
	}
}

func TestValuesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) { checkRoundTrip(t, values(4).Draw(t, "document")) })
}

func TestAwkwardValuesComeBackAsTheyWere(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		`1e21`, `1e-130`, `9.9999999999999999999999999999999999999e125`, `-1e-130`, `12345678901234567890123456789012345678`,
		`0.1`, `-0`, `1e-7`, `"\u0000\u2028<>&\\\""`, `{"a":[],"b":{},"c":"","d":[[]]}`,
		strings.Repeat(`[`, 31) + strings.Repeat(`]`, 31), strings.Repeat(`{"a":`, 30) + `[1]` + strings.Repeat(`}`, 30),
		`{"ä":1,"a":2,"😀":3,"B":4}`,
	} {
		v, err := document.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		checkRoundTrip(t, v)
	}
}

func TestWhatIsNoDocumentIsNotRead(t *testing.T) {
	t.Parallel()
	for _, v := range []types.AttributeValue{
		&types.AttributeValueMemberB{}, &types.AttributeValueMemberSS{}, &types.AttributeValueMemberN{Value: "NaN"},
		&types.AttributeValueMemberN{Value: `"1"`}, &types.AttributeValueMemberN{Value: `null`}, &types.AttributeValueMemberN{},
		&types.AttributeValueMemberL{Value: []types.AttributeValue{&types.AttributeValueMemberBS{}}},
		&types.AttributeValueMemberM{Value: map[string]types.AttributeValue{"a": nil}},
		&types.AttributeValueMemberS{Value: "\xff"},
	} {
		if got, err := dynamo.DecodeValue(v); err == nil {
			t.Errorf("%T was read as %s", v, got)
		}
	}
}
