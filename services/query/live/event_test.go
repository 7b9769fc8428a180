package live

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/millrace/millrace/libs/event/frame"
	"github.com/millrace/millrace/libs/testkit"
)

// TestManyKeys: of a thousand keys, each value is what was sent: a number, or text that looks like one.
func TestManyKeys(t *testing.T) {
	const keys = 1000
	row1 := testkit.Row{Source: "web", Type: "track", Properties: map[string]string{}, PropertiesNum: map[string]float64{}}
	for i := range keys {
		k := fmt.Sprintf("key %d", i)
		if row1.Properties[k] = fmt.Sprint(i); i%2 == 0 {
			row1.PropertiesNum[k] = float64(i)
		}
	}
	row1.Properties["empty"], row1.PropertiesNum["empty"] = "", 1 // a frame that is not ours
	view := frame.NewView(frame.RowSchema)
	if err := view.Parse(testkit.Block(0, 1, row1).AppendNative(nil)); err != nil {
		t.Fatal(err)
	}
	var got struct{ Properties map[string]any }
	if err := json.Unmarshal(appendEvent(nil, 0, 1, row{view, 0}), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Properties) != keys+1 || got.Properties["empty"] != "" {
		t.Errorf("%d keys", len(got.Properties))
	}
	for i := range keys {
		want := any(fmt.Sprint(i))
		if i%2 == 0 {
			want = float64(i)
		}
		if v := got.Properties[fmt.Sprintf("key %d", i)]; v != want {
			t.Errorf("key %d is %#v", i, v)
		}
	}
}
