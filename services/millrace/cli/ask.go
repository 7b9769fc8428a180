package cli

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/services/millrace/client"
	"github.com/millrace/millrace/services/query/access"
	"github.com/millrace/millrace/services/query/users"
)

// person is what ask and user share.
type person struct {
	target
	recent int
}

func (p *person) register(fs *flag.FlagSet) {
	p.registerQuery(fs)
	fs.StringVar(&p.source, "source", "", "`name` of the user's source (default: that of the `millrace up` of --dir)")
	fs.IntVar(&p.recent, "recent", 10, "`number` of the user's last events, up to 50")
}

// connect to the query service, and the parameters of both commands.
func (p *person) connect(keyHint string) (*client.Client, url.Values, error) {
	values := url.Values{"recent": {strconv.Itoa(p.recent)}}
	if source := cmp.Or(p.source, p.running().Source); source != "" && (p.writeKey == "" || p.source != "") {
		values.Set("source", source)
	}
	c, err := p.questions(client.Config{Bearer: p.apiKey, Key: p.writeKey, KeyHint: keyHint})
	if err != nil {
		return nil, nil, err
	}
	return c, values, nil
}

// unnamed is a wrong command line where the service does not know whose user is meant; its words are of URLs.
func unnamed(err error) error {
	if status, ok := errors.AsType[*client.StatusError](err); ok && status.Msg == access.WhichSource {
		return usageError{errors.New("of which source is the user? give --source, or --dir of your `millrace up`")}
	}
	return refused(err)
}

func (a *app) ask() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ask EVENT --user ID",
		Short: "Send a user's request and see who asks",
		Long: `Send an event that is a request of a user, and get in the same moment what is
known of them: who they are, what they are doing now, what they did last, and
what has changed since they last asked. The event is stored like any other and
is in the answer.`,
		Example: `  millrace ask help_requested --user ada --property topic=billing
  millrace ask help_requested --user ada --output json`,
		Args: exactly(1, "the event's name, in quotes if it has blanks"),
	}
	var p person
	var e oneEvent
	s := newSettings(cmd, false, p.register, e.register, func(fs *flag.FlagSet) {
		fs.StringVar(&p.writeKey, "write-key", "", "write `key` of the source, instead of an API key")
	})
	cmd.Flags().StringArrayVarP(&e.properties, "property", "p", nil, "`name=value` of a property; JSON values are kept as such; may be repeated")
	cmd.Flags().StringArrayVar(&e.traits, "trait", nil, "`name=value` of a trait; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if done, err := a.fill(s); done || err != nil {
			return err
		}
		if e.user == "" && e.anonymous == "" {
			return usageError{errors.New("whose request is it? --user ID or --anonymous ID")}
		}
		e.name, e.id = args[0], cmp.Or(e.id, rand.Text())
		body, err := e.encode()
		if err != nil {
			return err
		}
		c, values, err := p.connect(client.HintEither)
		if err != nil {
			return err
		}
		defer c.Close()
		var answer users.Context
		text, err := c.Ask(cmd.Context(), body, values, &answer)
		if err != nil {
			return unnamed(err)
		}
		return a.printPerson(text, &answer)
	}
	return cmd
}

func (a *app) user() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user ID",
		Short: "See what is known of a user",
		Long: `See what is known of a user: who they are, what they are doing now and what they
did last. Events of a moment ago are included.`,
		Example: "  millrace user ada\n  millrace user ada --after 0:17 --output json   # put your receipt here",
		Args:    exactly(1, "the user's id"),
	}
	var p person
	var after string
	var anonymous bool
	s := newSettings(cmd, false, p.register, func(fs *flag.FlagSet) {
		fs.StringVar(&after, "after", "", "`receipt` of a sent event that the answer must include")
		fs.BoolVar(&anonymous, "anonymous", false, "the id is that of a visitor who is not known")
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if done, err := a.fill(s); done || err != nil {
			return err
		}
		c, values, err := p.connect("")
		if err != nil {
			return err
		}
		defer c.Close()
		if after != "" {
			values.Set("after", after)
		}
		if anonymous {
			values.Set("anonymous", "true")
		}
		var answer users.Context
		text, err := c.Get(cmd.Context(), "/v1/users/"+url.PathEscape(args[0]), values, &answer)
		if err != nil {
			return unnamed(err)
		}
		return a.printPerson(text, &answer)
	}
	return cmd
}

func (a *app) printPerson(text json.RawMessage, u *users.Context) error {
	if a.output == "json" {
		return a.printJSON(text)
	}
	// First what is not in it: without their history the numbers are those of a moment, and no first time is known.
	memory := false
	for _, l := range u.Lacks {
		fmt.Fprintf(a.stderr, "lacking: %s: %s\n", l.What, l.Why)
		memory = memory || l.What == users.LackHistory
	}
	p := newPairs(a.stdout)
	p.add("user", u.User)
	if len(u.IDs.Users)+len(u.IDs.Anonymous) > 1 {
		p.add("ids", strings.Join(append(slices.Clone(u.IDs.Users), u.IDs.Anonymous...), ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(u.Profile.Traits)) {
		p.add(name, u.Profile.Traits[name].Text)
	}
	events := count(u.Profile.Events)
	if memory {
		events += ", without history"
	}
	if u.Profile.Events > 0 {
		if !memory {
			p.add("first seen", u.Profile.FirstSeen)
		}
		p.add("last seen", u.Profile.LastSeen)
	}
	p.add("events", events)
	switch s := u.Session; s {
	case nil:
		p.add("session", "none now")
	default:
		p.add("session", fmt.Sprintf("since %s, %d events", s.StartedAt, s.Events))
		if len(s.Pages) > 0 {
			p.add("pages", strings.Join(s.Pages, " > "))
		}
	}
	if s := u.Since; s != nil {
		p.add("since "+s.Event, fmt.Sprintf("%s ago: %s", seconds(s.Seconds), inWords(s)))
	}
	if err := p.flush(); err != nil {
		return err
	}
	if len(u.Profile.Counts.Week) > 0 {
		fmt.Fprintln(a.stdout)
		g := newGrid(a.stdout, "EVENT", "24 H", "7 D")
		for _, name := range slices.Sorted(maps.Keys(u.Profile.Counts.Week)) {
			g.row(name, count(u.Profile.Counts.Day[name]), count(u.Profile.Counts.Week[name]))
		}
		if err := g.flush(); err != nil {
			return err
		}
	}
	if len(u.Recent) > 0 {
		fmt.Fprintln(a.stdout)
		r := newPairs(a.stdout)
		for _, e := range u.Recent {
			r.add(e.Timestamp, e.Event+propertiesOf(e))
		}
		if err := r.flush(); err != nil {
			return err
		}
	}
	return nil
}

// propertiesOf lists the properties of an event on its line.
func propertiesOf(e users.Event) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(e.Properties)) {
		fmt.Fprintf(&b, "  %s=%s", name, e.Properties[name].Text)
	}
	return b.String()
}

func inWords(s *users.Since) string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(s.Events)) {
		words = append(words, fmt.Sprintf("%s %s", count(s.Events[name]), name))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Traits)) {
		c := s.Traits[name]
		if c.From == nil {
			words = append(words, name+" is "+c.To.Text)
		} else {
			words = append(words, name+" "+c.From.Text+" -> "+c.To.Text)
		}
	}
	if len(words) == 0 {
		return "nothing"
	}
	return strings.Join(words, ", ")
}

// seconds is a span of time for people.
func seconds(s float64) string {
	switch {
	case s < 120:
		return fmt.Sprintf("%.0f s", s)
	case s < 2*3600:
		return fmt.Sprintf("%.0f min", s/60)
	}
	return fmt.Sprintf("%.1f h", s/3600)
}
