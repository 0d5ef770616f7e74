package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

type saramaBreaks struct {
	topic, group string
	producer     sarama.AsyncProducer
	results      chan error
	sent         int
	member       *saramaReader
}

// A member of the group, whose records wait to be polled; what was polled is marked.
type saramaReader struct {
	sarama.ConsumerGroup
	ended    chan struct{}
	stop     context.CancelFunc
	messages chan *sarama.ConsumerMessage
	lock     sync.Mutex
	session  sarama.ConsumerGroupSession
}

func (reader *saramaReader) Setup(session sarama.ConsumerGroupSession) error {
	reader.lock.Lock()
	defer reader.lock.Unlock()
	reader.session = session
	return nil
}

func (reader *saramaReader) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (reader *saramaReader) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		select {
		case message := <-claim.Messages():
			if message == nil {
				return nil
			}
			select {
			case reader.messages <- message:
			case <-session.Context().Done():
				return nil
			}
		case <-session.Context().Done():
			return nil
		}
	}
}

// newSaramaBreaks makes a topic of two partitions on the server to be killed, and a producer that goes there by `at`.
func newSaramaBreaks(name, at string, change func(*sarama.Config)) (*saramaBreaks, error) {
	breaks := &saramaBreaks{topic: unique("sarama-" + name), group: unique("sarama-g-" + name), results: make(chan error, 1000)}
	admin, err := sarama.NewClusterAdmin([]string{victim}, saramaConfig())
	if err != nil {
		return nil, err
	}
	err = admin.CreateTopic(breaks.topic, &sarama.TopicDetail{NumPartitions: 2, ReplicationFactor: 1}, false)
	if err := errors.Join(err, admin.Close()); err != nil {
		return nil, err
	}
	config := saramaConfig()
	config.Producer.Idempotent, config.Net.MaxOpenRequests = true, 1
	config.Producer.Flush.Messages, config.Producer.Flush.MaxMessages = 10, 10
	config.Producer.Flush.Frequency = 5 * time.Millisecond
	config.Producer.Retry.Max, config.Producer.Transaction.Retry.Max = 100, 100
	change(config)
	breaks.producer, err = sarama.NewAsyncProducer([]string{at}, config)
	if err != nil {
		return nil, err
	}
	// A producer whose answers nobody takes sends nothing more.
	go func() {
		for range breaks.producer.Successes() {
			breaks.results <- nil
		}
	}()
	go func() {
		for failed := range breaks.producer.Errors() {
			breaks.results <- failed
		}
	}()
	return breaks, nil
}

func (breaks *saramaBreaks) send(from, to int) {
	for n := from; n < to; n++ {
		breaks.sent++
		value := sarama.StringEncoder(fmt.Sprint(n))
		breaks.producer.Input() <- &sarama.ProducerMessage{Topic: breaks.topic, Partition: int32(n % 2), Value: value}
	}
}

func (breaks *saramaBreaks) acknowledged() error {
	var err error
	for ; breaks.sent > 0; breaks.sent-- {
		select {
		case failed := <-breaks.results:
			err = errors.Join(err, failed)
		case <-time.After(120 * time.Second):
			return fmt.Errorf("%d records without an answer", breaks.sent)
		}
	}
	return err
}

func (breaks *saramaBreaks) read() ([]int, error) {
	if breaks.member == nil {
		joined, err := sarama.NewConsumerGroup([]string{victim}, breaks.group, saramaConfig())
		if err != nil {
			return nil, err
		}
		context, stop := context.WithCancel(context.Background())
		member := &saramaReader{ConsumerGroup: joined, ended: make(chan struct{}), stop: stop, messages: make(chan *sarama.ConsumerMessage)}
		go func() {
			defer close(member.ended)
			// A server that is away ends a session with an error; the next one comes when it is there again.
			for context.Err() == nil {
				if joined.Consume(context, []string{breaks.topic}, member) != nil {
					time.Sleep(50 * time.Millisecond)
				}
			}
		}()
		breaks.member = member
	}
	var read []record
	for late := time.After(100 * time.Millisecond); len(read) < 20; {
		select {
		case message := <-breaks.member.messages:
			read = append(read, record{value: message.Value})
			breaks.member.mark(message)
		case <-late:
			return numbersOf(read), nil
		}
	}
	return numbersOf(read), nil
}

func (reader *saramaReader) mark(message *sarama.ConsumerMessage) {
	reader.lock.Lock()
	defer reader.lock.Unlock()
	reader.session.MarkMessage(message, "")
}

func (breaks *saramaBreaks) commit() ([2]int64, error) {
	breaks.member.lock.Lock()
	breaks.member.session.Commit()
	breaks.member.lock.Unlock()
	return breaks.stands()
}

func (breaks *saramaBreaks) stands() ([2]int64, error) {
	var stands [2]int64
	admin, err := sarama.NewClusterAdmin([]string{victim}, saramaConfig())
	if err != nil {
		return stands, err
	}
	offsets, err := admin.ListConsumerGroupOffsets(breaks.group, map[string][]int32{breaks.topic: {0, 1}})
	if err == nil {
		for partition, one := range offsets.Blocks[breaks.topic] {
			stands[partition] = max(one.Offset, 0)
		}
	}
	return stands, errors.Join(err, admin.Close())
}

func (breaks *saramaBreaks) leave() error {
	breaks.member.stop()
	<-breaks.member.ended
	err := breaks.member.Close()
	breaks.member = nil
	return err
}

func (breaks *saramaBreaks) partition(config *sarama.Config, partition int32, count int) ([]record, error) {
	consumer, err := sarama.NewConsumer([]string{victim}, config)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	from, err := consumer.ConsumePartition(breaks.topic, partition, sarama.OffsetOldest)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	var read []record
	for late := time.After(90 * time.Second); len(read) < count; {
		select {
		case message := <-from.Messages():
			read = append(read, record{value: message.Value, offset: message.Offset})
		case <-late:
			return read, fmt.Errorf("%d of %d records within 30 s", len(read), count)
		}
	}
	return read, nil
}

func (breaks *saramaBreaks) stored(partition int32, count int) ([]record, error) {
	return breaks.partition(saramaConfig(), partition, count)
}

func (breaks *saramaBreaks) committed(partition int32, count int) ([]record, error) {
	config := saramaConfig()
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	return breaks.partition(config, partition, count)
}

func (breaks *saramaBreaks) begin() error { return breaks.producer.BeginTxn() }

func (breaks *saramaBreaks) end(commit bool) error {
	if commit {
		return breaks.producer.CommitTxn()
	}
	// sarama sends what waits before it aborts.
	return errors.Join(breaks.acknowledged(), breaks.producer.AbortTxn())
}

func saramaKilled() error {
	breaks, err := newSaramaBreaks("killed", victim, func(*sarama.Config) {})
	if err != nil {
		return err
	}
	defer breaks.producer.AsyncClose()
	return killed(breaks)
}

func saramaAborted() error {
	breaks, err := newSaramaBreaks("aborted", victimCut, func(config *sarama.Config) {
		config.Producer.Transaction.ID = unique("sarama-aborted")
	})
	if err != nil {
		return err
	}
	defer breaks.producer.AsyncClose()
	return aborted(breaks)
}
