package enricher

import (
	"flag"

	"github.com/millrace/millrace/libs/svc"
)

// Command is the enricher as a process of its own; see svc.Main.
func Command(fs *flag.FlagSet) func(svc.Env) (svc.Service, error) {
	var cfg Config
	cfg.RegisterFlags(fs)
	return func(env svc.Env) (svc.Service, error) {
		cfg.Log, cfg.Reg, cfg.Health = env.Log, env.Reg, env.Health
		return New(cfg)
	}
}
