package main

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
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
	return withBreaks(append(checks,
		check{"headers, repeated keys", saramaHeaders},
		check{"null keys and values", saramaNulls},
		check{"transactions, committed and aborted", saramaTransactions},
		check{"idempotence", func() error { return saramaIdempotence(brokers) }},
		check{"large record", saramaLarge},
		check{"too large record is refused, the next one stored", saramaTooLarge},
		check{"seek by time", saramaTimes},
		check{"group of two, range", func() error { return saramaGroup(sarama.NewBalanceStrategyRange()) }},
		check{"group of two, roundrobin", func() error { return saramaGroup(sarama.NewBalanceStrategyRoundRobin()) }},
		check{"group of two, sticky", func() error { return saramaGroup(sarama.NewBalanceStrategySticky()) }},
		check{"a member dies", saramaDeath},
		check{"commit and resume", saramaResume},
		check{"transactions: read, transform, write", saramaPipeline},
		check{"admin: create, list, errors", saramaTopics},
		check{"admin: describe and alter configs", saramaConfigs},
		check{"admin: add partitions", saramaPartitions},
		check{"admin: groups and their offsets", saramaGroups},
		check{"admin: delete records", saramaDeleteRecords},
		check{"admin: log directories", saramaLogDirs},
		check{"admin: elections and reassignments", saramaElections},
		check{"admin: access rules", saramaRules},
	), saramaKilled, saramaAborted)
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
	for late := time.After(90 * time.Second); len(read) < count; {
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

func saramaLarge() error {
	topic, err := saramaTopic("large", 1)
	if err != nil {
		return err
	}
	value := make([]byte, 1_000_000)
	for n := range value {
		value[n] = byte(n * 7919 % 251)
	}
	config := saramaConfig()
	config.Producer.MaxMessageBytes = 1_048_576
	if err := saramaSend(config, topic, []record{{value: value}}); err != nil {
		return err
	}
	read, err := saramaRead(topic, sarama.OffsetOldest, 1)
	if err == nil && !bytes.Equal(read[0].value, value) {
		err = errors.New("other bytes")
	}
	return err
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
