package svc

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"gopkg.in/yaml.v3"
)

// fromFile sets the flags that neither the command line nor the environment
// has set. The file is one flat YAML mapping from flag name to value; a list
// of plain values is joined by commas, which is how flags take lists.
func fromFile(fs *flag.FlagSet, path string, set map[string]bool) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read the configuration file: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(content, &doc); err != nil {
		return fmt.Errorf("configuration file %s: %w", path, err)
	}
	if len(doc.Content) == 0 { // empty, or comments only
		return nil
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return fmt.Errorf("configuration file %s: line %d: want lines of \"flag-name: value\"", path, root.Line)
	}
	seen := map[string]bool{}
	for i := 0; i < len(root.Content); i += 2 {
		key, node := root.Content[i], root.Content[i+1]
		where := fmt.Sprintf("configuration file %s: line %d", path, key.Line)
		name := key.Value
		switch {
		case name == flagConfig || name == flagPrintConfig || name == flagVersion:
			return fmt.Errorf("%s: %s cannot be set in the file itself", where, name)
		case fs.Lookup(name) == nil:
			return fmt.Errorf("%s: %w: %s%s", where, ErrUnknownKey, name, nearest(name, flagNames(fs), ""))
		case seen[name]:
			return fmt.Errorf("%s: %s is set twice", where, name)
		}
		seen[name] = true
		value, err := plainValue(node)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", where, name, err)
		}
		if set[name] {
			continue
		}
		if err := fs.Set(name, value); err != nil {
			return fmt.Errorf("%s: %s: %w", where, name, err)
		}
	}
	return nil
}

func plainValue(node *yaml.Node) (string, error) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch {
	case node.Kind == yaml.ScalarNode && node.Tag == "!!null":
		return "", errors.New("has no value; write \"\" for the empty text")
	case node.Kind == yaml.ScalarNode:
		return node.Value, nil
	case node.Kind == yaml.SequenceNode:
		items := make([]string, len(node.Content))
		for i, item := range node.Content {
			if item.Kind != yaml.ScalarNode || strings.Contains(item.Value, ",") {
				return "", fmt.Errorf("item %d of the list is not a plain value without comma", i+1)
			}
			items[i] = item.Value
		}
		return strings.Join(items, ","), nil
	default:
		return "", errors.New("is nested; settings are flat, one flag name a line")
	}
}
