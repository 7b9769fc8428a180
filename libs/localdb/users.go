package localdb

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// The names of the users, the same as in a production installation.
const (
	WriterUser   = "millrace_writer"   // the indexer
	ReaderUser   = "millrace_reader"   // the query service
	ScopedUser   = "millrace_scoped"   // the query service, for who may see some sources only; its password is the reader's
	MigratorUser = "millrace_migrator" // millrace migrate
)

// SourcesPolicy is the condition of the row policies of [ScopedUser]: it sees the sources that the id of the question
// names behind an @, joined by commas, and nothing without. SQL cannot change the id, which the query service chooses.
// initialQueryID and not queryID, since other servers of a cluster are sent parts of a question under ids of their own.
const SourcesPolicy = "source IN (SELECT arrayJoin(splitByChar(',', splitByChar('@', initialQueryID())[2])))"

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

// hashes are the hex SHA-256 sums of the passwords by user. ScopedUser has none of its own, so it does not come in by the
// native protocol, which has no use for it.
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
	// Each table by its name: one without a policy would show all its rows.
	ScopedUser: {
		"GRANT SELECT ON millrace.events",
		"GRANT SELECT ON millrace.dead_letters",
		"GRANT SELECT ON millrace.dead_letters_log",
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
// at all (readonly=1); the changeable ones only within min and max. What all questions of a user take together is bounded
// too: memory by twice what one may take at most, the disk by twice what one may put there, and the last GiB of it is kept
// for events. sleep() is refused: it makes how long an answer takes say what is in it. getServerSetting() stays callable.
// The index of a projection is used for any number of rows: a history reads few of many parts. Skip indexes are looked at
// before a part is read and not while it is, which leaves out whole parts. One thread looks at all indexes: handing each part to
// another one cost a history a fifth of its CPU, on two cores and some fifty parts.
// No quota: the local engine was seen not to count one over the native protocol; nor does 26.7 count what a user's
// questions put on disk together, though it takes the setting, so that each one's own bound and the last GiB hold.
const readerProfile = `
      <readonly>1</readonly>
      <max_execution_time>30</max_execution_time>
      <timeout_before_checking_execution_speed>0</timeout_before_checking_execution_speed>
      <max_result_rows>1000000</max_result_rows>
      <max_result_bytes>1073741824</max_result_bytes>
      <result_overflow_mode>throw</result_overflow_mode>
      <max_memory_usage>2147483648</max_memory_usage>
      <max_memory_usage_for_user>8589934592</max_memory_usage_for_user>
      <max_bytes_before_external_group_by>1073741824</max_bytes_before_external_group_by>
      <max_bytes_before_external_sort>1073741824</max_bytes_before_external_sort>
      <max_temporary_data_on_disk_size_for_query>10737418240</max_temporary_data_on_disk_size_for_query>
      <max_temporary_data_on_disk_size_for_user>21474836480</max_temporary_data_on_disk_size_for_user>
      <min_free_disk_space_for_temporary_data>1073741824</min_free_disk_space_for_temporary_data>
      <max_concurrent_queries_for_user>64</max_concurrent_queries_for_user>
      <max_query_size>1048576</max_query_size>
      <function_sleep_max_microseconds_per_block>1</function_sleep_max_microseconds_per_block>
      <cancel_http_readonly_queries_on_client_close>1</cancel_http_readonly_queries_on_client_close>
      <min_table_rows_to_use_projection_index>0</min_table_rows_to_use_projection_index>
      <use_skip_indexes_on_data_read>0</use_skip_indexes_on_data_read>
      <max_threads_for_indexes>1</max_threads_for_indexes>
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

// policies are what ScopedUser sees of each table. The view dead_letters reads the log as whoever asks. The three system
// tables are open to everybody and tell how many rows and bytes there are of all sources, and where; DESCRIBE goes on
// working without them.
var policies = []struct{ database, table, filter string }{
	{Database, "events", SourcesPolicy},
	{Database, "dead_letters_log", SourcesPolicy},
	{"system", "databases", "0"},
	{"system", "tables", "0"},
	{"system", "columns", "0"},
}

// usersXML renders users.xml. With libchdb the engine's own session logs in as `default` with an empty password, and a
// password for it would stop the start; max_sessions_for_user=1 lets that one session be the only one, so nobody else
// on the machine can log in as `default`, although READ ON FILE (the pipe) had to be granted to it.
func usersXML(p Passwords, library bool) string {
	var b strings.Builder
	b.WriteString("<clickhouse>\n  <profiles>\n    <default/>\n" +
		"    <launcher><max_sessions_for_user>1</max_sessions_for_user></launcher>\n" +
		"    <reader>" + readerProfile + "\n    </reader>\n" +
		// The cache of conditions knows a subquery by its text, and that of the policies is the same for all sources.
		"    <scoped><profile>reader</profile><use_query_condition_cache>0</use_query_condition_cache></scoped>\n  </profiles>\n  <quotas><default/></quotas>\n  <users>\n")
	if library {
		b.WriteString("    <default><password/><networks><ip>127.0.0.1</ip></networks><profile>launcher</profile><quota>default</quota>\n" +
			"      <grants><query>GRANT SYSTEM LISTEN ON *.*</query><query>GRANT READ ON FILE</query>" +
			"<query>GRANT CREATE TEMPORARY TABLE ON *.*</query><query>GRANT CREATE DATABASE ON millrace.*</query></grants></default>\n")
	}
	hashes := p.hashes()
	for _, u := range []struct{ name, profile string }{
		{WriterUser, "default"}, {ReaderUser, "reader"}, {ScopedUser, "scoped"}, {MigratorUser, "default"},
	} {
		hash := hashes[u.name]
		if u.name == ScopedUser {
			hash = hashes[ReaderUser]
		}
		fmt.Fprintf(&b, "    <%s><password_sha256_hex>%s</password_sha256_hex><networks><ip>::/0</ip></networks><profile>%s</profile><quota>default</quota>\n      <grants>",
			u.name, hash, u.profile)
		for _, g := range grants[u.name] {
			fmt.Fprintf(&b, "<query>%s</query>", g)
		}
		b.WriteString("</grants>")
		if u.name == ScopedUser {
			b.WriteString("\n      <databases>")
			for _, p := range policies {
				fmt.Fprintf(&b, "<%s><%s><filter>%s</filter></%s></%s>", p.database, p.table, p.filter, p.table, p.database)
			}
			b.WriteString("</databases>")
		}
		fmt.Fprintf(&b, "</%s>\n", u.name)
	}
	b.WriteString("  </users>\n</clickhouse>\n")
	return b.String()
}
