package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

type franzBreaks struct {
	topic, group string
	producer     *kgo.Client
	member       *kgo.Client
	results      chan error
	sent         int
}

func franzVictim(at string, options ...kgo.Opt) (*kgo.Client, error) {
	options = append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RetryTimeout(60*time.Second))
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(at)}, options...)...)
}

// newFranzBreaks makes a topic of two partitions on the server to be killed, and a producer that goes there by `at`.
func newFranzBreaks(name, at string, options ...kgo.Opt) (*franzBreaks, error) {
	breaks := &franzBreaks{topic: unique("franz-" + name), group: unique("franz-g-" + name), results: make(chan error, 1000)}
	client, err := franzVictim(victim)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if _, err := kadm.NewClient(client).CreateTopic(context.Background(), 2, 1, nil, breaks.topic); err != nil {
		return nil, err
	}
	breaks.producer, err = franzVictim(at, append(options, kgo.ProducerBatchMaxBytes(512))...)
	return breaks, err
}

func (breaks *franzBreaks) send(from, to int) {
	for n := from; n < to; n++ {
		one := &kgo.Record{Topic: breaks.topic, Partition: int32(n % 2), Value: []byte(fmt.Sprint(n))}
		breaks.sent++
		breaks.producer.Produce(context.Background(), one, func(_ *kgo.Record, err error) { breaks.results <- err })
	}
}

func (breaks *franzBreaks) acknowledged() error {
	err := breaks.producer.Flush(context.Background())
	for ; breaks.sent > 0; breaks.sent-- {
		err = errors.Join(err, <-breaks.results)
	}
	return err
}

func (breaks *franzBreaks) read() ([]int, error) {
	if breaks.member == nil {
		member, err := franzVictim(victim, kgo.ConsumerGroup(breaks.group), kgo.ConsumeTopics(breaks.topic), kgo.DisableAutoCommit(),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		if err != nil {
			return nil, err
		}
		breaks.member = member
	}
	context, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	// Errors are of connections, which the client mends itself; what is missing shows.
	var read []record
	breaks.member.PollRecords(context, 20).EachRecord(func(r *kgo.Record) { read = append(read, record{value: r.Value}) })
	return numbersOf(read), nil
}

func (breaks *franzBreaks) commit() ([2]int64, error) {
	if err := breaks.member.CommitUncommittedOffsets(context.Background()); err != nil {
		return [2]int64{}, err
	}
	return breaks.stands()
}

func (breaks *franzBreaks) stands() ([2]int64, error) {
	client, err := franzVictim(victim)
	if err != nil {
		return [2]int64{}, err
	}
	defer client.Close()
	offsets, err := kadm.NewClient(client).FetchOffsets(context.Background(), breaks.group)
	var stands [2]int64
	offsets.Each(func(one kadm.OffsetResponse) { stands[one.Partition] = one.At })
	return stands, err
}

func (breaks *franzBreaks) leave() error {
	breaks.member.Close()
	breaks.member = nil
	return nil
}

func (breaks *franzBreaks) partition(partition int32, count int, options ...kgo.Opt) ([]record, error) {
	from := map[string]map[int32]kgo.Offset{breaks.topic: {partition: kgo.NewOffset().AtStart()}}
	client, err := franzVictim(victim, append(options, kgo.ConsumePartitions(from))...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var read []record
	err = until(fmt.Sprint(count, " records"), func() (bool, error) {
		more, err := franzPoll(client)
		read = append(read, more...)
		return len(read) >= count, err
	})
	return read, err
}

func (breaks *franzBreaks) stored(partition int32, count int) ([]record, error) {
	return breaks.partition(partition, count)
}

func (breaks *franzBreaks) committed(partition int32, count int) ([]record, error) {
	return breaks.partition(partition, count, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
}

func (breaks *franzBreaks) begin() error { return breaks.producer.BeginTransaction() }

func (breaks *franzBreaks) end(commit bool) error {
	if commit {
		return breaks.producer.EndTransaction(context.Background(), kgo.TryCommit)
	}
	// What waits is not to be sent any more; its reports say so.
	err := breaks.producer.AbortBufferedRecords(context.Background())
	for ; breaks.sent > 0; breaks.sent-- {
		<-breaks.results
	}
	return errors.Join(err, breaks.producer.EndTransaction(context.Background(), kgo.TryAbort))
}

func franzKilled() error {
	breaks, err := newFranzBreaks("killed", victim)
	if err != nil {
		return err
	}
	defer breaks.producer.Close()
	return killed(breaks)
}

func franzAborted() error {
	breaks, err := newFranzBreaks("aborted", victimCut, kgo.TransactionalID(unique("franz-aborted")))
	if err != nil {
		return err
	}
	defer breaks.producer.Close()
	return aborted(breaks)
}
