package sqlgate

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/millrace/millrace/services/query/access"
	"github.com/millrace/millrace/services/query/problem"
)

// ServeOpenAPI is GET /openapi.json: the document of the service, with a path for each named query if the key may ask them.
func (g *Gate) ServeOpenAPI(w http.ResponseWriter, r *http.Request) error {
	var named []Named
	if access.From(r.Context()).Allows(access.Reports) {
		named = g.named.List()
	}
	doc, err := document(g.cfg.Document, named)
	if err != nil {
		return problem.New(http.StatusInternalServerError, problem.Internal, err.Error())
	}
	return writeJSON(w, doc)
}

// document adds the named queries to an OpenAPI document, which names the path of them all once.
func document(base []byte, named []Named) (map[string]any, error) {
	var doc map[string]any
	if err := yaml.Unmarshal(base, &doc); err != nil {
		return nil, fmt.Errorf("OpenAPI document: %w", err)
	}
	const general = "/v1/queries/{name}"
	paths, _ := doc["paths"].(map[string]any)
	path, _ := paths[general].(map[string]any)
	get, _ := path["get"].(map[string]any)
	if get == nil {
		return nil, fmt.Errorf("OpenAPI document: there is no GET %s", general)
	}
	for _, q := range named {
		op := map[string]any{
			"operationId": "query_" + strings.ReplaceAll(q.Name, "-", "_"),
			"summary":     q.Summary,
			"responses":   get["responses"],
			"parameters":  q.parameters(get["parameters"]),
		}
		if q.Description != "" {
			op["description"] = q.Description
		}
		paths[strings.Replace(general, "{name}", q.Name, 1)] = map[string]any{"get": op}
	}
	return doc, nil
}

// parameters are those of the query and those of every query, but the one in the path.
func (q Named) parameters(general any) []any {
	list := []any{}
	for _, p := range q.Params {
		list = append(list, map[string]any{
			"name": p.Name, "in": "query", "required": p.Default == nil, "schema": p.Schema(), "description": p.About(),
		})
	}
	all, _ := general.([]any)
	for _, p := range all {
		if m, ok := p.(map[string]any); ok && m["in"] == "path" {
			continue
		}
		list = append(list, p)
	}
	return list
}

// Schema is the JSON schema of a value of the parameter.
func (p Param) Schema() map[string]any {
	schema := jsonSchema(p.Type)
	if p.Default != nil {
		schema["default"] = value(*p.Default, schema["type"])
	}
	return schema
}

// About is what there is to say of the parameter: the operator's words, and its type.
func (p Param) About() string {
	return strings.TrimSpace(p.Description + " ClickHouse's type is " + p.Type + ".")
}

// value is a default as its schema wants it.
func value(text string, typ any) any {
	if typ != "string" && json.Valid([]byte(text)) {
		return json.RawMessage(text)
	}
	return text
}

// jsonSchema is the schema of a value in a URL by ClickHouse's type.
func jsonSchema(typ string) map[string]any {
	switch {
	case strings.HasPrefix(typ, "UInt"):
		return map[string]any{"type": "integer", "minimum": 0}
	case strings.HasPrefix(typ, "Int"):
		return map[string]any{"type": "integer"}
	case strings.HasPrefix(typ, "Float"), strings.HasPrefix(typ, "Decimal"):
		return map[string]any{"type": "number"}
	case typ == "Bool":
		return map[string]any{"type": "boolean"}
	case typ == "Date", typ == "Date32":
		return map[string]any{"type": "string", "format": "date"}
	case typ == "UUID":
		return map[string]any{"type": "string", "format": "uuid"}
	}
	return map[string]any{"type": "string"}
}
