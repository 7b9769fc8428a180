package mcp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/millrace/millrace/services/query/problem"
	"github.com/millrace/millrace/services/query/reader"
)

// rowsFormat is ClickHouse's with a row a line, after a line of names and one of types: the rows before the end of what
// fits are whole.
const (
	rowsFormat = "JSONCompactEachRowWithNamesAndTypes"
	headLines  = 2
)

// Rows is an answer of SQL.
type Rows struct {
	Columns []Column          `json:"columns"`
	Rows    []json.RawMessage `json:"rows"` // lists of values in the order of the columns
	// Truncated: there are more rows than these.
	Truncated bool   `json:"truncated,omitempty"`
	Note      string `json:"note,omitempty"` // what to do about it
	QueryID   string `json:"query_id"`
}

// Column is one of the answer, with its type in ClickHouse.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// rowsResult makes a result of what was kept.
func rowsResult(w *recorder, smaller string) *sdk.CallToolResult {
	if f := w.header.Get(reader.HeaderFormat); f != "" && f != rowsFormat {
		return failed(badArguments("the statement names the format %s: leave FORMAT out, the answer is rows here", f), "")
	}
	rows, err := readRows(w.body.Bytes(), w.over)
	if err != nil {
		return failed(problem.New(http.StatusInternalServerError, problem.Internal, err.Error()), "")
	}
	rows.QueryID = w.header.Get(reader.HeaderQueryID)
	if rows.Truncated {
		if len(rows.Rows) == 0 {
			return failed(problem.New(http.StatusRequestEntityTooLarge, problem.TooLarge,
				fmt.Sprintf("the first row is larger than %d bytes: %s", MaxBytes, smaller)), "")
		}
		rows.Note = fmt.Sprintf("these are the first %d rows, there are more: let ClickHouse count, group or sort and LIMIT them, or %s", len(rows.Rows), smaller)
	}
	text, err := json.Marshal(rows)
	if err != nil {
		return failed(fmt.Errorf("write the rows: %w", err), "")
	}
	return result(text)
}

// readRows takes the lines apart. When there is more than was kept, the last line may be a part of one.
func readRows(body []byte, over bool) (*Rows, error) {
	rows := &Rows{Columns: []Column{}, Rows: []json.RawMessage{}, Truncated: over}
	var head [headLines][]string
	for n := 0; ; n++ {
		line, rest, whole := bytes.Cut(body, []byte{'\n'})
		if !whole && (over || len(bytes.TrimSpace(line)) == 0) {
			break
		}
		body = rest
		if n >= headLines {
			if !json.Valid(line) {
				return nil, fmt.Errorf("ClickHouse's row %d is no JSON", n-headLines+1)
			}
			rows.Rows = append(rows.Rows, line)
			continue
		}
		if err := json.Unmarshal(line, &head[n]); err != nil {
			return nil, fmt.Errorf("the head of ClickHouse's answer cannot be read: %w", err)
		}
	}
	names, types := head[0], head[1]
	if len(names) != len(types) && !over {
		return nil, fmt.Errorf("ClickHouse names %d columns and %d types", len(names), len(types))
	}
	for i := range min(len(names), len(types)) {
		rows.Columns = append(rows.Columns, Column{names[i], types[i]})
	}
	return rows, nil
}
