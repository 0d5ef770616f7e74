// Stock Go clients against a server at TIDELOG_KAFKA: `go run . franz-go`, `… sarama`, `… tls`.
package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// Longest a single check may take.
const patience = 240 * time.Second

var (
	brokers = os.Getenv("TIDELOG_KAFKA")
	// The same server behind a proxy that loses answers; empty if there is none.
	cut = os.Getenv("TIDELOG_CUT")
	run = fmt.Sprintf("%x", time.Now().UnixMilli())
)

type check struct {
	name   string
	action func() error
}

// Runs checks in the order of their definition and prints `ok` or `FAIL` for each.
func runChecks(client string, checks []check) bool {
	count, failed := 0, 0
	for _, check := range checks {
		if !strings.Contains(check.name, os.Getenv("TIDELOG_CHECK")) {
			continue
		}
		count++
		start := time.Now()
		if err := bounded(check.action); err != nil {
			failed++
			fmt.Printf("FAIL  %s: %s: %s\n", client, check.name, strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Printf("ok    %s: %s (%.1f s)\n", client, check.name, time.Since(start).Seconds())
		}
	}
	return failed == 0 && count > 0
}

// A check may fail in any way; the next one still runs.
func bounded(action func() error) error {
	done := make(chan error, 1)
	go func() {
		defer func() {
			if failure := recover(); failure != nil {
				done <- fmt.Errorf("panic: %v", failure)
			}
		}()
		done <- action()
	}()
	select {
	case err := <-done:
		return err
	case <-time.After(patience):
		return fmt.Errorf("not done within %v", patience)
	}
}

// A name that no other run uses.
func unique(name string) string { return name + "-" + run }

func equal(what string, got, expected any) error {
	if fmt.Sprint(got) != fmt.Sprint(expected) {
		return fmt.Errorf("%s is %.300s, expected %.300s", what, fmt.Sprint(got), fmt.Sprint(expected))
	}
	return nil
}

func refused(err, expected error) error {
	if err == nil {
		return fmt.Errorf("accepted, expected %w", expected)
	}
	if !errors.Is(err, expected) {
		return fmt.Errorf("expected %v: %w", expected, err)
	}
	return nil
}

// Polls until the condition holds; the condition does the waiting (a poll of the client, say).
func until(what string, condition func() (bool, error)) error {
	for deadline := time.Now().Add(90 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if holds, err := condition(); holds || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: not within 90 s", what)
		}
	}
}

// What a record of the checks has, the same for both clients. A nil slice is a null.
type record struct {
	key, value []byte
	headers    []header
	time       time.Time
	offset     int64
	partition  int32
}

type header struct {
	key   string
	value []byte
}

// A check for each codec with each acks setting; the action gets their places in the lists of the client.
func codecChecks(action func(name string, codec, acks int) error) []check {
	var checks []check
	for codec, codecName := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		for acks, acksName := range []string{"0", "1", "all"} {
			checks = append(checks, check{
				"codec " + codecName + ", acks " + acksName,
				func() error { return action(codecName+"-"+acksName, codec, acks) },
			})
		}
	}
	return checks
}

func numbers(from, to int) []record {
	var records []record
	for n := from; n < to; n++ {
		text := []byte(fmt.Sprint(n))
		records = append(records, record{key: text, value: text})
	}
	return records
}

// secondsApart gives records a second apart, and the time of the first.
func secondsApart(count int) ([]record, time.Time) {
	start := time.Now().Add(-100 * time.Second).Truncate(time.Millisecond)
	records := numbers(0, count)
	for n := range records {
		records[n].time = start.Add(time.Duration(n) * time.Second)
	}
	return records, start
}

func values(records []record) []string {
	var values []string
	for _, record := range records {
		values = append(values, string(record.value))
	}
	return values
}

func shown(bytes []byte) string {
	if bytes == nil {
		return "null"
	}
	return fmt.Sprintf("%q", bytes)
}

func main() {
	clients := map[string]func() []check{"franz-go": franzChecks, "sarama": saramaChecks, "tls": tlsChecks}
	if len(os.Args) != 2 || clients[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: go run . franz-go|sarama|tls")
		os.Exit(2)
	}
	if !runChecks(os.Args[1], clients[os.Args[1]]()) {
		os.Exit(1)
	}
}
