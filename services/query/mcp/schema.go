package mcp

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/millrace/millrace/services/query/reports"
	"github.com/millrace/millrace/services/query/sqlgate"
)

// schema is a JSON Schema (2020-12) in the part of it that is needed here.
type schema map[string]any

// kinds are the types of JSON for those of parameters; a time and a duration are text.
var kinds = map[string]string{
	"text": "string", "time": "string", "duration": "string", "integer": "integer", "number": "number", "boolean": "boolean",
}

// schemaOf is the schema of arguments that are the parameters.
func schemaOf(params ...reports.Param) schema {
	s := newSchema()
	for _, p := range params {
		one := schema{"type": kinds[p.Type]}
		if len(p.Enum) > 0 {
			one["enum"] = p.Enum
		}
		if p.Default != "" {
			one["default"] = valueOf(p.Default, p.Type)
		}
		if p.Many {
			one = schema{"type": "array", "items": one}
		}
		one["description"] = p.About
		s.add(p.Name, one, p.Required)
	}
	return s
}

// schemaOfNamed is that of a named query.
func schemaOfNamed(params []sqlgate.Param) schema {
	s := schemaOf(afterParam, timeoutParam)
	for _, p := range params {
		one := schema(p.Schema())
		one["description"] = p.About()
		s.add(p.Name, one, p.Default == nil)
	}
	return s
}

// valueOf is a default as the schema wants it.
func valueOf(text, typ string) any {
	if kinds[typ] == "string" || !json.Valid([]byte(text)) {
		return text
	}
	return json.RawMessage(text)
}

func newSchema() schema {
	return schema{"type": "object", "properties": schema{}, "additionalProperties": false}
}

func (s schema) properties() schema { return s["properties"].(schema) }

func (s schema) add(name string, one schema, required bool) {
	s.properties()[name] = one
	if required {
		list, _ := s["required"].([]string)
		s["required"] = append(list, name)
	}
}

// with adds a property that need not be given.
func (s schema) with(name string, one schema) schema {
	s.add(name, one, false)
	return s
}

// names are those of the properties, in order.
func (s schema) names() []string { return slices.Sorted(maps.Keys(s.properties())) }
