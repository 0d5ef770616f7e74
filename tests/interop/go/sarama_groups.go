package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
)

// A member of a group that reads until it is closed: how many partitions it has, and what it has read.
type saramaMember struct {
	sarama.ConsumerGroup
	owned atomic.Int32
	seen  atomic.Int32
	ended chan struct{}
}

func newSaramaMember(group, topic, instance string, strategy sarama.BalanceStrategy) (*saramaMember, error) {
	config := saramaConfig()
	config.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategy}
	config.Consumer.Group.Session.Timeout = 6 * time.Second
	config.Consumer.Group.InstanceId = instance
	joined, err := sarama.NewConsumerGroup([]string{brokers}, group, config)
	if err != nil {
		return nil, err
	}
	member := &saramaMember{ConsumerGroup: joined, ended: make(chan struct{})}
	go func() {
		defer close(member.ended)
		for joined.Consume(context.Background(), []string{topic}, member) == nil {
		}
	}()
	return member, nil
}

func (member *saramaMember) Setup(session sarama.ConsumerGroupSession) error {
	for _, partitions := range session.Claims() {
		member.owned.Store(int32(len(partitions)))
	}
	return nil
}

func (member *saramaMember) Cleanup(sarama.ConsumerGroupSession) error {
	member.owned.Store(0)
	return nil
}

func (member *saramaMember) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message := <-claim.Messages():
			if message == nil {
				return nil
			}
			member.seen.Add(1)
			session.MarkMessage(message, "")
		case <-session.Context().Done():
			session.Commit()
			return nil
		}
	}
}

func (member *saramaMember) has(count int32) func() (bool, error) {
	return func() (bool, error) { return member.owned.Load() == count, nil }
}

// Two members with two partitions each; with a name for the second one it is static.
func saramaPair(name, instance string, strategy sarama.BalanceStrategy, use func(topic string, first, second *saramaMember) error) error {
	topic, err := saramaTopic(name, 4)
	if err != nil {
		return err
	}
	group := unique("sarama-" + name)
	first, err := newSaramaMember(group, topic, "", strategy)
	if err != nil {
		return err
	}
	defer first.Close()
	if err := until("the first has all partitions", first.has(4)); err != nil {
		return err
	}
	second, err := newSaramaMember(group, topic, instance, strategy)
	if err != nil {
		return err
	}
	defer second.Close()
	err = errors.Join(until("two for the first", first.has(2)), until("two for the second", second.has(2)))
	if err != nil {
		return err
	}
	return errors.Join(use(topic, first, second), until("the first has all partitions again", first.has(4)))
}

func saramaGroup(strategy sarama.BalanceStrategy) error {
	return saramaPair("group-"+strategy.Name(), "", strategy, func(topic string, first, second *saramaMember) error {
		records := numbers(0, 40)
		for n := range records {
			records[n].partition = int32(n % 4)
		}
		if err := saramaSend(saramaConfig(), topic, records); err != nil {
			return err
		}
		err := until("all records", func() (bool, error) { return first.seen.Load()+second.seen.Load() >= 40, nil })
		err = errors.Join(err, equal("records of each", []int32{first.seen.Load(), second.seen.Load()}, []int32{20, 20}))
		return errors.Join(err, second.Close())
	})
}

// A static member does not say that it goes: to the group it is dead once its session has expired.
func saramaDeath() error {
	start := time.Now()
	err := saramaPair("death", "static", sarama.NewBalanceStrategyRange(), func(_ string, _, second *saramaMember) error {
		start = time.Now()
		return second.Close()
	})
	if err == nil && time.Since(start) < 3*time.Second {
		err = errors.New("the second was not missed, it left")
	}
	return err
}

// Reads ten records, marks them, and ends.
type saramaTen struct{ read []record }

func (*saramaTen) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*saramaTen) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (ten *saramaTen) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for len(ten.read) < 10 {
		select {
		case message := <-claim.Messages():
			if message == nil {
				return nil
			}
			ten.read = append(ten.read, record{value: message.Value})
			session.MarkMessage(message, "")
		case <-session.Context().Done():
			return nil
		}
	}
	session.Commit()
	return nil
}

func saramaResume() error {
	topic, err := saramaTopic("resume", 1)
	if err != nil {
		return err
	}
	if err := saramaSend(saramaConfig(), topic, numbers(0, 30)); err != nil {
		return err
	}
	for round := range 3 {
		group, err := sarama.NewConsumerGroup([]string{brokers}, unique("sarama-resume"), saramaConfig())
		if err != nil {
			return err
		}
		ten := &saramaTen{}
		err = group.Consume(context.Background(), []string{topic}, ten)
		if err := errors.Join(err, group.Close()); err != nil {
			return err
		}
		if err := equal("values", values(ten.read), values(numbers(round*10, round*10+10))); err != nil {
			return err
		}
	}
	return nil
}

// Reads, transforms and writes ten by ten; of each ten the first transaction is aborted, the second one counts.
type saramaTransform struct {
	sarama.SyncProducer
	group, out string
	committed  func() (int64, error)
	failure    error
}

func (*saramaTransform) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (*saramaTransform) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (transform *saramaTransform) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	member := sarama.NewConsumerGroupMetadataFromSession(session, transform.group, nil)
	for next := int64(10); next <= 60; next += 10 {
		var ten []*sarama.ConsumerMessage
		for len(ten) < 10 {
			select {
			case message := <-claim.Messages():
				ten = append(ten, message)
			case <-session.Context().Done():
				transform.failure = errors.New("the session has ended")
				return nil
			}
		}
		err := errors.Join(transform.once(ten, member, transform.AbortTxn, next-10), transform.once(ten, member, transform.CommitTxn, next))
		if err != nil {
			transform.failure = err
			return nil
		}
	}
	return nil
}

func (transform *saramaTransform) once(ten []*sarama.ConsumerMessage, member *sarama.ConsumerGroupMetadata, end func() error, expected int64) error {
	if err := transform.BeginTxn(); err != nil {
		return err
	}
	for _, one := range ten {
		message := &sarama.ProducerMessage{Topic: transform.out, Value: sarama.ByteEncoder(one.Value)}
		if _, _, err := transform.SendMessage(message); err != nil {
			return err
		}
	}
	if err := errors.Join(transform.AddMessageToTxnWithGroupMetadata(ten[9], member, nil), end()); err != nil {
		return err
	}
	// sarama asks for the last position that is decided, and the markers come after the answer to the end.
	return until(fmt.Sprint("the group stands at ", expected), func() (bool, error) {
		position, err := transform.committed()
		return position == expected, err
	})
}

func saramaPipeline() error {
	in, err := saramaTopic("in", 1)
	if err != nil {
		return err
	}
	out, err := saramaTopic("out", 1)
	if err != nil {
		return err
	}
	if err := saramaSend(saramaConfig(), in, numbers(0, 60)); err != nil {
		return err
	}
	config := saramaConfig()
	config.Producer.Idempotent, config.Net.MaxOpenRequests, config.Producer.Transaction.ID = true, 1, out
	producer, err := sarama.NewSyncProducer([]string{brokers}, config)
	if err != nil {
		return err
	}
	defer producer.Close()
	transform := &saramaTransform{SyncProducer: producer, group: unique("sarama-pipeline"), out: out}
	err = saramaAdmin(func(admin sarama.ClusterAdmin) error {
		transform.committed = func() (int64, error) {
			offsets, err := admin.ListConsumerGroupOffsets(transform.group, map[string][]int32{in: {0}})
			if err != nil {
				return 0, err
			}
			// -1 of a group that has no position yet.
			return max(offsets.GetBlock(in, 0).Offset, 0), nil
		}
		group, err := sarama.NewConsumerGroup([]string{brokers}, transform.group, saramaConfig())
		if err != nil {
			return err
		}
		err = group.Consume(context.Background(), []string{in}, transform)
		return errors.Join(err, transform.failure, group.Close())
	})
	if err != nil {
		return err
	}
	config = saramaConfig()
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	read, err := saramaReadWith(config, out, sarama.OffsetOldest, 60)
	return errors.Join(err, equal("values", values(read), values(numbers(0, 60))))
}
