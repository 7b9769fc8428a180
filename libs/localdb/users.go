package localdb

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// The names of the three users, the same as in a production installation.
const (
	WriterUser   = "millrace_writer"   // the indexer
	ReaderUser   = "millrace_reader"   // the query service
	MigratorUser = "millrace_migrator" // millrace migrate
)

// Database is the one database that the users have rights on.
const Database = "millrace"

// Passwords of the three users. They are stored in the directory as SHA-256 only.
type Passwords struct{ Writer, Reader, Migrator string }

// NewPasswords returns three random passwords of 128 bits, letters and digits only (they fit into a URL unescaped).
func NewPasswords() Passwords {
	return Passwords{Writer: rand.Text(), Reader: rand.Text(), Migrator: rand.Text()}
}

func (p Passwords) validate() error {
	for user, pw := range map[string]string{WriterUser: p.Writer, ReaderUser: p.Reader, MigratorUser: p.Migrator} {
		if pw == "" {
			return fmt.Errorf("localdb: the password of %s is empty", user)
		}
	}
	return nil
}

// hashes are the hex SHA-256 sums of the passwords by user.
func (p Passwords) hashes() map[string]string {
	out := map[string]string{}
	for user, pw := range map[string]string{WriterUser: p.Writer, ReaderUser: p.Reader, MigratorUser: p.Migrator} {
		sum := sha256.Sum256([]byte(pw))
		out[user] = hex.EncodeToString(sum[:])
	}
	return out
}

// grants says what each user may do. The local engine has no CREATE USER, so this is its users.xml.
var grants = map[string][]string{
	// system.parts: the fill of the tables. system.disks: the room that is left.
	WriterUser: {
		"GRANT SELECT, INSERT ON millrace.*",
		"GRANT SELECT ON system.parts",
		"GRANT SELECT ON system.disks",
		// A table of one connection and without storage, in which the indexer looks for the row that is refused.
		"GRANT CREATE ARBITRARY TEMPORARY TABLE ON *.*",
		"GRANT TABLE ENGINE ON Null",
		// The schema check before a shard opens.
		"GRANT SELECT ON system.columns",
		"GRANT SELECT ON system.tables",
	},
	ReaderUser: {
		"GRANT SELECT ON millrace.*",
	},
	// ALTER DELETE and TRUNCATE: erasure and the migration tool's own table. system.parts and system.mutations: whether
	// a mutation is done.
	MigratorUser: {
		"GRANT CREATE DATABASE, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, ALTER, SELECT, INSERT, TRUNCATE, OPTIMIZE ON millrace.*",
		"GRANT TABLE ENGINE ON MergeTree",
		"GRANT TABLE ENGINE ON ReplacingMergeTree",
		"GRANT SELECT ON system.parts",
		"GRANT SELECT ON system.mutations",
	},
}

// readerProfile bounds what a question may cost. Settings that are not named changeable cannot be changed by the reader
// at all (readonly=1); the changeable ones only within min and max. getServerSetting() and sleep() stay callable, they
// are bounded by time only. No quota: the local engine was seen not to count one over the native protocol.
const readerProfile = `
      <readonly>1</readonly>
      <max_execution_time>30</max_execution_time>
      <timeout_before_checking_execution_speed>0</timeout_before_checking_execution_speed>
      <max_result_rows>1000000</max_result_rows>
      <max_result_bytes>1073741824</max_result_bytes>
      <result_overflow_mode>throw</result_overflow_mode>
      <max_memory_usage>2147483648</max_memory_usage>
      <max_bytes_before_external_group_by>1073741824</max_bytes_before_external_group_by>
      <max_bytes_before_external_sort>1073741824</max_bytes_before_external_sort>
      <max_concurrent_queries_for_user>64</max_concurrent_queries_for_user>
      <max_query_size>1048576</max_query_size>
      <cancel_http_readonly_queries_on_client_close>1</cancel_http_readonly_queries_on_client_close>
      <constraints>
        <max_execution_time><min>0.001</min><max>300</max><changeable_in_readonly/></max_execution_time>
        <max_result_rows><min>1</min><max>10000000</max><changeable_in_readonly/></max_result_rows>
        <max_result_bytes><min>1</min><max>4294967296</max><changeable_in_readonly/></max_result_bytes>
        <max_memory_usage><min>1048576</min><max>4294967296</max><changeable_in_readonly/></max_memory_usage>
        <max_block_size><min>1</min><max>1048576</max><changeable_in_readonly/></max_block_size>
        <max_threads><min>1</min><max>64</max><changeable_in_readonly/></max_threads>
        <output_format_json_quote_64bit_integers><changeable_in_readonly/></output_format_json_quote_64bit_integers>
        <log_comment><changeable_in_readonly/></log_comment>
        <send_progress_in_http_headers><changeable_in_readonly/></send_progress_in_http_headers>
        <http_headers_progress_interval_ms><changeable_in_readonly/></http_headers_progress_interval_ms>
        <http_wait_end_of_query><changeable_in_readonly/></http_wait_end_of_query>
        <http_response_buffer_size><min>0</min><max>67108864</max><changeable_in_readonly/></http_response_buffer_size>
      </constraints>`

// usersXML renders users.xml. With libchdb the engine's own session logs in as `default` with an empty password, and a
// password for it would stop the start; max_sessions_for_user=1 lets that one session be the only one, so nobody else
// on the machine can log in as `default`, although READ ON FILE (the pipe) had to be granted to it.
func usersXML(p Passwords, library bool) string {
	var b strings.Builder
	b.WriteString("<clickhouse>\n  <profiles>\n    <default/>\n" +
		"    <launcher><max_sessions_for_user>1</max_sessions_for_user></launcher>\n" +
		"    <reader>" + readerProfile + "\n    </reader>\n  </profiles>\n  <quotas><default/></quotas>\n  <users>\n")
	if library {
		b.WriteString("    <default><password/><networks><ip>127.0.0.1</ip></networks><profile>launcher</profile><quota>default</quota>\n" +
			"      <grants><query>GRANT SYSTEM LISTEN ON *.*</query><query>GRANT READ ON FILE</query>" +
			"<query>GRANT CREATE TEMPORARY TABLE ON *.*</query><query>GRANT CREATE DATABASE ON millrace.*</query></grants></default>\n")
	}
	hashes := p.hashes()
	for _, u := range []struct{ name, profile string }{
		{WriterUser, "default"}, {ReaderUser, "reader"}, {MigratorUser, "default"},
	} {
		fmt.Fprintf(&b, "    <%s><password_sha256_hex>%s</password_sha256_hex><networks><ip>::/0</ip></networks><profile>%s</profile><quota>default</quota>\n      <grants>",
			u.name, hashes[u.name], u.profile)
		for _, g := range grants[u.name] {
			fmt.Fprintf(&b, "<query>%s</query>", g)
		}
		fmt.Fprintf(&b, "</grants></%s>\n", u.name)
	}
	b.WriteString("  </users>\n</clickhouse>\n")
	return b.String()
}
