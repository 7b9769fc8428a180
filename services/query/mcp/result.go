package mcp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/millrace/millrace/services/query/problem"
	"github.com/millrace/millrace/services/query/reader"
)

// result is a JSON document as text, which every client shows, and as a structure, for programs.
func result(document []byte) *sdk.CallToolResult {
	var short bytes.Buffer
	if json.Compact(&short, document) == nil { // some are written for people
		document = short.Bytes()
	}
	return &sdk.CallToolResult{
		Content:           []sdk.Content{&sdk.TextContent{Text: string(document)}},
		StructuredContent: json.RawMessage(document),
	}
}

// refused is an answer of the handler that is an error.
func refused(w *recorder) *sdk.CallToolResult {
	var p problem.Problem
	if err := json.Unmarshal(w.body.Bytes(), &p); err != nil || p.Code == "" {
		p = *problem.New(w.status, problem.Internal, "the query service answers with HTTP "+fmt.Sprint(w.status)+" "+http.StatusText(w.status))
	}
	return failed(&p, w.header.Get("Retry-After"))
}

// maxWords bounds the words of an error: ClickHouse may quote the whole statement.
const maxWords = 4 << 10

// failed is what is wrong with a call, for a model to mend: the words of the problem, and the problem itself.
func failed(err error, retryAfter string) *sdk.CallToolResult {
	p := *reader.Problem(err)
	if len(p.Detail) > maxWords {
		p.Detail = strings.ToValidUTF8(p.Detail[:maxWords], "") + " ..."
	}
	text := fmt.Sprintf("%s: %s (%s)", p.Title, p.Detail, p.Code)
	if retryAfter != "" {
		text += fmt.Sprintf("; ask again in %s s", retryAfter)
	}
	return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: text}}, StructuredContent: p, IsError: true}
}
