package cli

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/services/millrace/client"
)

func (a *app) query() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "query SQL",
		Short: "Ask a question in SQL",
		Long: `Ask a question in ClickHouse's SQL. The tables are events and dead_letters.
On a terminal the answer is a table, else tab-separated values; --format takes
any format of ClickHouse, --output json is --format JSONEachRow. - reads the SQL
from standard input.`,
		Example: `  millrace query 'SELECT event, count() FROM events GROUP BY event'
  millrace query 'SELECT count() FROM events WHERE user_id = {u:String}' --param u=ada
  millrace query 'SELECT * FROM events' --format Parquet > events.parquet
  millrace query 'SELECT count() FROM events' --after 0:17   # put your receipt here`,
		Args: exactly(1, "the SQL as one argument, in quotes"),
	}
	var t target
	var format, after string
	var params []string
	var wait time.Duration
	s := newSettings(cmd, false, t.registerQuery, func(fs *flag.FlagSet) {
		fs.StringVar(&format, "format", "", "`name` of a ClickHouse format, such as JSONEachRow, CSVWithNames or Parquet")
		fs.StringVar(&after, "after", "", "`receipt` of a sent event that the answer must include")
		fs.DurationVar(&wait, "wait", 30*time.Second, "how long to wait for --after")
	})
	cmd.Flags().StringArrayVarP(&params, "param", "p", nil, "`name=value` of a parameter {name:Type}; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if done, err := a.fill(s); done || err != nil {
			return err
		}
		q := client.Question{SQL: args[0], Format: format, Params: map[string]string{}}
		if q.SQL == "-" {
			text, err := io.ReadAll(a.stdin)
			if err != nil {
				return fmt.Errorf("read the SQL from standard input: %w", err)
			}
			q.SQL = string(text)
		}
		for _, p := range params {
			name, value, ok := strings.Cut(p, "=")
			if !ok || name == "" {
				return usageError{fmt.Errorf("--param %q: want name=value", p)}
			}
			q.Params[name] = value
		}
		switch {
		case q.Format != "":
		case a.output == "json":
			q.Format = "JSONEachRow"
		case isTerminal(a.stdout):
			q.Format = "PrettyCompactMonoBlock"
		default:
			q.Format = "TabSeparated"
		}
		c, err := t.counter(0, nil)
		if err != nil {
			return err
		}
		defer c.Close()
		if err := c.WaitFor(cmd.Context(), after, wait); err != nil {
			return refused(err) // its SQL is ours: only the receipt can be wrong
		}
		answer, err := c.SQL(cmd.Context(), q)
		if err != nil {
			return err
		}
		_, err = io.Copy(a.stdout, answer)
		return errors.Join(err, answer.Close())
	}
	return cmd
}
