package cli

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/bus/sources"
	"github.com/millrace/millrace/services/millrace/client"
	"github.com/millrace/millrace/services/millrace/up"
)

func (a *app) source() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "source",
		Short: "Say who may send events: sources, their write keys and limits",
		Long: `A source is a name under which events come in, such as web or app, with its write
keys, the pages and events that are allowed, and how many it may send. Changes
work within a second, everywhere, without a restart.

Write keys are shown once, when they are made: only their digests are kept.`,
		Example: `  millrace source add web --origin https://shop.example.com
  millrace source list
  millrace source rotate web --keep 24h
  millrace source disable web`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(a.sourceAdd(), a.sourceList(), a.sourceShow(), a.sourceSet(), a.sourceRotate(), a.sourceSwitch(true), a.sourceSwitch(false))
	return cmd
}

// sourceCommand is what the commands of `millrace source` share.
type sourceCommand struct {
	*app
	settings *settings
	conn     bus.Config
	dir      string
	patience time.Duration
}

func (a *app) newSourceCommand(cmd *cobra.Command) *sourceCommand {
	c := &sourceCommand{app: a}
	c.settings = newSettings(cmd, false, c.conn.RegisterFlags, func(fs *flag.FlagSet) {
		fs.StringVar(&c.dir, "dir", up.DefaultDir, "`directory` of the `millrace up` to talk to, if it runs on this machine and --nats-url names no other NATS")
		fs.DurationVar(&c.patience, "timeout", 10*time.Second, "longest `time` for all of it")
	})
	return c
}

// with does something with the bucket of the installation.
func (c *sourceCommand) with(ctx context.Context, do func(context.Context, *sources.Store) error) error {
	if done, err := c.fill(c.settings); done || err != nil {
		return err
	}
	given := false
	c.settings.Visit(func(f *flag.Flag) { given = given || f.Name == "nats-url" })
	if !given {
		c.conn.URL = cmp.Or(c.running().NATS, nats.DefaultURL)
	}
	if err := c.conn.Validate(); err != nil {
		return usageError{err}
	}
	ctx, cancel := context.WithTimeout(ctx, c.patience)
	defer cancel()
	nc, js, err := c.conn.Connect("millrace-source", slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := c.connected(ctx, nc); err != nil {
		return err
	}
	store, err := c.open(ctx, js)
	if err != nil {
		return err
	}
	return do(ctx, store)
}

// running is the installation of the directory, empty if none is ready there.
func (c *sourceCommand) running() up.Ready {
	t := target{dir: c.dir}
	return t.running()
}

// connected waits for the connection, which never gives up by itself.
func (c *sourceCommand) connected(ctx context.Context, nc *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	status := nc.StatusChanged(nats.CONNECTED)
	for !nc.IsConnected() {
		select {
		case <-status:
		case <-ctx.Done():
			return fmt.Errorf("%w at %s (%w); --nats-url says where NATS is, --dir which `millrace up`", client.ErrUnreachable, c.conn.URL,
				cmp.Or(nc.LastError(), ctx.Err()))
		}
	}
	return nil
}

func (c *sourceCommand) open(ctx context.Context, js jetstream.JetStream) (*sources.Store, error) {
	store, err := sources.Open(ctx, js, c.conn.Names())
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("NATS at %s does not answer; its user %q may not read the bucket of the sources, or JetStream is off: %w", c.conn.URL, c.conn.User, err)
	}
	return store, err
}

func (a *app) sourceList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the sources",
		Long: `List the sources that were added. Those that only have a key in --write-keys of
the services, or are known by publishing over NATS, are not among them.`,
		Example: `  millrace source list
  millrace source list --output json`,
		Args: noArguments,
	}
	c := a.newSourceCommand(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return c.with(cmd.Context(), func(ctx context.Context, store *sources.Store) error {
			list, unreadable, err := store.List(ctx)
			if err != nil {
				return err
			}
			for _, name := range unreadable {
				fmt.Fprintf(a.stderr, "the source %s cannot be read by this version of millrace; the services go on with what they knew of it\n", name)
			}
			return a.printSources(list)
		})
	}
	return cmd
}

func (a *app) sourceShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show NAME",
		Short:   "Show a source, its limits and its keys",
		Long:    `Show a source: its limits, and its keys by their ids. The keys themselves are kept nowhere.`,
		Example: `  millrace source show web`,
		Args:    exactly(1, "the name of a source"),
	}
	c := a.newSourceCommand(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return c.with(cmd.Context(), func(ctx context.Context, store *sources.Store) error {
			r, err := store.Get(ctx, args[0])
			if err != nil {
				return err
			}
			return a.printSource(&r, "", "")
		})
	}
	return cmd
}
