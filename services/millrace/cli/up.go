package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/libs/svc"
	"github.com/millrace/millrace/services/millrace/up"
)

func (a *app) up() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run everything on this machine",
		Long: `Run everything on this machine: NATS, ClickHouse and the four services, in one
process and one directory. It prints where everything is and a line to send the
first event with. Ctrl-C finishes what was taken and stops.`,
		Example: `  millrace up
  millrace up --demo --demo-rate 200
  millrace up --dir /var/lib/millrace --max-disk 200GiB --durability power
  millrace up --ingest-addr 127.0.0.1:0 --query-addr 127.0.0.1:0 --ready-file ready.json`,
		Args: noArguments,
	}
	var cfg up.Config
	s := newSettings(cmd, true, cfg.RegisterFlags)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if done, err := a.fill(s); done || err != nil {
			return err
		}
		log, err := svc.NewLogger(a.stderr, cfg.LogFormat, cfg.LogLevel)
		if err != nil {
			return usageError{fmt.Errorf("--log-level, --log-format: %w", err)}
		}
		cfg.Out, cfg.Log = a.stdout, log
		if err := cfg.Validate(); err != nil {
			return usageError{err}
		}
		ctx, stop := svc.Signals(cmd.Context(), log)
		defer stop()
		err = up.Run(ctx, cfg)
		if errors.Is(err, up.ErrPort) {
			return usageError{err}
		}
		return err
	}
	return cmd
}
