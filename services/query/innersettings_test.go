package query

import "testing"

func TestNoInnerSettings(t *testing.T) {
	for sql, refused := range map[string]bool{
		"SELECT 1 SETTINGS max_threads = 1":                               false,
		"(SELECT 1) UNION ALL (SELECT 2) SETTINGS max_threads = 1":        false,
		"SELECT 1 UNION ALL SELECT 2 SETTINGS max_threads = 1":            false,
		"SELECT 1 SETTINGS max_threads = 1 FORMAT CSV":                    false,
		"SELECT properties['settings'], 'a (SETTINGS' FROM events":        false,
		"SELECT count(`settings`) FROM (SELECT 1 AS `settings`)":          false,
		"SELECT 1 -- (SETTINGS\n":                                         false,
		"SELECT 1 /* (SETTINGS */ SETTINGS max_threads = 1":               false,
		"SELECT {a:Map(String, String)} SETTINGS max_threads = 1":         false,
		"SELECT 'ü' FROM (SELECT 1) SETTINGS max_threads = 1":             false,
		"SELECT * FROM (SELECT 1 SETTINGS readonly = 0)":                  true,
		"SELECT * FROM (SELECT 1 sEtTiNgS readonly = 0)":                  true,
		"SELECT * FROM (SELECT 1 SETTINGS/**/readonly = 0)":               true,
		"SELECT (SELECT 1 SETTINGS readonly = 0)":                         true,
		"SELECT [(SELECT 1 SETTINGS readonly = 0)]":                       true,
		"SELECT 1 SETTINGS readonly = 0 UNION ALL SELECT 2":               true,
		"SELECT 1 SETTINGS readonly = 0 uNiOn DISTINCT SELECT 2":          true,
		"SELECT 1 SETTINGS readonly = 0 INTERSECT SELECT 2":               true,
		"SELECT 1 SETTINGS readonly = 0 EXCEPT SELECT 2":                  true,
		"SELECT 1 SETTINGS readonly = 0 EXCEPT SELECT 2 SETTINGS x = 1":   true,
		"SELECT ')' FROM (SELECT ')' SETTINGS readonly = 0)":              true,
		"SELECT $$)$$ FROM (SELECT 1 SETTINGS readonly = 0)":              true,
		"SELECT 1 -- '\n FROM (SELECT 1 SETTINGS readonly = 0) -- '":      true,
		"SELECT ‘)’, 1 SETTINGS max_threads = 1":                          true, // cannot be read
		"SELECT 'a\\'' FROM (SELECT '\\'' SETTINGS readonly = 0)":         true,
		"SELECT \"a)\" FROM (SELECT 1 AS \"a)\" SETTINGS readonly = 0)":   true,
		"SELECT * FROM view(SELECT 1 SETTINGS readonly = 0)":              true,
		"SELECT * FROM mysql('a', 'b', 'c', 'd', 'e', SETTINGS a = 'b') ": true,
	} {
		if err := noInnerSettings(sql); (err != nil) != refused {
			t.Errorf("%s: %v", sql, err)
		}
	}
}
