package query

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/jsonschema-go/jsonschema"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/millrace/millrace/libs/testkit"
	"github.com/millrace/millrace/services/query/mcp"
	"github.com/millrace/millrace/services/query/reports"
)

// The protocol with sessions that most clients speak, and the newest, which has none.
var protocols = []string{"2025-06-18", "2026-07-28"}

// Tools over HTTP, with the SDK's own client.
func TestTools(t *testing.T) {
	r := newRig(t, 1)
	r.twoSources()
	dir := t.TempDir()
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("access.yaml", gateKeys+`
  - {name: asker, key: the-key-of-the-asker, scopes: [ask, sql], sources: [shop]}
`)
	put("per-source.sql", perUser)
	r.svc, r.base = r.serve(func(c *Config) {
		c.AccessFile, c.Queries = filepath.Join(dir, "access.yaml"), dir
		r.must(c.WriteKeys.Set("shop:the-key-of-the-writer"))
	})
	t.Run("lists", func(t *testing.T) { listsTools(t, r) })
	t.Run("schemas", func(t *testing.T) { toolSchemas(t, r) })
	t.Run("answers", func(t *testing.T) { toolAnswers(t, r) })
	t.Run("errors", func(t *testing.T) { toolErrors(t, r) })
	t.Run("bounds", func(t *testing.T) { toolBounds(t, r) })
	t.Run("gone", func(t *testing.T) { goneCallers(t, r) })
	t.Run("requests", func(t *testing.T) { toolRequests(t, r) })
	t.Run("reload", func(t *testing.T) {
		put("more.sql", "-- One more.\nSELECT 1 AS one")
		testkit.Eventually(t, "the new query is a tool", func() bool {
			return slices.Contains(toolNames(t, r.connect("viewer", "")), "query_more")
		})
		if got := call(t, r.connect("viewer", ""), "query_more", nil); got.wrong || !strings.Contains(got.text, `"rows":[[1]]`) {
			t.Errorf("%+v", got)
		}
	})
	t.Run("away", func(t *testing.T) {
		if err := r.db.Kill(); err != nil {
			t.Fatal(err)
		}
		if got := call(t, r.connect("analyst", ""), "top", nil); !got.wrong || !strings.Contains(got.text, "(unavailable); ask again in 1 s") {
			t.Errorf("without ClickHouse: %+v", got)
		}
	})
}

// shown shows a key with every request.
type shown string

func (b shown) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer the-key-of-the-"+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

// connect is the SDK's client with a key, in a version of the protocol ("" is the newest).
func (r *rig) connect(key, version string) *sdk.ClientSession {
	r.Helper()
	session, err := r.tryConnect(key, version)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(func() { _ = session.Close() })
	return session
}

func (r *rig) tryConnect(key, version string) (*sdk.ClientSession, error) {
	client := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, &sdk.ClientOptions{
		ToolListChangedHandler: func(context.Context, *sdk.ToolListChangedRequest) { r.Error("a list of tools is said to have changed") },
	})
	return client.Connect(r.Context(), &sdk.StreamableClientTransport{
		Endpoint: r.base + mcp.Path, HTTPClient: &http.Client{Transport: shown(key)}, MaxRetries: -1,
	}, &sdk.ClientSessionOptions{ProtocolVersion: version})
}

func toolNames(t *testing.T, s *sdk.ClientSession) (names []string) {
	t.Helper()
	list, err := s.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
	}
	slices.Sort(names)
	return names
}

// outcome is what a tool answered.
type outcome struct {
	text  string
	wrong bool
	code  string // of the problem
}

func call(t *testing.T, s *sdk.ClientSession, tool string, args any) outcome {
	t.Helper()
	res, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: tool, Arguments: args})
	if err != nil {
		t.Fatalf("%s %v: %v", tool, args, err)
	}
	text, ok := res.Content[0].(*sdk.TextContent)
	if !ok || len(res.Content) != 1 {
		t.Fatalf("%s %v: %+v", tool, args, res)
	}
	o := outcome{text: text.Text, wrong: res.IsError}
	if res.IsError {
		o.code, _ = res.StructuredContent.(map[string]any)["code"].(string)
		return o
	}
	var document any
	if err := json.Unmarshal([]byte(text.Text), &document); err != nil || !reflect.DeepEqual(document, res.StructuredContent) {
		t.Errorf("%s %v: the text %.200s is not the structure: %v", tool, args, text.Text, err)
	}
	return o
}

func listsTools(t *testing.T, r *rig) {
	named := []string{"query_per-source"}
	reported := slices.Collect(func(yield func(string) bool) {
		for name := range reportResults() {
			yield(name)
		}
	})
	for _, version := range protocols {
		for key, want := range map[string][]string{
			"analyst":  slices.Concat(reported, named, []string{"columns", "sql"}),
			"viewer":   slices.Concat(reported, named),
			"asker":    {"user", "columns", "sql"},
			"operator": {"status"},
			"listener": nil,
		} {
			s := r.connect(key, version)
			if got := s.InitializeResult(); got.ProtocolVersion != version || got.Instructions != mcp.Instructions || got.ServerInfo.Name != "millrace" || got.Capabilities.Tools == nil {
				t.Errorf("%+v", got)
			}
			same(t, "tools of "+key, toolNames(t, s), want)
		}
	}
	if _, err := r.tryConnect("nobody", ""); err == nil || !strings.Contains(err.Error(), "Unauthorized") {
		t.Errorf("an unknown key: %v", err)
	}
}

// Every tool reads only, says so, and has a schema that is one, whose defaults it allows. Those of the reports are the
// catalogue's parameters.
func toolSchemas(t *testing.T, r *rig) {
	described := map[string]reports.Description{}
	for _, d := range r.svc.reports.Describe() {
		described[d.Name] = d
	}
	seen := 0
	for _, key := range []string{"analyst", "asker", "operator"} {
		for tool, err := range r.connect(key, "").Tools(t.Context(), nil) {
			if err != nil {
				t.Fatal(err)
			}
			if a := tool.Annotations; a == nil || !a.ReadOnlyHint || a.DestructiveHint == nil || *a.DestructiveHint || tool.Description == "" || tool.Title == "" {
				t.Errorf("%s: %+v", tool.Name, tool)
			}
			text, err := json.Marshal(tool.InputSchema)
			if err != nil {
				t.Fatal(err)
			}
			var s jsonschema.Schema
			if err := json.Unmarshal(text, &s); err != nil {
				t.Fatalf("%s: %v", tool.Name, err)
			}
			if _, err := s.Resolve(&jsonschema.ResolveOptions{ValidateDefaults: true}); err != nil {
				t.Errorf("%s: %v: %s", tool.Name, err, text)
			}
			d, ok := described[tool.Name]
			if !ok {
				continue
			}
			seen++
			var got, want, required []string
			for name, p := range s.Properties {
				typ, enum := p.Type, p.Enum
				if p.Items != nil {
					typ, enum = typ+" of "+p.Items.Type, p.Items.Enum
				}
				got = append(got, fmt.Sprint(name, " ", typ, " ", enum, " ", strings.Trim(string(p.Default), `"`), " ", p.Description))
			}
			for _, p := range d.Params {
				typ := map[string]string{"text": "string", "duration": "string", "time": "string"}[p.Type]
				if typ == "" {
					typ = p.Type
				}
				if p.Many {
					typ = "array of " + typ
				}
				want = append(want, fmt.Sprint(p.Name, " ", typ, " ", p.Enum, " ", p.Default, " ", p.About))
				if p.Required {
					required = append(required, p.Name)
				}
			}
			same(t, tool.Name, got, want)
			same(t, tool.Name+", required", s.Required, required)
		}
	}
	if seen != len(reportResults()) {
		t.Errorf("%d reports are tools", seen)
	}
}
