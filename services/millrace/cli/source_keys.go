package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/libs/bus/sources"
)

func (a *app) sourceRotate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rotate NAME",
		Short: "Make a new write key and end the others",
		Long: `Make a new write key of a source, which is shown now and never again. Its other
keys end now, or after --keep, so that whoever has one can change it meanwhile.
Keys in --write-keys of the services stay as they are.`,
		Example: `  millrace source rotate web --keep 24h
  millrace source rotate web --note 'after the leak of Monday'`,
		Args: exactly(1, "the name of a source"),
	}
	c := a.newSourceCommand(cmd)
	var keep time.Duration
	var note string
	cmd.Flags().DurationVar(&keep, "keep", 0, "how long the keys of before go on")
	cmd.Flags().StringVar(&note, "note", "", "`text` that is kept with the new key, such as who has it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if keep < 0 {
			return usageError{fmt.Errorf("--keep %s: must not be negative", keep)}
		}
		now := time.Now().UTC().Truncate(time.Second)
		text, key := sources.NewKey(now, note)
		return c.with(cmd.Context(), func(ctx context.Context, store *sources.Store) error {
			r, err := store.Change(ctx, args[0], func(r *sources.Record) error {
				rotate(r, key, now, keep)
				return nil
			})
			if errors.Is(err, sources.ErrUnknown) {
				return fmt.Errorf("%w; `millrace source add %s` adds it", err, args[0])
			}
			if err != nil {
				return err
			}
			return a.printSource(&r, text, c.running().Ingest)
		})
	}
	return cmd
}

// keptKeys of those that work no more stay in the record, for who looks one up.
const keptKeys = 8

// rotate ends the keys of a source, later or now, and adds one.
func rotate(r *sources.Record, key sources.Key, now time.Time, keep time.Duration) {
	for i := range r.Keys {
		if k := &r.Keys[i]; k.Works(now) && (k.Ends.IsZero() || k.Ends.After(now.Add(keep))) {
			k.Ends = now.Add(keep)
		}
	}
	dead := 0
	for i := len(r.Keys) - 1; i >= 0; i-- { // the newest are at the end
		if r.Keys[i].Works(now) {
			continue
		}
		if dead++; dead > keptKeys {
			r.Keys = slices.Delete(r.Keys, i, i+1)
		}
	}
	r.Keys = append(r.Keys, key)
}

// sourceSwitch is disable and enable.
func (a *app) sourceSwitch(off bool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "enable [NAME]",
		Short: "Let a source, or one of its keys, work again",
		Long: `Let a source work again that was disabled, or with --key one of its keys. A key
that has ended stays so; "millrace source rotate" makes another.`,
		Example: `  millrace source enable web
  millrace source enable --key 5f2c90ab`,
		Args: atMostOne,
	}
	if off {
		cmd.Use, cmd.Short = "disable [NAME]", "Refuse what a source sends, or one of its keys"
		cmd.Long = `Refuse a source: none of its write keys works any more, those in --write-keys of
the services included, and what it publishes over NATS becomes dead letters. Or,
with --key, only one of its keys. What was accepted before stays.`
		cmd.Example = `  millrace source disable web
  millrace source disable --key 5f2c90ab`
	}
	c := a.newSourceCommand(cmd)
	var id string
	cmd.Flags().StringVar(&id, "key", "", "`id` of a key, as millrace source show lists them")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 && id == "" {
			return usageError{fmt.Errorf("%s takes the name of a source, or --key; `%s --help` shows how", cmd.CommandPath(), cmd.CommandPath())}
		}
		return c.with(cmd.Context(), func(ctx context.Context, store *sources.Store) error {
			name := ""
			if len(args) == 1 {
				name = args[0]
			}
			var err error
			if name == "" {
				if name, err = ownerOf(ctx, store, id); err != nil {
					return err
				}
			}
			r, err := store.Change(ctx, name, func(r *sources.Record) error {
				if id == "" {
					r.Disabled = off
					return nil
				}
				i := slices.IndexFunc(r.Keys, func(k sources.Key) bool { return k.ID == id })
				if i < 0 {
					return fmt.Errorf("source %s has no key %s; `millrace source show %s` lists its keys", r.Name, id, r.Name)
				}
				r.Keys[i].Disabled = off
				return nil
			})
			if off && id == "" && errors.Is(err, sources.ErrUnknown) { // known by a flag, or over NATS
				return fmt.Errorf("%w; to refuse one that is known by --write-keys or over NATS only, `millrace source add %s` first", err, name)
			}
			if err != nil {
				return err
			}
			return a.printSource(&r, "", "")
		})
	}
	return cmd
}

func atMostOne(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageError{fmt.Errorf("%s takes one source; got %q too", cmd.CommandPath(), args[1])}
	}
	return nil
}

// ownerOf finds the source of a key.
func ownerOf(ctx context.Context, store *sources.Store, id string) (string, error) {
	list, _, err := store.List(ctx)
	if err != nil {
		return "", err
	}
	owner := ""
	for i := range list {
		if slices.ContainsFunc(list[i].Keys, func(k sources.Key) bool { return k.ID == id }) {
			if owner != "" {
				return "", usageError{fmt.Errorf("sources %s and %s both have a key %s: name the source", owner, list[i].Name, id)}
			}
			owner = list[i].Name
		}
	}
	if owner == "" {
		return "", fmt.Errorf("no source has a key %s; `millrace source show NAME` lists the keys of one", id)
	}
	return owner, nil
}
