package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A member of a group, and how many partitions it has.
type franzMember struct {
	*kgo.Client
	owned atomic.Int32
}

func newFranzMember(group, topic string, options ...kgo.Opt) (*franzMember, error) {
	member := &franzMember{}
	count := func(sign int32) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, partitions map[string][]int32) {
			member.owned.Add(sign * int32(len(partitions[topic])))
		}
	}
	client, err := franz(append(options, kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.HeartbeatInterval(300*time.Millisecond),
		kgo.SessionTimeout(6*time.Second), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(count(1)), kgo.OnPartitionsRevoked(count(-1)), kgo.OnPartitionsLost(count(-1)))...)
	member.Client = client
	return member, err
}

func franzGroup(name string, balancer kgo.GroupOpt) error {
	topic, err := franzTopic("group-"+name, 4)
	if err != nil {
		return err
	}
	group := unique("franz-g-" + name)
	first, err := newFranzMember(group, topic, balancer)
	if err != nil {
		return err
	}
	defer first.Close()
	var seen []record
	poll := func(members ...*franzMember) error {
		for _, member := range members {
			more, err := franzPoll(member.Client)
			if err != nil {
				return err
			}
			seen = append(seen, more...)
		}
		return nil
	}
	alone := func() (bool, error) { return first.owned.Load() == 4, poll(first) }
	if err := until("the first has all partitions", alone); err != nil {
		return err
	}
	second, err := newFranzMember(group, topic, balancer)
	if err != nil {
		return err
	}
	defer second.Close()
	err = until("two partitions each", func() (bool, error) {
		return first.owned.Load() == 2 && second.owned.Load() == 2, poll(first, second)
	})
	if err != nil {
		return err
	}
	records := numbers(0, 40)
	for n := range records {
		records[n].partition = int32(n % 4)
	}
	if err := franzSend(topic, records); err != nil {
		return err
	}
	err = until("all records", func() (bool, error) { return len(seen) >= 40, poll(first, second) })
	for _, member := range []*franzMember{first, second} {
		err = errors.Join(err, member.CommitUncommittedOffsets(context.Background()))
	}
	if err != nil {
		return err
	}
	second.Close()
	return errors.Join(until("the first has all partitions again", alone), equal("records", len(seen), 40))
}

func franzDeath() error {
	topic, err := franzTopic("death", 4)
	if err != nil {
		return err
	}
	group := unique("franz-death")
	first, err := newFranzMember(group, topic)
	if err != nil {
		return err
	}
	defer first.Close()
	has := func(first *franzMember, count int32) func() (bool, error) {
		return func() (bool, error) {
			_, err := franzPoll(first.Client)
			return first.owned.Load() == count, err
		}
	}
	if err := until("the first has all partitions", has(first, 4)); err != nil {
		return err
	}
	// A static member does not say that it goes: to the group it is dead once its session has expired.
	second, err := newFranzMember(group, topic, kgo.InstanceID("static"))
	if err != nil {
		return err
	}
	err = until("two partitions each", has(first, 2))
	start := time.Now()
	second.Close()
	err = errors.Join(err, until("the first has all partitions again", has(first, 4)))
	if err == nil && time.Since(start) < 3*time.Second {
		err = errors.New("the second was not missed, it left")
	}
	return err
}

func franzResume() error {
	topic, err := franzTopic("resume", 1)
	if err != nil {
		return err
	}
	if err := franzSend(topic, numbers(0, 30)); err != nil {
		return err
	}
	group := unique("franz-resume")
	for round := range 3 {
		client, err := newFranzMember(group, topic)
		if err != nil {
			return err
		}
		var read []record
		err = until("ten records", func() (bool, error) {
			context, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
			defer cancel()
			client.PollRecords(context, 10-len(read)).EachRecord(func(r *kgo.Record) {
				read = append(read, record{value: r.Value})
			})
			return len(read) >= 10, nil
		})
		err = errors.Join(err, client.CommitUncommittedOffsets(context.Background()))
		client.Close()
		if err != nil {
			return err
		}
		if err := equal("values", values(read), values(numbers(round*10, round*10+10))); err != nil {
			return err
		}
	}
	return nil
}

// Two members read, transform and write in transactions that move the group's positions; the second one joins in the middle, and every
// fourth transaction is aborted, whose records come again. Each record comes out once.
func franzPipeline(name string, options ...kgo.Opt) error {
	const partitions, each = 4, 100
	in, err := franzTopic("in-"+name, partitions)
	if err != nil {
		return err
	}
	out, err := franzTopic("out-"+name, 1)
	if err != nil {
		return err
	}
	sent := 0
	send := func() error {
		records := numbers(sent, sent+partitions*each)
		for n := range records {
			records[n].partition = int32(n % partitions)
		}
		sent += len(records)
		return franzSend(in, records)
	}
	if err := send(); err != nil {
		return err
	}
	group := unique("franz-pipeline-" + name)
	position := func() (int64, error) {
		sum := int64(0)
		return sum, franzAdmin(func(admin *kadm.Client) error {
			committed, err := admin.FetchOffsets(context.Background(), group)
			committed.Each(func(one kadm.OffsetResponse) { sum += one.At })
			return err
		})
	}
	background, stop := context.WithCancel(context.Background())
	defer stop()
	ends, rounds := make(chan error, 2), [2]atomic.Int32{}
	work := func(member int) {
		ends <- franzTransform(background, group, in, out, member, &rounds[member], options...)
	}
	go work(0)
	err = until("the first works", func() (bool, error) { return rounds[0].Load() >= 3, nil })
	go work(1)
	// On a busy machine the first may have done everything before the second is a member: then there is more.
	err = errors.Join(err, until("all is transformed, by both", func() (bool, error) {
		sum, err := position()
		if err != nil || sum < int64(sent) {
			return false, err
		}
		if rounds[1].Load() == 0 {
			return false, send()
		}
		return true, nil
	}))
	stop()
	err = errors.Join(err, <-ends, <-ends)
	if err != nil {
		return err
	}
	if err := franzSend(out, []record{{value: []byte("end")}}); err != nil {
		return err
	}
	read, err := franzRead(out, sent+1, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		return err
	}
	seen := map[string]int{}
	for _, value := range values(read) {
		seen[value]++
	}
	for n := range sent {
		if err := equal(fmt.Sprint("times of ", n), seen[fmt.Sprint(n)], 1); err != nil {
			return err
		}
	}
	return equal("the last record", string(read[len(read)-1].value), "end")
}

func franzTransform(ctx context.Context, group, in, out string, member int, rounds *atomic.Int32, options ...kgo.Opt) error {
	session, err := kgo.NewGroupTransactSession(append(options, kgo.SeedBrokers(brokers), kgo.TransactionalID(fmt.Sprint(out, "-", member)),
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(in), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.HeartbeatInterval(300*time.Millisecond))...)
	if err != nil {
		return err
	}
	defer session.Close()
	for ctx.Err() == nil {
		fetches := session.PollRecords(ctx, 10)
		if fetches.Empty() {
			continue
		}
		if err := session.Begin(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			session.Produce(context.Background(), &kgo.Record{Topic: out, Value: r.Value}, nil)
		})
		// A group that shares anew makes of a commit an abort.
		if _, err := session.End(context.Background(), rounds.Add(1)%4 != 0); err != nil {
			return err
		}
	}
	return nil
}
