package localdb

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// layout names the files of one directory.
//
//	data/        what ClickHouse stores
//	config.xml   written anew at every start, like users.xml (0600)
//	log/         the engine's log, two files of at most 3 x 10 MB
//	lock         locked as long as an engine lives
type layout struct{ dir, data, config, users, log, errLog, lock string }

func layoutOf(dir string) layout {
	at := func(name ...string) string { return filepath.Join(append([]string{dir}, name...)...) }
	return layout{
		dir: dir, data: at("data"), config: at("config.xml"), users: at("users.xml"),
		log: at("log", "clickhouse.log"), errLog: at("log", "clickhouse.err.log"), lock: at("lock"),
	}
}

func (l layout) create() error {
	for _, dir := range []string{l.dir, l.data, filepath.Dir(l.log)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return fmt.Errorf("create the directory of the local ClickHouse: %w", err)
		}
	}
	return nil
}

// write renders the configuration for one start. instance is a random word that readiness asks for, so that an answer
// from another server on the same port is not taken for ours.
func (l layout) write(cfg Config, eng Engine, p ports, instance string) error {
	if err := os.WriteFile(l.users, []byte(usersXML(cfg.Passwords, eng.Library)), 0o600); err != nil {
		return fmt.Errorf("write the users of the local ClickHouse: %w", err)
	}
	// WriteFile keeps the mode of a file that is there.
	if err := os.Chmod(l.users, 0o600); err != nil {
		return fmt.Errorf("protect the users of the local ClickHouse: %w", err)
	}
	if err := os.WriteFile(l.config, []byte(configXML(l, cfg, p, instance)), 0o600); err != nil {
		return fmt.Errorf("write the configuration of the local ClickHouse: %w", err)
	}
	return nil
}

func configXML(l layout, cfg Config, p ports, instance string) string {
	memory := ""
	if cfg.MemoryLimit > 0 {
		memory = fmt.Sprintf("  <max_server_memory_usage>%d</max_server_memory_usage>\n", cfg.MemoryLimit)
	}
	// shutdown_wait_unfinished: seconds that a shutdown waits for connections, idle ones included (a clickhouse binary;
	// libchdb waits 5 s, fixed). The parent has drained by then. The access_control_improvements are off by default for old installations' sake. Server logs into system tables are not configured, so they do not grow.
	return fmt.Sprintf(`<clickhouse>
  <logger><level>warning</level><log>%s</log><errorlog>%s</errorlog><size>10M</size><count>3</count></logger>
  <listen_host>%s</listen_host>
  <tcp_port>%d</tcp_port>
  <http_port>%d</http_port>
  <path>%s/</path>
  <tmp_path>%s/tmp/</tmp_path>
  <user_files_path>%s/user_files/</user_files_path>
  <format_schema_path>%s/format_schemas/</format_schema_path>
  <users_config>%s</users_config>
  <default_profile>default</default_profile>
  <default_database>default</default_database>
  <timezone>UTC</timezone>
  <shutdown_wait_unfinished>1</shutdown_wait_unfinished>
  <mark_cache_size>268435456</mark_cache_size>
%s  <macros><millrace_instance>%s</millrace_instance></macros>
  <access_control_improvements>
    <settings_constraints_replace_previous>true</settings_constraints_replace_previous>
    <select_from_system_db_requires_grant>true</select_from_system_db_requires_grant>
    <select_from_information_schema_requires_grant>true</select_from_information_schema_requires_grant>
    <table_engines_require_grant>true</table_engines_require_grant>
    <users_without_row_policies_can_read_rows>true</users_without_row_policies_can_read_rows>
  </access_control_improvements>
</clickhouse>
`, text(l.log), text(l.errLog), text(cfg.ListenHost), p.engine, p.http,
		text(l.data), text(l.data), text(l.data), text(l.data), text(l.users), memory, instance)
}

func text(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder does not fail
	return b.String()
}
