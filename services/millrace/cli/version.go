package cli

import (
	"runtime"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/libs/svc"
)

func (a *app) version() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		Example: "  millrace version --output json",
		Args:    noArguments,
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version  string `json:"version"`
				Go       string `json:"go"`
				Platform string `json:"platform"`
			}{svc.Version(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
			if a.output == "json" {
				return a.printJSON(v)
			}
			p := newPairs(a.stdout)
			p.add("millrace", v.Version)
			p.add("go", v.Go)
			p.add("platform", v.Platform)
			return p.flush()
		},
	}
}
