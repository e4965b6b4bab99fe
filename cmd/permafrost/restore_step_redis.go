package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"permafrost/cmd/permafrost/internal/console"
	"permafrost/cmd/permafrost/internal/usage"
	"permafrost/internal/hint"
	"permafrost/source"
	"permafrost/source/redis"
)

// stepRDB returns the command that looks into an RDB.
func stepRDB(stdin io.Reader, ui *console.Console) *cobra.Command {
	var onto string
	var replace bool
	cmd := &cobra.Command{
		Use:   "rdb FILE",
		Short: "check an RDB, and count its keys",
		Long: `Rdb reads an RDB to its end and checks it. It writes its version and its keys by database,
as Redis' INFO does. With --onto it also checks that the server with the RDB OWN can
read it. It fails if the server would lose keys that are not Mastodon's.`,
		Example: `  permafrost restore-step rdb redis-dump.rdb --onto /var/lib/redis/dump.rdb`,
		Args:    args("one RDB", 1, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			c, err := readRDB(stdin, args[0])
			if err != nil {
				return hint.Wrap(fmt.Errorf("%s: %w", args[0], err), "restore this file once more")
			}
			if onto != "" {
				if err := checkOnto(stdin, c, onto, replace); err != nil {
					return err
				}
			}
			_, err = fmt.Fprintln(ui.Raw(), strings.Join(c.Lines(), "\n"))
			return err
		},
	}
	cmd.Flags().StringVar(&onto, "onto", "", "the server's own RDB, `OWN`; - reads it from standard input")
	cmd.Flags().BoolVar(&replace, "replace", false, "let the server lose what else it has")
	return cmd
}

// checkOnto checks whether a server may load an RDB, by what it has saved itself.
func checkOnto(stdin io.Reader, c *redis.Contents, own string, replace bool) error {
	has, err := readRDB(stdin, own)
	if err != nil {
		return fmt.Errorf("the server's own RDB: %w", err)
	}
	if err := c.ReadableBy(has); err != nil || replace {
		return err
	}
	return c.Replaces(has)
}

func readRDB(stdin io.Reader, name string) (*redis.Contents, error) {
	if name == "-" {
		return redis.ReadRDB(stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return redis.ReadRDB(f)
}

// stepRedisLogin returns the command that tells how Mastodon logs in to Redis.
func stepRedisLogin(ui *console.Console) *cobra.Command {
	var file string
	var sidekiq bool
	cmd := &cobra.Command{
		Use:     "redis-login --settings FILE",
		Short:   "write Redis' user, password and namespace, a line each",
		Example: `  permafrost restore-step redis-login --settings /home/mastodon/live/.env.production`,
		Args:    args("no arguments", 0, 0),
		RunE: func(*cobra.Command, []string) error {
			if file == "" {
				return hint.Wrap(usage.Errorf("no settings file is named"), "say --settings FILE")
			}
			l, err := source.LoadRedisLogin(file, sidekiq)
			if err != nil {
				return err
			}
			words := []string{l.User, l.Password, l.Namespace}
			for _, w := range words {
				if strings.ContainsAny(w, "\r\n\x00") {
					return fmt.Errorf("%s: Redis' user, password or namespace has several lines", file)
				}
			}
			_, err = fmt.Fprintln(ui.Raw(), strings.Join(words, "\n"))
			return err
		},
	}
	cmd.Flags().StringVar(&file, "settings", "", "settings `file` of Mastodon, such as .env.production")
	cmd.Flags().BoolVar(&sidekiq, "sidekiq", false, "those of the Redis with Sidekiq's queues")
	return cmd
}

// maxPassword bounds the password that a replica is to give, in bytes.
const maxPassword = 200

// stepRedisMaster returns the command that gives an RDB to a server by replication.
func stepRedisMaster(stdin io.Reader, ui *console.Console) *cobra.Command {
	var replica string
	cmd := &cobra.Command{
		Use:   "redis-master FILE --replica HOST:PORT",
		Short: "be a master that gives an RDB to one Redis",
		Long: `Redis-master reads a password from the first line of its standard input. It listens at
the address by which this host reaches HOST:PORT, and writes that address and the port.
It ends when its standard input does. Then make the server a replica of
that address, with the password as masterauth: it gets the RDB.`,
		Example: `  permafrost restore-step redis-master redis-dump.rdb --replica 10.0.0.7:6379`,
		Args:    args("one RDB", 1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if replica == "" {
				return hint.Wrap(usage.Errorf("no server is named"), "say --replica HOST:PORT")
			}
			return redisMaster(cmd.Context(), stdin, ui, args[0], replica)
		},
	}
	cmd.Flags().StringVar(&replica, "replica", "", "the one server that gets the RDB, `HOST:PORT`")
	return cmd
}

func redisMaster(ctx context.Context, stdin io.Reader, ui *console.Console, name, replica string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := redis.CheckRDB(f); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	in := bufio.NewReader(io.LimitReader(stdin, maxPassword))
	password, err := in.ReadString('\n')
	if password = strings.TrimSuffix(password, "\n"); err != nil || password == "" {
		return usage.Errorf("no password comes on standard input")
	}
	m := redis.Master{RDB: f, Password: password, Tell: func(text string) { ui.Warn("%s", text) }}
	var listen netip.Addr
	if listen, m.Peers, err = redis.Facing(ctx, replica); err != nil {
		return err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(listen.String(), "0"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		io.Copy(io.Discard, stdin)
		cancel()
	}()
	if _, err := fmt.Fprintln(ui.Raw(), listen, l.Addr().(*net.TCPAddr).Port); err != nil {
		return err
	}
	return m.Serve(ctx, l)
}
