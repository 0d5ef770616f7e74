package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/IBM/sarama"
)

func saramaChecks() []check {
	compressions := []sarama.CompressionCodec{
		sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD,
	}
	acks := []sarama.RequiredAcks{sarama.NoResponse, sarama.WaitForLocal, sarama.WaitForAll}
	checks := codecChecks(func(name string, codec, required int) error {
		return saramaCodec(name, compressions[codec], acks[required])
	})
	if cut != "" {
		checks = append(checks, check{"idempotence when connections break", func() error { return saramaIdempotence(cut) }})
	}
	return append(checks,
		check{"headers, repeated keys", saramaHeaders},
		check{"null keys and values", saramaNulls},
		check{"transactions, committed and aborted", saramaTransactions},
		check{"idempotence", func() error { return saramaIdempotence(brokers) }},
		check{"too large record is refused, the next one stored", saramaTooLarge},
		check{"seek by time", saramaTimes},
		check{"group of two", saramaGroup},
		check{"a member dies", saramaDeath},
		check{"commit and resume", saramaResume},
		check{"admin: create, list, errors", saramaTopics},
		check{"admin: delete records", saramaDeleteRecords},
		check{"admin: log directories", saramaLogDirs},
	)
}

func saramaConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Producer.Return.Successes = true
	// sarama's default is acks=1, whose answer does not wait until consumers see the records.
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	config.Consumer.Offsets.AutoCommit.Enable = false
	return config
}

func saramaAdmin(use func(sarama.ClusterAdmin) error) error {
	admin, err := sarama.NewClusterAdmin([]string{brokers}, saramaConfig())
	if err != nil {
		return err
	}
	return errors.Join(use(admin), admin.Close())
}

func saramaTopic(name string, partitions int32) (string, error) {
	topic := unique("sarama-" + name)
	return topic, saramaAdmin(func(admin sarama.ClusterAdmin) error {
		return admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1}, false)
	})
}

func saramaSend(config *sarama.Config, topic string, records []record) error {
	return saramaSendTo(brokers, config, topic, records)
}

func saramaSendTo(at string, config *sarama.Config, topic string, records []record) error {
	producer, err := sarama.NewSyncProducer([]string{at}, config)
	if err != nil {
		return err
	}
	encoder := func(bytes []byte) sarama.Encoder {
		if bytes == nil {
			return nil
		}
		return sarama.ByteEncoder(bytes)
	}
	var messages []*sarama.ProducerMessage
	for _, r := range records {
		message := &sarama.ProducerMessage{Topic: topic, Partition: r.partition, Key: encoder(r.key), Value: encoder(r.value), Timestamp: r.time}
		for _, h := range r.headers {
			message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(h.key), Value: h.value})
		}
		messages = append(messages, message)
	}
	return errors.Join(producer.SendMessages(messages), producer.Close())
}

func saramaRead(topic string, from int64, count int) ([]record, error) {
	return saramaReadWith(saramaConfig(), topic, from, count)
}

func saramaReadWith(config *sarama.Config, topic string, from int64, count int) ([]record, error) {
	consumer, err := sarama.NewConsumer([]string{brokers}, config)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(topic, 0, from)
	if err != nil {
		return nil, err
	}
	defer partition.Close()
	var read []record
	for late := time.After(30 * time.Second); len(read) < count; {
		select {
		case message := <-partition.Messages():
			one := record{key: message.Key, value: message.Value, time: message.Timestamp, offset: message.Offset}
			for _, h := range message.Headers {
				one.headers = append(one.headers, header{string(h.Key), h.Value})
			}
			read = append(read, one)
		case <-late:
			return read, fmt.Errorf("%d of %d records within 30 s", len(read), count)
		}
	}
	return read, nil
}

func saramaCodec(name string, compression sarama.CompressionCodec, acks sarama.RequiredAcks) error {
	topic, err := saramaTopic("codec-"+name, 1)
	if err != nil {
		return err
	}
	var records []record
	for n := range 50 {
		records = append(records, record{value: bytes.Repeat(fmt.Appendf(nil, "value %d ", n), 50)})
	}
	config := saramaConfig()
	config.Producer.Compression, config.Producer.RequiredAcks = compression, acks
	if err := saramaSend(config, topic, records); err != nil {
		return err
	}
	read, err := saramaRead(topic, sarama.OffsetOldest, 50)
	return errors.Join(err, equal("values", values(read), values(records)))
}

func saramaHeaders() error {
	topic, err := saramaTopic("headers", 1)
	if err != nil {
		return err
	}
	headers := []header{{"a", []byte("1")}, {"b", []byte{}}, {"a", []byte("2")}, {"ü", []byte{0, 255}}}
	if err := saramaSend(saramaConfig(), topic, []record{{value: []byte("x"), headers: headers}}); err != nil {
		return err
	}
	read, err := saramaRead(topic, sarama.OffsetOldest, 1)
	if err != nil {
		return err
	}
	return equal("headers", read[0].headers, headers)
}

func saramaNulls() error {
	topic, err := saramaTopic("nulls", 1)
	if err != nil {
		return err
	}
	records := []record{{}, {value: []byte("v")}, {key: []byte("k")}, {key: []byte("k"), value: []byte("v")}}
	if err := saramaSend(saramaConfig(), topic, records); err != nil {
		return err
	}
	read, err := saramaRead(topic, sarama.OffsetOldest, len(records))
	for n := range read {
		err = errors.Join(err, equal("key", shown(read[n].key), shown(records[n].key)))
		err = errors.Join(err, equal("value", shown(read[n].value), shown(records[n].value)))
	}
	return err
}

// Every second transaction is aborted.
func saramaTransactions() error {
	topic, err := saramaTopic("transactions", 1)
	if err != nil {
		return err
	}
	config := saramaConfig()
	config.Producer.Idempotent, config.Net.MaxOpenRequests, config.Producer.Transaction.ID = true, 1, topic
	producer, err := sarama.NewSyncProducer([]string{brokers}, config)
	if err != nil {
		return err
	}
	defer producer.Close()
	var committed []record
	for n := range 5 {
		if err := producer.BeginTxn(); err != nil {
			return err
		}
		for _, one := range numbers(10*n, 10*n+10) {
			if _, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.ByteEncoder(one.value)}); err != nil {
				return err
			}
			if n%2 == 0 {
				committed = append(committed, one)
			}
		}
		end := producer.CommitTxn
		if n%2 == 1 {
			end = producer.AbortTxn
		}
		if err := end(); err != nil {
			return err
		}
	}
	all, err := saramaRead(topic, sarama.OffsetOldest, 50)
	err = errors.Join(err, equal("all values", values(all), values(numbers(0, 50))))
	config = saramaConfig()
	config.Consumer.IsolationLevel = sarama.ReadCommitted
	read, failed := saramaReadWith(config, topic, sarama.OffsetOldest, len(committed))
	return errors.Join(err, failed, equal("committed values", values(read), values(committed)))
}

func saramaIdempotence(at string) error {
	topic, err := saramaTopic("idempotent-"+at[strings.LastIndex(at, ":")+1:], 1)
	if err != nil {
		return err
	}
	config := saramaConfig()
	config.Producer.Idempotent, config.Producer.RequiredAcks, config.Net.MaxOpenRequests = true, sarama.WaitForAll, 1
	config.Producer.Flush.Messages, config.Producer.Flush.MaxMessages = 10, 10
	config.Producer.Flush.Frequency = 10 * time.Millisecond
	config.Producer.Retry.Max = 50
	if err := saramaSendTo(at, config, topic, numbers(0, 500)); err != nil {
		return err
	}
	read, err := saramaRead(topic, sarama.OffsetOldest, 500)
	return errors.Join(err, equal("values", values(read), values(numbers(0, 500))))
}

func saramaTooLarge() error {
	topic, err := saramaTopic("too-large", 1)
	if err != nil {
		return err
	}
	config := saramaConfig()
	config.Producer.MaxMessageBytes = 4_000_000
	huge := saramaSend(config, topic, []record{{value: make([]byte, 2_000_000)}})
	var failures sarama.ProducerErrors
	if !errors.As(huge, &failures) || len(failures) != 1 {
		return fmt.Errorf("not refused: %w", huge)
	}
	if err := refused(failures[0].Err, sarama.ErrMessageSizeTooLarge); err != nil {
		return err
	}
	if err := saramaSend(config, topic, []record{{value: []byte("small")}}); err != nil {
		return err
	}
	read, err := saramaRead(topic, sarama.OffsetOldest, 1)
	return errors.Join(err, equal("values", values(read), []string{"small"}))
}

func saramaTimes() error {
	topic, err := saramaTopic("times", 1)
	if err != nil {
		return err
	}
	records, start := secondsApart(10)
	if err := saramaSend(saramaConfig(), topic, records); err != nil {
		return err
	}
	client, err := sarama.NewClient([]string{brokers}, saramaConfig())
	if err != nil {
		return err
	}
	defer client.Close()
	for _, one := range []struct{ time, offset int64 }{
		{sarama.OffsetOldest, 0}, {sarama.OffsetNewest, 10}, {start.Add(3000 * time.Millisecond).UnixMilli(), 3},
		{start.Add(3001 * time.Millisecond).UnixMilli(), 4},
	} {
		offset, err := client.GetOffset(topic, 0, one.time)
		if err := errors.Join(err, equal("offset", offset, one.offset)); err != nil {
			return err
		}
	}
	return nil
}

// A member of a group that reads until it is closed: how many partitions it has, and what it has read.
type saramaMember struct {
	sarama.ConsumerGroup
	owned atomic.Int32
	seen  atomic.Int32
	ended chan struct{}
}

func newSaramaMember(group, topic, instance string) (*saramaMember, error) {
	config := saramaConfig()
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
func saramaPair(name, instance string, use func(topic string, first, second *saramaMember) error) error {
	topic, err := saramaTopic(name, 4)
	if err != nil {
		return err
	}
	group := unique("sarama-" + name)
	first, err := newSaramaMember(group, topic, "")
	if err != nil {
		return err
	}
	defer first.Close()
	if err := until("the first has all partitions", first.has(4)); err != nil {
		return err
	}
	second, err := newSaramaMember(group, topic, instance)
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

func saramaGroup() error {
	return saramaPair("group", "", func(topic string, first, second *saramaMember) error {
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
	err := saramaPair("death", "static", func(_ string, _, second *saramaMember) error {
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

func saramaTopics() error {
	topic, err := saramaTopic("admin", 3)
	if err != nil {
		return err
	}
	return saramaAdmin(func(admin sarama.ClusterAdmin) error {
		topics, err := admin.ListTopics()
		if err := errors.Join(err, equal("partitions", topics[topic].NumPartitions, 3)); err != nil {
			return err
		}
		again := admin.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false)
		if err := refused(again, sarama.ErrTopicAlreadyExists); err != nil {
			return err
		}
		if err := admin.DeleteTopic(topic); err != nil {
			return err
		}
		return refused(admin.DeleteTopic(topic), sarama.ErrUnknownTopicOrPartition)
	})
}

func saramaDeleteRecords() error {
	topic, err := saramaTopic("delete-records", 1)
	if err != nil {
		return err
	}
	// With acks=1 the records may not be committed yet: the deletion waits for them.
	config := saramaConfig()
	config.Producer.RequiredAcks = sarama.WaitForLocal
	if err := saramaSend(config, topic, numbers(0, 10)); err != nil {
		return err
	}
	return saramaAdmin(func(admin sarama.ClusterAdmin) error {
		if err := admin.DeleteRecords(topic, map[int32]int64{0: 4}); err != nil {
			return err
		}
		if admin.DeleteRecords(topic, map[int32]int64{0: 11}) == nil {
			return errors.New("an offset beyond the end is accepted")
		}
		read, err := saramaRead(topic, sarama.OffsetOldest, 6)
		return errors.Join(err, equal("values", values(read), values(numbers(4, 10))))
	})
}

func saramaLogDirs() error {
	topic, err := saramaTopic("log-dirs", 1)
	if err != nil {
		return err
	}
	if err := saramaSend(saramaConfig(), topic, numbers(0, 10)); err != nil {
		return err
	}
	return saramaAdmin(func(admin sarama.ClusterAdmin) error {
		nodes, _, err := admin.DescribeCluster()
		if err != nil {
			return err
		}
		directories, err := admin.DescribeLogDirs([]int32{nodes[0].ID()})
		if err != nil {
			return err
		}
		for _, one := range directories[nodes[0].ID()][0].Topics {
			if one.Topic == topic && one.Partitions[0].Size > 0 {
				return nil
			}
		}
		return errors.New("the partition has no bytes")
	})
}
