package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/libs/bus"
	"github.com/millrace/millrace/libs/bus/sources"
	"github.com/millrace/millrace/libs/svc"
)

// limits are the flags that bound a source.
type limits struct {
	origins []string
	events  int64
	bytes   svc.Bytes
	burst   int
	names   []string
	types   []string
}

func (l *limits) register(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringArrayVar(&l.origins, "origin", nil, "`origin` of pages that may send, such as https://shop.example.com or https://*.example.com; may be repeated (default: all)")
	f.Int64Var(&l.events, "events-per-second", 0, "most events a second, in each process that takes events (0: without bounds)")
	f.Var(bytesFlag{&l.bytes}, "bytes-per-second", "most `bytes` of events a second, such as 2MiB, in each process that takes events (0: without bounds)")
	f.IntVar(&l.burst, "burst-seconds", 0, "for how many seconds a silent source saves its rate (0: 5)")
	f.StringArrayVar(&l.names, "allow", nil, "`name` of an event that the source may send; may be repeated (default: all)")
	f.StringArrayVar(&l.types, "allow-type", nil, "`type` of events that the source may send: track, identify, page, screen, group or alias; may be repeated")
}

// bytesFlag is a size as pflag has it.
type bytesFlag struct{ *svc.Bytes }

func (bytesFlag) Type() string { return "bytes" }

// put sets what the command line names.
func (l *limits) put(cmd *cobra.Command, r *sources.Record) {
	given := cmd.Flags().Changed
	if given("origin") {
		r.Origins = l.origins
	}
	if given("events-per-second") {
		r.Rate.EventsPerSecond = l.events
	}
	if given("bytes-per-second") {
		r.Rate.BytesPerSecond = int64(l.bytes)
	}
	if given("burst-seconds") {
		r.Rate.BurstSeconds = l.burst
	}
	if given("allow") {
		r.Allow.Names = l.names
	}
	if given("allow-type") {
		r.Allow.Types = l.types
	}
}

func (a *app) sourceAdd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Add a source and make its first write key",
		Long: `Add a source and make its write key, which is shown now and never again. A source
whose key is in --write-keys of the services, or that publishes over NATS, can be
added too, and has the limits then.`,
		Example: `  millrace source add web --origin https://shop.example.com --origin 'https://*.shop.example.com'
  millrace source add app --events-per-second 500 --bytes-per-second 1MiB
  millrace source add billing --allow 'Order Completed' --allow 'Order Refunded' --allow-type identify`,
		Args: exactly(1, "the name of a source"),
	}
	c := a.newSourceCommand(cmd)
	var l limits
	l.register(cmd)
	var note string
	cmd.Flags().StringVar(&note, "note", "", "`text` that is kept with the key, such as who has it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := bus.ValidSource(args[0]); err != nil {
			return usageError{err}
		}
		text, key := sources.NewKey(time.Now(), note)
		r := sources.Record{Name: args[0], Keys: []sources.Key{key}}
		l.put(cmd, &r)
		if err := r.Validate(); err != nil {
			return usageError{err}
		}
		return c.with(cmd.Context(), func(ctx context.Context, store *sources.Store) error {
			r, err := store.Add(ctx, r)
			if errors.Is(err, sources.ErrExists) {
				return fmt.Errorf("%w; `millrace source rotate %s` makes another key, `millrace source set %s` changes its limits", err, r.Name, r.Name)
			}
			if err != nil {
				return err
			}
			return a.printSource(&r, text, c.running().Ingest)
		})
	}
	return cmd
}

func (a *app) sourceSet() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Change the limits of a source",
		Long: `Change the limits of a source that are given, and leave the others. Lists are
replaced as a whole.`,
		Example: `  millrace source set web --events-per-second 1000
  millrace source set web --any-origin
  millrace source set billing --allow 'Order Completed'
  millrace source set billing --allow-all --bytes-per-second 0`,
		Args: exactly(1, "the name of a source"),
	}
	c := a.newSourceCommand(cmd)
	var l limits
	l.register(cmd)
	var anyOrigin, allowAll bool
	cmd.Flags().BoolVar(&anyOrigin, "any-origin", false, "pages of all origins may send")
	cmd.Flags().BoolVar(&allowAll, "allow-all", false, "all events may be sent")
	cmd.MarkFlagsMutuallyExclusive("origin", "any-origin")
	cmd.MarkFlagsMutuallyExclusive("allow", "allow-all")
	cmd.MarkFlagsMutuallyExclusive("allow-type", "allow-all")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if cmd.Flags().NFlag() == 0 {
			return usageError{fmt.Errorf("%s: nothing is to be changed; `%s --help` lists what can be", cmd.CommandPath(), cmd.CommandPath())}
		}
		return c.change(cmd.Context(), args[0], func(r *sources.Record) error {
			l.put(cmd, r)
			if anyOrigin {
				r.Origins = nil
			}
			if allowAll {
				r.Allow = sources.Allow{}
			}
			if err := r.Validate(); err != nil {
				return usageError{err}
			}
			return nil
		})
	}
	return cmd
}

// change changes a source and shows what it is then.
func (c *sourceCommand) change(ctx context.Context, name string, change func(*sources.Record) error) error {
	return c.with(ctx, func(ctx context.Context, store *sources.Store) error {
		r, err := store.Change(ctx, name, change)
		if errors.Is(err, sources.ErrUnknown) {
			return fmt.Errorf("%w; `millrace source add %s` adds it", err, name)
		}
		if err != nil {
			return err
		}
		return c.printSource(&r, "", "")
	})
}
