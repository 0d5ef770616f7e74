package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func franzChecks() []check {
	compressions := []kgo.CompressionCodec{
		kgo.NoCompression(), kgo.GzipCompression(), kgo.SnappyCompression(), kgo.Lz4Compression(), kgo.ZstdCompression(),
	}
	acks := []kgo.Acks{kgo.NoAck(), kgo.LeaderAck(), kgo.AllISRAcks()}
	checks := codecChecks(func(name string, codec, required int) error {
		return franzCodec(name, compressions[codec], acks[required])
	})
	if cut != "" {
		checks = append(checks, check{"idempotence when connections break", func() error { return franzIdempotence(cut) }})
	}
	return withBreaks(append(checks,
		check{"headers, repeated keys and null values", franzHeaders},
		check{"null and empty keys and values", franzNulls},
		check{"large record", franzLarge},
		check{"too large record is refused, the next one stored", franzTooLarge},
		check{"seek by time", franzSeek},
		check{"transactions, committed and aborted", franzTransactions},
		check{"idempotence", func() error { return franzIdempotence(brokers) }},
		check{"many partitions in a fetch session", franzSession},
		check{"group of two, cooperative-sticky", func() error { return franzGroup("cooperative-sticky", kgo.Balancers(kgo.CooperativeStickyBalancer())) }},
		check{"group of two, sticky", func() error { return franzGroup("sticky", kgo.Balancers(kgo.StickyBalancer())) }},
		check{"group of two, range", func() error { return franzGroup("range", kgo.Balancers(kgo.RangeBalancer())) }},
		check{"group of two, roundrobin", func() error { return franzGroup("roundrobin", kgo.Balancers(kgo.RoundRobinBalancer())) }},
		check{"consumer protocol: group of two", func() error { return franzGroup("consumer", kgo.ServerSideBalancer()) }},
		check{"a member dies", franzDeath},
		check{"commit and resume", franzResume},
		check{"transactions: read, transform, write", func() error { return franzPipeline("classic") }},
		check{"transactions: read, transform, write with the consumer protocol", func() error { return franzPipeline("consumer", kgo.ServerSideBalancer()) }},
		check{"admin: create, list, errors", franzTopics},
		check{"admin: describe and alter configs", franzConfigs},
		check{"admin: add partitions", franzPartitions},
		check{"admin: groups and their offsets", franzGroups},
		check{"admin: list offsets", franzOffsets},
		check{"admin: delete records", franzDeleteRecords},
		check{"admin: leader epochs", franzEpochs},
		check{"admin: describe producers and log directories", franzDescribe},
		check{"admin: elections and reassignments", franzElections},
		check{"admin: list and describe transactions", franzTransactionAdmin},
		check{"admin: access rules", franzRules},
	), franzKilled, franzAborted)
}

func franz(options ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(brokers), kgo.RetryTimeout(20 * time.Second)}, options...)...)
}

func franzTopic(name string, partitions int32) (string, error) {
	topic := unique("franz-" + name)
	return topic, franzAdmin(func(admin *kadm.Client) error {
		_, err := admin.CreateTopic(context.Background(), partitions, 1, nil, topic)
		return err
	})
}

func franzSend(topic string, records []record, options ...kgo.Opt) error {
	client, err := franz(append(options, kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		return err
	}
	defer client.Close()
	var out []*kgo.Record
	for _, r := range records {
		one := &kgo.Record{Topic: topic, Partition: r.partition, Key: r.key, Value: r.value, Timestamp: r.time}
		for _, h := range r.headers {
			one.Headers = append(one.Headers, kgo.RecordHeader{Key: h.key, Value: h.value})
		}
		out = append(out, one)
	}
	return client.ProduceSync(context.Background(), out...).FirstErr()
}

func franzPoll(client *kgo.Client) ([]record, error) {
	context, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	fetches := client.PollFetches(context)
	for _, failed := range fetches.Errors() {
		if !errors.Is(failed.Err, context.Err()) {
			return nil, failed.Err
		}
	}
	var records []record
	fetches.EachRecord(func(r *kgo.Record) {
		one := record{key: r.Key, value: r.Value, time: r.Timestamp, offset: r.Offset, partition: r.Partition}
		for _, h := range r.Headers {
			one.headers = append(one.headers, header{h.Key, h.Value})
		}
		records = append(records, one)
	})
	return records, nil
}

func franzRead(topic string, count int, options ...kgo.Opt) ([]record, error) {
	options = append(options, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	client, err := franz(options...)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var read []record
	err = until(fmt.Sprint(count, " records of ", topic), func() (bool, error) {
		more, err := franzPoll(client)
		read = append(read, more...)
		return len(read) >= count, err
	})
	return read, err
}

func franzCodec(name string, compression kgo.CompressionCodec, acks kgo.Acks) error {
	topic, err := franzTopic("codec-"+name, 1)
	if err != nil {
		return err
	}
	var records []record
	for n := range 50 {
		records = append(records, record{value: bytes.Repeat(fmt.Appendf(nil, "value %d ", n), 50)})
	}
	options := []kgo.Opt{
		kgo.ProducerBatchCompression(compression), kgo.RequiredAcks(acks), kgo.DisableIdempotentWrite(), kgo.ProducerLinger(50 * time.Millisecond),
	}
	if err := franzSend(topic, records, options...); err != nil {
		return err
	}
	read, err := franzRead(topic, 50)
	return errors.Join(err, equal("values", values(read), values(records)))
}

func franzHeaders() error {
	topic, err := franzTopic("headers", 1)
	if err != nil {
		return err
	}
	headers := []header{{"a", []byte("1")}, {"b", nil}, {"a", []byte("2")}, {"ü", []byte{0, 255}}}
	if err := franzSend(topic, []record{{value: []byte("x"), headers: headers}}); err != nil {
		return err
	}
	read, err := franzRead(topic, 1)
	if err != nil {
		return err
	}
	return equal("headers", read[0].headers, headers)
}

func franzNulls() error {
	topic, err := franzTopic("nulls", 1)
	if err != nil {
		return err
	}
	records := []record{{}, {key: []byte{}, value: []byte{}}, {value: []byte("v")}, {key: []byte("k")}}
	if err := franzSend(topic, records); err != nil {
		return err
	}
	read, err := franzRead(topic, len(records))
	for n := range read {
		err = errors.Join(err, equal("key", shown(read[n].key), shown(records[n].key)))
		err = errors.Join(err, equal("value", shown(read[n].value), shown(records[n].value)))
	}
	return err
}

func franzLarge() error {
	topic, err := franzTopic("large", 1)
	if err != nil {
		return err
	}
	value := make([]byte, 1_000_000)
	for n := range value {
		value[n] = byte(n * 7919 % 251)
	}
	options := []kgo.Opt{kgo.ProducerBatchMaxBytes(1_048_576), kgo.ProducerBatchCompression(kgo.NoCompression())}
	if err := franzSend(topic, []record{{value: value}}, options...); err != nil {
		return err
	}
	read, err := franzRead(topic, 1)
	if err == nil && !bytes.Equal(read[0].value, value) {
		err = errors.New("other bytes")
	}
	return err
}

func franzTooLarge() error {
	topic, err := franzTopic("too-large", 1)
	if err != nil {
		return err
	}
	options := []kgo.Opt{kgo.ProducerBatchMaxBytes(4_000_000), kgo.ProducerBatchCompression(kgo.NoCompression())}
	huge := []record{{value: make([]byte, 2_000_000)}}
	if err := refused(franzSend(topic, huge, options...), kerr.MessageTooLarge); err != nil {
		return err
	}
	if err := franzSend(topic, []record{{value: []byte("small")}}, options...); err != nil {
		return err
	}
	read, err := franzRead(topic, 1)
	return errors.Join(err, equal("values", values(read), []string{"small"}))
}

func franzSeek() error {
	topic, err := franzTopic("seek", 1)
	if err != nil {
		return err
	}
	records, start := secondsApart(10)
	if err := franzSend(topic, records); err != nil {
		return err
	}
	from := kgo.NewOffset().AfterMilli(start.Add(3001 * time.Millisecond).UnixMilli())
	client, err := franz(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(from))
	if err != nil {
		return err
	}
	defer client.Close()
	var read []record
	err = until("six records", func() (bool, error) {
		more, err := franzPoll(client)
		read = append(read, more...)
		return len(read) >= 6, err
	})
	return errors.Join(err, equal("values", values(read), values(numbers(4, 10))))
}

// Every second transaction is aborted.
func franzTransactions() error {
	topic, err := franzTopic("transactions", 1)
	if err != nil {
		return err
	}
	client, err := franz(kgo.TransactionalID(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer client.Close()
	var committed []record
	for n := range 5 {
		if err := client.BeginTransaction(); err != nil {
			return err
		}
		end := kgo.TryCommit
		if n%2 == 1 {
			end = kgo.TryAbort
		}
		for _, one := range numbers(10*n, 10*n+10) {
			if end == kgo.TryCommit {
				committed = append(committed, one)
			}
			if err := client.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Value: one.value}).FirstErr(); err != nil {
				return err
			}
		}
		if err := client.EndTransaction(context.Background(), end); err != nil {
			return err
		}
	}
	all, err := franzRead(topic, 50)
	err = errors.Join(err, equal("all values", values(all), values(numbers(0, 50))))
	read, failed := franzRead(topic, len(committed), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	return errors.Join(err, failed, equal("committed values", values(read), values(committed)))
}

// Small batches, so that there are many answers to lose.
func franzIdempotence(at string) error {
	topic, err := franzTopic("idempotent-"+at[strings.LastIndex(at, ":")+1:], 1)
	if err != nil {
		return err
	}
	if err := franzSend(topic, numbers(0, 2000), kgo.SeedBrokers(at), kgo.ProducerBatchMaxBytes(512)); err != nil {
		return err
	}
	read, err := franzRead(topic, 2000)
	return errors.Join(err, equal("values", values(read), values(numbers(0, 2000))))
}

// franz-go names its partitions once; what comes afterwards comes by its session.
func franzSession() error {
	const partitions = 200
	topic, err := franzTopic("many", partitions)
	if err != nil {
		return err
	}
	client, err := franz(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxBytes(20_000))
	if err != nil {
		return err
	}
	defer client.Close()
	seen, expected := map[string]int{}, 0
	for round := range 5 {
		var records []record
		for p := round; p < partitions; p += 1 + round*7 {
			text := fmt.Sprintf("%d:%d %s", round, p, bytes.Repeat([]byte("x"), 500))
			records = append(records, record{partition: int32(p), value: []byte(text)})
			expected++
		}
		if err := franzSend(topic, records); err != nil {
			return err
		}
		err := until(fmt.Sprint("round ", round), func() (bool, error) {
			more, err := franzPoll(client)
			for _, one := range more {
				seen[string(one.value)]++
			}
			return len(seen) >= expected, err
		})
		if err != nil {
			return err
		}
	}
	for _, times := range seen {
		if err := equal("times that a record came", times, 1); err != nil {
			return err
		}
	}
	return equal("records", len(seen), expected)
}
