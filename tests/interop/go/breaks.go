package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
)

var (
	// A second server, which is killed when a check asks for it, and the same behind a proxy that breaks connections when asked (victim.py).
	victim        = os.Getenv("TIDELOG_VICTIM")
	victimCut     = os.Getenv("TIDELOG_VICTIM_CUT")
	victimControl = os.Getenv("TIDELOG_VICTIM_CONTROL")
)

// What becomes of each transaction of a check, all of twenty records: connections break before its records are acknowledged, or take along
// the answer to its abort; those without either are committed.
var ends = []string{"cut", "lose", "", "lose", "cut", ""}

// `kill` the server and wait until it is there again; `cut` all connections, or let them `lose` their next answer: how many.
func ask(what string) (string, error) {
	answer, err := http.Get("http://" + victimControl + "/" + what)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return string(text), err
}

// Breaks connections, of which there must be some.
func broken(what string) error {
	count, err := ask(what)
	if count == "0" {
		err = fmt.Errorf("no connection to %s", what)
	}
	return err
}

func kill() error {
	_, err := ask("kill")
	return err
}

// What a check of a killed server needs of a client.
type killable interface {
	// Sends these numbers, each to the partition of its parity, and waits for nothing.
	send(from, to int)
	// Waits until everything is acknowledged.
	acknowledged() error
	// Joins the group, or polls it: what has come.
	read() ([]int, error)
	// Commits what has been read; where the group stands then in both partitions.
	commit() ([2]int64, error)
	// Where the group stands, by a connection of its own.
	stands() ([2]int64, error)
	// Leaves the group; the next read joins it anew.
	leave() error
	// All that is in a partition.
	stored(partition int32, count int) ([]record, error)
}

// The server is killed twice while records are on their way and a group reads them.
func killed(client killable) error {
	seen := map[int]bool{}
	count := 0
	reads := func(enough int) error {
		return until(fmt.Sprint(enough, " records read"), func() (bool, error) {
			more, err := client.read()
			for _, n := range more {
				seen[n] = true
			}
			count += len(more)
			return len(seen) >= enough, err
		})
	}
	client.send(0, 100)
	if err := reads(40); err != nil {
		return err
	}
	before, err := client.commit()
	if err = errors.Join(err, equal("committed", before[0]+before[1], count)); err != nil {
		return err
	}
	client.send(100, 200)
	if err := kill(); err != nil {
		return err
	}
	after, err := client.stands()
	if err = errors.Join(err, equal("where the group stands after the kill", after, before), reads(200)); err != nil {
		return err
	}
	client.send(200, 300)
	if err := errors.Join(kill(), client.acknowledged(), reads(300)); err != nil {
		return err
	}
	if _, err := client.commit(); err != nil {
		return err
	}
	if err := client.leave(); err != nil {
		return err
	}
	for partition := range int32(2) {
		stored, err := client.stored(partition, 150)
		var wanted []record
		for n, one := range numbers(0, 300) {
			if n%2 == int(partition) {
				wanted = append(wanted, one)
			}
		}
		if err := errors.Join(err, equal("each record once, in order", values(stored), values(wanted))); err != nil {
			return err
		}
		if last := stored[len(stored)-1].offset; last != 149 {
			return fmt.Errorf("the last offset of partition %d is %d", partition, last)
		}
	}
	client.send(300, 301)
	var more []int
	err = until("the group reads on", func() (bool, error) {
		read, err := client.read()
		more = append(more, read...)
		return len(more) > 0, err
	})
	return errors.Join(err, client.acknowledged(), equal("what the group reads after its commit", more, []int{300}), client.leave())
}

// What a check of aborted transactions needs of a client.
type transactional interface {
	begin() error
	// Sends these numbers, each to the partition of its parity.
	send(from, to int)
	acknowledged() error
	end(commit bool) error
	committed(partition int32, count int) ([]record, error)
}

func aborted(client transactional) error {
	var committed [2][]string
	for n, how := range ends {
		if err := client.begin(); err != nil {
			return fmt.Errorf("transaction %d begins: %w", n, err)
		}
		client.send(20*n, 20*n+20)
		var err error
		if how == "cut" {
			err = broken("cut")
		} else {
			err = client.acknowledged()
		}
		if how == "lose" {
			err = errors.Join(err, broken("lose"))
		}
		if err = errors.Join(err, client.end(how == "")); err != nil {
			return fmt.Errorf("transaction %d (%s): %w", n, how, err)
		}
		for i := 20 * n; how == "" && i < 20*n+20; i++ {
			committed[i%2] = append(committed[i%2], fmt.Sprint(i))
		}
	}
	for partition := range int32(2) {
		read, err := client.committed(partition, 20)
		if err := errors.Join(err, equal("what is committed", values(read), committed[partition])); err != nil {
			return err
		}
	}
	return nil
}

// The numbers that records have as values.
func numbersOf(records []record) []int {
	var all []int
	for _, one := range records {
		var n int
		fmt.Sscan(string(one.value), &n)
		all = append(all, n)
	}
	return all
}

// The checks of this file go before those of administration, which come last.
func withBreaks(checks []check, kills, aborts func() error) []check {
	if victim == "" {
		return checks
	}
	at := slices.IndexFunc(checks, func(one check) bool { return strings.HasPrefix(one.name, "admin:") })
	return slices.Insert(checks, at,
		check{"the server is killed while it is written to and read", kills},
		check{"transactions: aborted when connections break", aborts})
}
